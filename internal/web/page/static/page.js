// The live page without a library: times in the reader's zone, parts that change, and a word at
// once when the service cannot be reached. Everything works, slower, without this file.
'use strict'
{
  const root = document.documentElement
  const body = document.body
  const $ = (id) => document.getElementById(id)
  const zone = Intl.DateTimeFormat().resolvedOptions().timeZone || 'UTC'
  let skew = Number(body.dataset.at) - Date.now() // the service's clock minus this one
  root.classList.add('js')

  // Times ------------------------------------------------------------------------------------
  const two = (n) => String(n).padStart(2, '0')
  const hm = (d) => two(d.getHours()) + ':' + two(d.getMinutes())
  const day = new Intl.DateTimeFormat('en-GB', { weekday: 'short', day: 'numeric', month: 'short' })
  const date = new Intl.DateTimeFormat('en-GB', { day: 'numeric', month: 'short', year: 'numeric' })
  const lasted = (s) => s < 120 ? s + ' s' : s < 7200 ? Math.floor(s / 60) + ' min'
    : s < 172800 ? Math.floor(s / 3600) + ' h' : Math.floor(s / 86400) + ' days'
  const formats = {
    hm: (d, now) => d.toDateString() === now.toDateString() ? hm(d) : day.format(d) + ', ' + hm(d),
    hms: (d) => hm(d) + ':' + two(d.getSeconds()),
    ms: (d) => hm(d) + ':' + two(d.getSeconds()) + '.' + String(d.getMilliseconds()).padStart(3, '0'),
    date: (d) => date.format(d) + ', ' + hm(d),
    began: (d, now) => d.toDateString() === now.toDateString() ? 'today, ' + hm(d)
      : (d.getFullYear() === now.getFullYear() ? day : date).format(d) + ', ' + hm(d),
    ago: (d, now) => lasted(Math.max(0, Math.floor((now - d) / 1000))),
    up: (d, now) => {
      const s = Math.max(0, Math.floor((now - d) / 1000))
      return Math.floor(s / 3600) + ':' + two(Math.floor(s / 60) % 60) + ':' + two(s % 60)
    },
  }
  let frozen = null // the time that is shown while cut off
  const times = (within) => {
    const now = new Date(frozen ?? Date.now() + skew)
    for (const t of within.querySelectorAll('time[data-f]')) {
      const text = formats[t.dataset.f](new Date(t.dateTime), now)
      if (t.textContent !== text) t.textContent = text
      if (!t.title && t.dateTime) t.title = new Date(t.dateTime).toLocaleString() + ' ' + zone
    }
  }
  const offset = -new Date().getTimezoneOffset()
  const utc = 'UTC' + (offset ? (offset < 0 ? '−' : '+') + Math.floor(Math.abs(offset) / 60) +
    (offset % 60 ? ':' + two(Math.abs(offset) % 60) : '') : '')
  if ($('zone')) $('zone').textContent = 'Times are those of ' + zone.replaceAll('_', ' ') + ' (' + utc + ').'
  for (const input of document.querySelectorAll('input[name=zone]')) input.value = zone

  // Parts ------------------------------------------------------------------------------------
  // children makes the content of an element like that of another, and keeps what is the same: the
  // focus, the selection and what the reader opened stay.
  const children = (have, want) => {
    const named = new Map()
    for (const c of have.children) if (c.id) named.set(c.id, c)
    let at = have.firstChild
    for (const w of [...want.childNodes]) {
      let h = w.id ? named.get(w.id) : at && !at.id && at.nodeName === w.nodeName ? at : null
      if (!h || h.nodeName !== w.nodeName) {
        have.insertBefore(w, at)
        continue
      }
      if (h === at) at = at.nextSibling
      else have.insertBefore(h, at)
      if (h.nodeType !== Node.ELEMENT_NODE) {
        if (h.nodeValue !== w.nodeValue) h.nodeValue = w.nodeValue
        continue
      }
      if ('keep' in h.dataset) continue
      // times() has written the text of a time with a format
      const written = h.nodeName === 'TIME' && 'f' in w.dataset && h.dateTime === w.dateTime
      for (const { name, value } of w.attributes) {
        if (h.getAttribute(name) !== value) h.setAttribute(name, value)
      }
      for (const { name } of [...h.attributes]) if (!w.hasAttribute(name)) h.removeAttribute(name)
      if ('part' in h.dataset || written) continue
      children(h, w)
    }
    while (at) {
      const next = at.nextSibling
      at.remove()
      at = next
    }
  }
  const show = (id, html) => {
    const element = $(id)
    if (!element) return
    const template = document.createElement('template')
    template.innerHTML = html
    children(element, template.content)
  }

  // The stream of changes --------------------------------------------------------------------
  let stream = body.dataset.stream
  let source = null
  let heard = Date.now() // the last sign of life
  let wait = 1000
  let again = 0
  let title = document.title
  const icon = document.querySelector('link[rel=icon]')
  const live = $('live')

  const cut = async () => {
    if (frozen === null) frozen = heard + skew
    body.classList.add('cut')
    const box = $('cut-off')
    if (box.hidden) {
      box.innerHTML = '<b>This page is cut off from textegress</b> <span>since ' +
        '<time data-f="hms"></time> (<time data-f="gone"></time>). It shows what was true then. ' +
        'Whether recording continues cannot be seen from here. Trying again…</span>'
      for (const t of box.querySelectorAll('time')) t.dateTime = new Date(frozen).toISOString()
      times(box)
      box.hidden = false
    }
    document.title = '✕ cut off · textegress'
    icon.href = '/static/icon-bad.svg'
    live.className = 'pill bad'
    live.innerHTML = '<i class="dot bad"></i><span>cut off</span>'
    // Only a request tells why: a login that has ended leads to the login page.
    try {
      const abort = new AbortController()
      const answer = await fetch(stream, { signal: abort.signal, redirect: 'manual' })
      abort.abort()
      if (answer.status === 401 || answer.type === 'opaqueredirect') location.reload()
    } catch { /* still cut off */ }
  }
  formats.now = (d, now) => formats.hms(now)
  formats.gone = (d) => lasted(Math.max(0, Math.floor((Date.now() + skew - d) / 1000))) + ' ago'

  const alive = (message) => {
    heard = Date.now()
    skew = message.at - heard
    frozen = null
    wait = 1000
    body.classList.remove('cut')
    $('cut-off').hidden = true
    title = message.title + ' · textegress'
    if (document.title !== title) document.title = title
    if (!icon.href.endsWith('icon-' + message.icon + '.svg')) icon.href = '/static/icon-' + message.icon + '.svg'
    if (live.dataset.state !== 'live' || !live.classList.contains('ok')) {
      live.className = 'pill ok live'
      live.innerHTML = '<i class="dot ok"></i><span>live</span><time data-f="now" datetime=""></time>'
      live.dataset.state = 'live'
    }
  }

  const connect = () => {
    clearTimeout(again)
    source?.close()
    if (document.hidden) return
    source = new EventSource(stream)
    source.addEventListener('parts', (event) => {
      const message = JSON.parse(event.data)
      message.at = Date.parse(message.at)
      if (message.end || message.assets !== body.dataset.assets) {
        source.close()
        location.reload() // the recording has ended, or the service is a newer one
        return
      }
      alive(message)
      for (const [id, html] of message.parts) show(id, html)
      times(document)
    })
    source.onerror = () => {
      source.close()
      cut()
      again = setTimeout(connect, wait)
      wait = Math.min(wait * 2, 5000)
    }
  }

  if (stream) {
    document.addEventListener('visibilitychange', () => {
      if (document.hidden) {
        // Nothing is known about a page that is not shown, so its tab must not claim anything.
        source?.close()
        clearTimeout(again)
        document.title = 'textegress (paused)'
        icon.href = '/static/icon-idle.svg'
      } else connect()
    })
    addEventListener('pageshow', (event) => { if (event.persisted) connect() })
    addEventListener('pagehide', () => source?.close())
    addEventListener('offline', () => { source?.close(); cut(); again = setTimeout(connect, wait) })
    addEventListener('online', connect)
    connect()
  }
  let ticked = Date.now()
  setInterval(() => {
    const now = Date.now()
    const slept = now - ticked > 6000
    ticked = now
    if (stream && !document.hidden) {
      if (slept) connect() // woken: what was connected is not any more
      else if (frozen === null && now - heard > 12000) { // a connection that is silent is none
        cut()
        connect()
      }
    }
    times(document)
  }, 1000)
  times(document)

  // The timeline, in the reader's zone -------------------------------------------------------
  const timeline = document.querySelector('[data-timeline]')
  const draw = async () => {
    if (document.hidden) return
    try {
      const answer = await fetch(timeline.dataset.timeline + '?zone=' + encodeURIComponent(zone))
      if (answer.ok) show(timeline.id, await answer.text())
    } catch { /* the banner says that the service cannot be reached */ }
  }
  if (timeline) {
    draw()
    if ('live' in timeline.dataset) setInterval(draw, 10000)
  }

  // Text -------------------------------------------------------------------------------------
  let following = null
  const follow = (list, path, done) => {
    following?.close()
    const f = { path, next: 0, source: null, timer: 0 }
    f.open = () => {
      if (document.hidden) return
      const url = new URL(f.path, location)
      if (f.next) url.searchParams.set('from', f.next)
      f.source = new EventSource(url)
      f.source.addEventListener('said', (event) => {
        const message = JSON.parse(event.data)
        if (message.n) f.next = message.n + 1
        const bottom = list.scrollHeight - list.scrollTop - list.clientHeight < 40
        const atEnd = innerHeight + scrollY > document.body.scrollHeight - 120
        list.insertAdjacentHTML('beforeend', message.html)
        times(list.lastElementChild)
        while (list.children.length > 200) list.firstElementChild.remove()
        if (bottom) list.scrollTop = list.scrollHeight
        if (list.classList.contains('tall') && atEnd) scrollTo(0, document.body.scrollHeight)
        $('nothing')?.remove()
        f.said?.(message)
      })
      f.source.addEventListener('end', () => { f.close(); done?.() })
      f.source.onerror = () => { f.source.close(); f.timer = setTimeout(f.open, 2000) }
    }
    f.close = () => { clearTimeout(f.timer); f.source?.close() }
    following = f
    f.open()
    return f
  }
  document.addEventListener('visibilitychange', () => {
    following?.close()
    if (!document.hidden) following?.open()
  })

  const panel = (box, href) => {
    if (!box.hidden) {
      following?.close()
      following = null
      box.hidden = true
      return
    }
    for (const other of document.querySelectorAll('.tail')) other.hidden = true
    box.innerHTML = '<div class="bar"><label>Topic <select><option value="">all</option></select></label>' +
      '<a>Full page</a></div><ol class="lines" aria-label="What is said" tabindex="0"></ol>'
    box.querySelector('a').href = href
    box.hidden = false
    const list = box.querySelector('ol')
    const select = box.querySelector('select')
    const start = () => {
      list.textContent = ''
      const f = follow(list, href + '/stream' +
        (select.value ? '?topic=' + encodeURIComponent(select.value) : ''))
      f.said = ({ topic }) => {
        if (topic && select.length < 100 && ![...select.options].some((o) => o.value === topic)) {
          select.add(new Option(topic))
        }
      }
    }
    select.addEventListener('change', start)
    start()
  }
  const said = $('said')
  if (said?.dataset.follow) {
    const f = follow(said, said.dataset.follow, () => { $('following').textContent = 'The recording has ended.' })
    f.next = 0
    scrollTo(0, document.body.scrollHeight)
  }

  // Clicks -----------------------------------------------------------------------------------
  const ask = async (href) => {
    let content = null
    try {
      const answer = await fetch(href)
      content = new DOMParser().parseFromString(await answer.text(), 'text/html').querySelector('.ask')
    } catch { /* the link shows what is wrong */ }
    if (!content) {
      location = href
      return
    }
    const dialog = document.createElement('dialog')
    dialog.append(content)
    dialog.setAttribute('aria-label', content.querySelector('h1').textContent)
    dialog.addEventListener('close', () => dialog.remove())
    body.append(dialog)
    dialog.showModal()
    dialog.querySelector('[data-close]').focus()
  }
  document.addEventListener('click', async (event) => {
    const at = event.target.closest('a, button')
    if (!at || event.ctrlKey || event.metaKey || event.shiftKey || event.button) return
    if ('ask' in at.dataset) {
      event.preventDefault()
      ask(at.href)
    } else if ('close' in at.dataset && at.closest('dialog')) {
      event.preventDefault()
      at.closest('dialog').close()
    } else if ('copy' in at.dataset) {
      try {
        await navigator.clipboard.writeText(at.dataset.copy)
        at.textContent = 'Copied'
      } catch {
        at.textContent = 'Select it to copy' // a clipboard needs HTTPS
      }
      setTimeout(() => { at.textContent = 'Copy' }, 2000)
    } else if ('text' in at.dataset) {
      event.preventDefault()
      panel($(at.dataset.text), at.href)
    } else if ('open' in at.dataset) {
      event.preventDefault()
      const url = new URL(location)
      const open = new Set((url.searchParams.get('open') ?? '').split(',').filter(Boolean))
      open.add(at.dataset.open)
      url.searchParams.set('open', [...open].join(','))
      history.replaceState(null, '', url)
      stream = '/stream?open=' + [...open].map(encodeURIComponent).join(',')
      connect()
    }
  })
}
