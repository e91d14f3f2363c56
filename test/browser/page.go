package browser

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"
)

// View is the screen of a page.
type View struct {
	Width, Height int
	Scale         float64 // device pixels per CSS pixel; 0: 1
	Dark          bool
	Touch         bool // a phone
	NoScript      bool // scripts are off
	Print         bool
}

// Page is a tab with cookies of its own.
type Page struct {
	b       *Browser
	session string
	target  string
	view    View

	mu       sync.Mutex // guards the rest
	console  []string
	requests []string
	loaded   chan struct{}
}

// Open opens an empty page.
func (b *Browser) Open(ctx context.Context, v View) (*Page, error) {
	var browserContext, target, session struct {
		BrowserContextID string `json:"browserContextId"`
		TargetID         string `json:"targetId"`
		SessionID        string `json:"sessionId"`
	}
	if err := b.into(ctx, &browserContext, "Target.createBrowserContext", nil); err != nil {
		return nil, err
	}
	err := b.into(ctx, &target, "Target.createTarget", map[string]any{
		"url": "about:blank", "browserContextId": browserContext.BrowserContextID,
		"width": v.Width, "height": v.Height,
	})
	if err != nil {
		return nil, err
	}
	err = b.into(ctx, &session, "Target.attachToTarget", map[string]any{
		"targetId": target.TargetID, "flatten": true,
	})
	if err != nil {
		return nil, err
	}
	p := &Page{
		b: b, session: session.SessionID, target: target.TargetID,
		loaded: make(chan struct{}, 1),
	}
	b.mu.Lock()
	b.pages[p.session] = p
	b.mu.Unlock()
	for _, domain := range []string{"Page", "Runtime", "Log", "Network"} {
		if _, err := p.Call(ctx, domain+".enable", nil); err != nil {
			return nil, err
		}
	}
	return p, p.SetView(ctx, v)
}

func (b *Browser) into(ctx context.Context, v any, method string, params any) error {
	data, err := b.call(ctx, "", method, params)
	if err != nil {
		return err
	}
	return json.Unmarshal(data, v)
}

// Call sends a command of the DevTools protocol.
func (p *Page) Call(ctx context.Context, method string, params any) (json.RawMessage, error) {
	return p.b.call(ctx, p.session, method, params)
}

// SetView changes the screen.
func (p *Page) SetView(ctx context.Context, v View) error {
	p.view = v
	scheme, media := "light", ""
	if v.Dark {
		scheme = "dark"
	}
	if v.Print {
		media = "print"
	}
	scale := v.Scale
	if scale == 0 {
		scale = 1
	}
	for _, c := range []struct {
		method string
		params map[string]any
	}{
		{"Emulation.setDeviceMetricsOverride", map[string]any{
			"width":  v.Width,
			"height": v.Height, "deviceScaleFactor": scale, "mobile": v.Touch,
		}},
		{"Emulation.setTouchEmulationEnabled", map[string]any{"enabled": v.Touch}},
		{"Emulation.setEmulatedMedia", map[string]any{"media": media, "features": []any{
			map[string]any{"name": "prefers-color-scheme", "value": scheme},
		}}},
		{"Emulation.setScriptExecutionDisabled", map[string]any{"value": v.NoScript}},
	} {
		if _, err := p.Call(ctx, c.method, c.params); err != nil {
			return err
		}
	}
	return nil
}

// Goto opens a URL and waits until the page and what it contains are loaded.
func (p *Page) Goto(ctx context.Context, url string) error {
	select {
	case <-p.loaded:
	default:
	}
	data, err := p.Call(ctx, "Page.navigate", map[string]any{"url": url})
	if err != nil {
		return err
	}
	var failed struct {
		ErrorText string `json:"errorText"`
	}
	if err := json.Unmarshal(data, &failed); err != nil {
		return err
	}
	if failed.ErrorText != "" {
		return fmt.Errorf("open %s: %s", url, failed.ErrorText)
	}
	select {
	case <-p.loaded:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("open %s: %w", url, ctx.Err())
	}
}

