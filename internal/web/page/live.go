package page

import (
	"encoding/json"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/syncflow/textegress/internal/overview"
	"github.com/syncflow/textegress/internal/web/stream"
)

// Times of a stream of changes.
const (
	tick  = time.Second
	pulse = 5 * time.Second // a sign of life if nothing changed
)

// ticker renders what open pages show, once a second for all pages that show the same. It does
// nothing while no page is open.
type ticker struct {
	service overview.Service

	mu    sync.Mutex // guards views and their fields
	views map[string]*view
	stop  chan struct{} // ends the goroutine; nil while none runs
	ended chan struct{}
}

// view is what one or more open pages show.
type view struct {
	make    func(overview.Overview) (shown, bool)
	pages   int
	latest  shown
	changed chan struct{} // closed when there is another latest
}

// shown is a page at one moment.
type shown struct {
	At    time.Time
	Title string
	Icon  overview.Level
	Parts []part
	End   bool // nothing will change any more
}

func newTicker(s overview.Service) *ticker {
	return &ticker{service: s, views: map[string]*view{}}
}

// join adds an open page to the view of a key.
func (t *ticker) join(key string, make func(overview.Overview) (shown, bool)) *view {
	t.mu.Lock()
	defer t.mu.Unlock()
	v := t.views[key]
	if v == nil {
		v = &view{make: make, changed: newSignal()}
		v.render(t.service.Overview())
		t.views[key] = v
	}
	v.pages++
	if t.stop == nil {
		t.stop, t.ended = newSignal(), newSignal()
		go t.run(t.stop, t.ended)
	}
	return v
}

func newSignal() chan struct{} { return make(chan struct{}) }

// leave removes an open page from the view of a key.
func (t *ticker) leave(key string) {
	t.mu.Lock()
	v := t.views[key]
	if v.pages--; v.pages == 0 {
		delete(t.views, key)
	}
	var ended chan struct{}
	if len(t.views) == 0 {
		close(t.stop)
		ended = t.ended
		t.stop = nil
	}
	t.mu.Unlock()
	if ended != nil {
		<-ended
	}
}

func (t *ticker) run(stop, ended chan struct{}) {
	defer close(ended)
	each := time.NewTicker(tick)
	defer each.Stop()
	for {
		select {
		case <-stop:
			return
		case <-each.C:
		}
		o := t.service.Overview()
		t.mu.Lock()
		for _, v := range t.views {
			v.render(o)
			close(v.changed)
			v.changed = newSignal()
		}
		t.mu.Unlock()
	}
}

func (v *view) render(o overview.Overview) {
	if s, ok := v.make(o); ok {
		v.latest = s
		v.latest.At = o.At
	}
}

// get returns what a view shows, and a channel that is closed at the next change.
func (t *ticker) get(v *view) (shown, <-chan struct{}) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return v.latest, v.changed
}

// stream serves the changes of the first page.
func (h *Handler) stream(w http.ResponseWriter, r *http.Request) {
	rights, open := rights(r), opened(r.URL.Query())
	key := "now " + rightsKey(rights) + strings.Join(open, ",")
	h.serveView(w, r, key, func(o overview.Overview) (shown, bool) {
		n := newNow(o, rights, open)
		rend := &renderer{at: o.At, live: true}
		rend.Part("div", "now", "", "overview", n)
		return shown{Title: n.Title, Icon: n.Verdict.Level, Parts: rend.parts}, rend.err == nil
	})
}

func rightsKey(r overview.Rights) string {
	return map[bool]string{true: "r", false: "-"}[r.Read] + map[bool]string{true: "a", false: "-"}[r.Act]
}

// update is one event of a stream.
type update struct {
	At     time.Time   `json:"at"`
	Title  string      `json:"title"`
	Icon   string      `json:"icon"`
	Assets string      `json:"assets"`
	Parts  [][2]string `json:"parts"` // id and content, outer parts first
	End    bool        `json:"end,omitempty"`
}

// serveView sends all parts of a view, and from then on those that changed.
func (h *Handler) serveView(w http.ResponseWriter, r *http.Request, key string,
	make func(overview.Overview) (shown, bool),
) {
	s, ok := stream.Open(w, r)
	if !ok {
		return
	}
	defer s.Close()
	v := h.live.join(key, make)
	defer h.live.leave(key)
	sent := map[string]string{}
	var last time.Time
	for {
		now, changed := h.live.get(v)
		u := update{
			At: now.At, Title: now.Title, Icon: string(now.Icon), Assets: h.assets, End: now.End,
			Parts: [][2]string{},
		}
		present := map[string]string{}
		for _, p := range now.Parts {
			if html, ok := sent[p.ID]; !ok || html != p.HTML {
				u.Parts = append(u.Parts, [2]string{p.ID, p.HTML})
			}
			present[p.ID] = p.HTML
		}
		sent = present
		if len(u.Parts) > 0 || now.At.Sub(last) >= pulse || now.End {
			data, err := json.Marshal(u)
			if err == nil {
				err = s.Event("", "parts", string(data))
			}
			if err != nil || now.End {
				return
			}
			last = now.At
		}
		select {
		case <-changed:
		case <-s.Context().Done():
			return
		}
	}
}
