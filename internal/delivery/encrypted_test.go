package delivery_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/syncflow/textegress/internal/render"
)

// TestEncryptedRoom: what a project's key opens is delivered decrypted, and the project is asked
// for by its id.
func TestEncryptedRoom(t *testing.T) {
	// of project 0b7e; four of its five encrypted packets are for this key
	const golden = "DE_golden000003"
	keys, err := render.NewKeys([]byte("a shared secret"))
	if err != nil {
		t.Fatal(err)
	}
	for project, want := range map[string]bool{"0b7e": true, "another": false} {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t, true, "0b7e")
			w.shutDown()
			from := filepath.Join("..", "render", "testdata", "spool", "recordings", golden)
			if err := os.CopyFS(filepath.Join(w.dir, "recordings", golden),
				os.DirFS(from)); err != nil {
				t.Fatal(err)
			}
			w.projects.keys = func(id string) *render.Keys {
				if id == project {
					return keys
				}
				return nil
			}
			w.boot()
			w.run()
			settle(time.Minute)
			manifest := ""
			for key, data := range w.buckets["0b7e"].Objects() {
				if strings.HasSuffix(key, "manifest.json") {
					manifest = string(data)
				}
			}
			if got := strings.Contains(manifest, `"decrypted_packets": 5`); got != want {
				t.Errorf("key of project %s: decrypted %v; %s", project, got, manifest)
			}
			w.shutDown()
		})
	}
}