// Eval runs an expression in the page, waits for it if it is a promise, and decodes its value into
// v, which may be nil.
func (p *Page) Eval(ctx context.Context, expression string, v any) error {
	data, err := p.Call(ctx, "Runtime.evaluate", map[string]any{
		"expression": expression, "awaitPromise": true, "returnByValue": true,
		"userGesture": true,
	})
	if err != nil {
		return err
	}
	var r struct {
		Result struct {
			Value json.RawMessage `json:"value"`
		} `json:"result"`
		ExceptionDetails *struct {
			Text      string `json:"text"`
			Exception struct {
				Description string `json:"description"`
			} `json:"exception"`
		} `json:"exceptionDetails"`
	}
	if err := json.Unmarshal(data, &r); err != nil {
		return err
	}
	if e := r.ExceptionDetails; e != nil {
		return fmt.Errorf("%s: %s", e.Text, e.Exception.Description)
	}
	if v == nil || r.Result.Value == nil {
		return nil
	}
	return json.Unmarshal(r.Result.Value, v)
}

// Text returns what a person reads in the elements that a selector names, "" if there is none.
func (p *Page) Text(ctx context.Context, selector string) (string, error) {
	var s string
	quoted, err := json.Marshal(selector)
	if err != nil {
		return "", err
	}
	err = p.Eval(ctx, "[...document.querySelectorAll("+string(quoted)+
		")].map(e => e.innerText).join('\\n')", &s)
	return s, err
}

// replaced are what Chromium says of a page that another one has replaced in the meantime.
var replaced = regexp.MustCompile("navigated|context was destroyed|Cannot find (default execution )?" +
	"context")

// Wait polls until an expression is true, also over a change to another page.
func (p *Page) Wait(ctx context.Context, expression string) error {
	for {
		var ok bool
		err := p.Eval(ctx, "!!(document.body && ("+expression+"))", &ok) // no body yet: loading
		if ok || err != nil && !replaced.MatchString(err.Error()) {
			return err
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("waiting for %s: %w", expression, ctx.Err())
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// Screenshot writes a picture (PNG) of the whole page, or of what the screen shows.
func (p *Page) Screenshot(ctx context.Context, file string, whole bool) error {
	data, err := p.Call(ctx, "Page.captureScreenshot", map[string]any{
		"format": "png", "captureBeyondViewport": whole,
	})
	if err != nil {
		return err
	}
	var r struct {
		Data string `json:"data"`
	}
	if err := json.Unmarshal(data, &r); err != nil {
		return err
	}
	picture, err := base64.StdEncoding.DecodeString(r.Data)
	if err != nil {
		return err
	}
	return os.WriteFile(file, picture, 0o644)
}

// Console returns the messages of the page's console, exceptions and refusals by a policy included.
func (p *Page) Console() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.console)
}

// Requests returns the URLs that the page asked for.
func (p *Page) Requests() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.requests)
}

// Close closes the page.
func (p *Page) Close(ctx context.Context) error {
	_, err := p.b.call(ctx, "", "Target.closeTarget", map[string]any{"targetId": p.target})
	return err
}

func (p *Page) event(method string, params json.RawMessage) {
	var e struct {
		Entry   struct{ Text, URL string } `json:"entry"`
		Request struct{ URL string }       `json:"request"`
		Type    string                     `json:"type"`
		Args    []struct {
			Value       any    `json:"value"`
			Description string `json:"description"`
		} `json:"args"`
		ExceptionDetails struct {
			Text      string `json:"text"`
			Exception struct {
				Description string `json:"description"`
			} `json:"exception"`
		} `json:"exceptionDetails"`
	}
	_ = json.Unmarshal(params, &e)
	p.mu.Lock()
	defer p.mu.Unlock()
	switch method {
	case "Page.loadEventFired":
		select {
		case p.loaded <- struct{}{}:
		default:
		}
	case "Log.entryAdded":
		p.console = append(p.console, e.Entry.Text+" "+e.Entry.URL)
	case "Runtime.consoleAPICalled":
		var text strings.Builder
		text.WriteString(e.Type + ":")
		for _, a := range e.Args {
			fmt.Fprint(&text, " ", a.Value, a.Description)
		}
		p.console = append(p.console, text.String())
	case "Runtime.exceptionThrown":
		p.console = append(p.console,
			e.ExceptionDetails.Text+" "+e.ExceptionDetails.Exception.Description)
	case "Network.requestWillBeSent":
		p.requests = append(p.requests, e.Request.URL)
	}
}
