package browser

import (
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// TestPage reads a page as a person would, with its console and its requests.
func TestPage(t *testing.T) {
	path, err := Find()
	if err != nil {
		if os.Getenv("CI") != "" {
			t.Fatal(err)
		}
		t.Skip(err)
	}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/" {
			w.Header().Set("Content-Security-Policy", "script-src 'self'")
			_, _ = w.Write([]byte(`<!doctype html><meta name="viewport" content="width=device-width">
<style>i{display:none}</style>
<p>seen <i>hidden</i></p><script src="a.js"></script><script>document.title = 'x'</script>`))
			return
		}
		w.Header().Set("Content-Type", "text/javascript")
		_, _ = w.Write([]byte(`document.title = matchMedia('(prefers-color-scheme: dark)').matches +
			' ' + innerWidth; console.log('said')`))
	}))
	defer server.Close()
	b, err := Start(path)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := b.Close(); err != nil {
			t.Error(err)
		}
	}()
	p, err := b.Open(t.Context(), View{Width: 390, Height: 844, Dark: true, Touch: true})
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Goto(t.Context(), server.URL+"/"); err != nil {
		t.Fatal(err)
	}
	if text, err := p.Text(t.Context(), "p"); text != "seen" || err != nil {
		t.Errorf("the page shows %q, %v", text, err)
	}
	var title string
	if err := p.Eval(t.Context(), "document.title", &title); title != "true 390" || err != nil {
		t.Errorf("the title is %q, %v", title, err)
	}
	if !slices.Contains(p.Requests(), server.URL+"/a.js") {
		t.Errorf("requests: %q", p.Requests())
	}
	console := strings.Join(p.Console(), "\n")
	for _, want := range []string{"log: said", "Content Security Policy"} {
		if !strings.Contains(console, want) {
			t.Errorf("the console lacks %q: %s", want, console)
		}
	}
	picture := filepath.Join(t.TempDir(), "p.png")
	if err := p.Screenshot(t.Context(), picture, true); err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(picture)
	if err != nil || !strings.HasPrefix(string(data), "\x89PNG") {
		t.Errorf("picture: %v", err)
	}
	if err := p.Eval(t.Context(), "nowhere.at.all", nil); err == nil {
		t.Error("an exception is no error")
	}
}
