// Package reporttest looks at report.html in a real browser.
package reporttest

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"hash/crc32"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/syncflow/textegress/internal/report/reporttest"
	"github.com/syncflow/textegress/test/browser"
	"github.com/syncflow/textegress/test/stack"
)

// write writes the report of a class into a directory and returns its URL.
func write(t *testing.T, c reporttest.Class) string {
	t.Helper()
	page, err := c.Render()
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "report.html")
	if err := os.WriteFile(file, []byte(page), 0o600); err != nil {
		t.Fatal(err)
	}
	return "file://" + file
}

func start(t *testing.T) *browser.Browser {
	t.Helper()
	path, err := browser.Find()
	if err != nil {
		if os.Getenv("CI") != "" {
			t.Fatal(err)
		}
		t.Skip(err)
	}
	b, err := browser.Start(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := b.Close(); err != nil {
			t.Error(err)
		}
	})
	return b
}

// axe returns the source of axe-core.
func axe(t *testing.T) string {
	t.Helper()
	root, err := stack.Root()
	if err != nil {
		t.Fatal(err)
	}
	c := exec.CommandContext(t.Context(), filepath.Join(root, "scripts", "npm.sh"), "axe")
	if b, err := c.CombinedOutput(); err != nil {
		t.Fatalf("scripts/npm.sh axe: %v\n%s", err, b)
	}
	b, err := os.ReadFile(filepath.Join(root, "build", "npm", "axe", "node_modules", "axe-core",
		"axe.min.js"))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// TestReport opens the report of a class of 30 as people do: wide, dark, on a telephone. It fits
// the screen, its console is silent, it asks for nothing, and axe-core finds nothing.
func TestReport(t *testing.T) {
	b := start(t)
	check := axe(t)
	class := reporttest.New(30, time.Hour)
	unlucky := reporttest.New(0, 0)
	unlucky.Manifest.Completeness.Join.JoinedUnixNS = 0
	unlucky.Manifest.Reason = "session_ended"
	urls := map[string]string{"class": write(t, class), "unlucky": write(t, unlucky)}
	for name, v := range map[string]browser.View{
		"wide":      {Width: 1280, Height: 900},
		"dark":      {Width: 1280, Height: 900, Dark: true},
		"telephone": {Width: 390, Height: 844, Touch: true},
		"small":     {Width: 320, Height: 700, Dark: true, Touch: true},
	} {
		for of, url := range urls {
			t.Run(name+" "+of, func(t *testing.T) {
				p, err := b.Open(t.Context(), v)
				if err != nil {
					t.Fatal(err)
				}
				if err := p.Goto(t.Context(), url); err != nil {
					t.Fatal(err)
				}
				if dir := os.Getenv("SHOTS"); dir != "" {
					file := filepath.Join(dir, "report-"+name+"-"+of+".png")
					if err := p.Screenshot(t.Context(), file, true); err != nil {
						t.Fatal(err)
					}
				}
				var width int
				if err := p.Eval(t.Context(), "document.documentElement.scrollWidth",
					&width); err != nil || width > v.Width {
					t.Errorf("%d pixels wide (%v)", width, err)
				}
				if c := p.Console(); len(c) > 0 {
					t.Errorf("the console: %q", c)
				}
				if r := p.Requests(); len(r) != 1 {
					t.Errorf("requests: %q", r)
				}
				if err := p.Eval(t.Context(), check+"; 0", nil); err != nil {
					t.Fatal(err)
				}
				var found json.RawMessage
				if err := p.Eval(t.Context(), `axe.run({resultTypes: ['violations']}).then(r =>
					r.violations.map(v => [v.id, v.help, v.nodes.slice(0, 3).map(n => n.html)]))`,
					&found); err != nil || string(found) != "[]" {
					t.Errorf("axe-core: %s, %v", found, err)
				}
			})
		}
	}
}

// TestReport_Read asserts what a person reads.
func TestReport_Read(t *testing.T) {
	b := start(t)
	p, err := b.Open(t.Context(), browser.View{Width: 1280, Height: 900})
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Goto(t.Context(), write(t, reporttest.New(30, time.Hour))); err != nil {
		t.Fatal(err)
	}
	for selector, want := range map[string]string{
		"h1":           "class-7a",
		".verdict":     "Outage 14 s, 2 people may be affected",
		".tl-outages":  "▲1 outage from 09:25:00 for 14 s",
		"#methods + *": "textegress",
	} {
		text, err := p.Text(t.Context(), selector)
		if err != nil || !strings.Contains(text, want) {
			t.Errorf("%s: %q, %v; want %q", selector, text, err, want)
		}
	}
	// Hana came in the middle: her row is as wide as all, and her presence begins in the middle.
	var share float64
	if err := p.Eval(t.Context(), `(() => {
		const row = [...document.querySelectorAll('.tl-table tbody tr')]
			.find(r => r.textContent.startsWith('hana'));
		const all = row.querySelector('svg').getBoundingClientRect();
		const here = row.querySelector('.tl-here').getBoundingClientRect();
		return (here.left - all.left) / all.width;
	})()`, &share); err != nil || share < 0.48 || share > 0.52 {
		t.Errorf("presence begins at %v of the width, %v", share, err)
	}
}

// TestPicture holds that docs/report.png, in the README, is of this version: it contains the
// SHA-256 of the report that it shows. With PICTURES it takes the picture anew.
func TestPicture(t *testing.T) {
	class := reporttest.New(12, time.Hour)
	page, err := class.Render()
	if err != nil {
		t.Fatal(err)
	}
	mark := fmt.Sprintf("Source\x00sha256 %x", sha256.Sum256([]byte(page)))
	dir := os.Getenv("PICTURES")
	if dir == "" {
		root, err := stack.Root()
		if err != nil {
			t.Fatal(err)
		}
		picture, err := os.ReadFile(filepath.Join(root, "docs", "report.png"))
		if err != nil || !bytes.Contains(picture, []byte(mark)) {
			t.Errorf("docs/report.png shows another version; run make pictures (%v)", err)
		}
		return
	}
	p, err := start(t).Open(t.Context(), browser.View{Width: 1000, Height: 760})
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Goto(t.Context(), write(t, class)); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "report.png")
	if err := p.Screenshot(t.Context(), file, false); err != nil {
		t.Fatal(err)
	}
	picture, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	const end = 12 // bytes of the last chunk
	n := len(picture) - end
	picture = append(append(picture[:n:n], text(mark)...), picture[n:]...)
	if err := os.WriteFile(file, picture, 0o644); err != nil {
		t.Fatal(err)
	}
}

// text returns a chunk of text for a PNG.
func text(s string) []byte {
	chunk := binary.BigEndian.AppendUint32(nil, uint32(len(s)))
	chunk = append(append(chunk, "tEXt"...), s...)
	return binary.BigEndian.AppendUint32(chunk, crc32.ChecksumIEEE(chunk[4:]))
}
