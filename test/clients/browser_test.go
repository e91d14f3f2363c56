package clients

import (
	"context"
	"errors"
	"fmt"
	"html/template"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/evanw/esbuild/pkg/api"

	"github.com/syncflow/textegress/test/stack"
)

// bundle makes the page's script of one app: our sender with the livekit-client that the app's lock
// file names.
func bundle(npm string, s sdk) ([]byte, error) {
	res := api.Build(api.BuildOptions{
		EntryPoints: []string{filepath.Join("apps", "web", s.entry)},
		NodePaths:   []string{filepath.Join(npm, string(s.id), "node_modules")},
		Bundle:      true, Format: api.FormatIIFE, Target: api.ES2020, LogLevel: api.LogLevelSilent,
		Define:   map[string]string{"process.env.NODE_ENV": `"production"`},
		External: []string{"@livekit/krisp-noise-filter"}, // optional, for microphones
	})
	if len(res.Errors) > 0 {
		return nil, errors.New(api.FormatMessages(res.Errors, api.FormatMessagesOptions{})[0])
	}
	return res.OutputFiles[0].Contents, nil
}

// One frame per participant: each is a page of its own, with its own script and connections.
var framesHTML = template.Must(template.New("").Parse(
	`<!doctype html><meta charset="utf-8"><title>clients</title>{{range .}}<iframe src="/{{.SDK}}/page?job={{.ID}}"></iframe>{{end}}`))

const pageHTML = `<!doctype html><meta charset="utf-8"><title>client</title><body><script src="bundle.js"></script></body>`

// openBrowser opens a page for every job in one headless Chromium, and closes it at the end of the
// test.
func (d *desk) openBrowser(t *testing.T, chromium, npm string, jobs []job) {
	t.Helper()
	type frame struct{ SDK, ID string }
	var frames []frame
	serve := func(path, mediaType string, content []byte) {
		d.mux.HandleFunc("GET "+path, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", mediaType)
			_, _ = w.Write(content)
		})
	}
	apps := map[sdkID]bool{}
	for _, j := range jobs {
		frames = append(frames, frame{string(j.sdk.id), j.ID})
		if apps[j.sdk.id] {
			continue
		}
		apps[j.sdk.id] = true
		dir := "/" + string(j.sdk.id)
		serve(dir+"/page", "text/html", []byte(pageHTML))
		serve(dir+"/bundle.js", "text/javascript", must(bundle(npm, j.sdk))(t))
		worker := filepath.Join(npm, string(j.sdk.id), "node_modules", "livekit-client", "dist",
			"livekit-client.e2ee.worker.js")
		serve(dir+"/e2ee-worker.js", "text/javascript", must(os.ReadFile(worker))(t))
	}
	d.mux.HandleFunc("GET /frames",
		func(w http.ResponseWriter, _ *http.Request) { _ = framesHTML.Execute(w, frames) })

	//nolint:usetesting // children of Chromium may still write after it has ended
	dir, err := os.MkdirTemp("", "textegress-chromium-")
	check(t, err)
	p, err := stack.StartProcess(t.Context(), stack.ProcessSpec{
		Name: "chromium", Path: chromium, Dir: dir, Log: filepath.Join(dir, "chromium.log"),
		Env: []string{"HOME=" + dir},
		Args: []string{
			"--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
			"--disable-background-networking",
			"--disable-component-update", "--disable-sync", "--disable-dev-shm-usage",
			"--disable-extensions", "--no-proxy-server",
			// Without it candidates are names that only mDNS on the network resolves.
			"--disable-features=WebRtcHideLocalIpsWithMdns",
			// Nothing outside is looked for, such as the STUN servers that a LiveKit server without
			// its own offers.
			"--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
			// Loopback is a network too: otherwise there are no candidates on a machine without
			// another one.
			"--allow-loopback-in-peer-connection",
			"--user-data-dir=" + filepath.Join(dir, "profile"), d.url + "/frames",
		},
	})
	check(t, err)
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("Chromium's log:\n%s", p.LogTail(4000))
		}
		check(t, p.Kill())
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		check(t, waitFor(ctx, func() string { return fmt.Sprintf("removing %s", dir) },
			func() bool { return os.RemoveAll(dir) == nil }))
	})
}
