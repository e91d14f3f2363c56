package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/syncflow/textegress/internal/config"
)

func TestEscape(t *testing.T) {
	for name, tt := range map[string]struct{ in, want string }{
		"ordinary": {
			"Class 1: Zoë, 数学, ١٢, 👩‍🏫 50 % \\ |",
			"Class 1: Zoë, 数学, ١٢, 👩‍🏫 50 % \\ |",
		},
		"terminal command":  {"\x1b]0;owned\a\x1b[2J", `\u001b]0;owned\u0007\u001b[2J`},
		"one byte command":  {"a\u009b2Jb", `a\u009b2Jb`},
		"new line":          {"a\r\nb\tc", `a\u000d\u000ab\u0009c`},
		"line separator":    {"a\u2028b\u2029", `a\u2028b\u2029`},
		"reordering":        {"\u202etxt.exe\u2066\u200f\u061c", `\u202etxt.exe\u2066\u200f\u061c`},
		"invisible":         {"a\u200bb\ufeff\u00ad", `a\u200bb\ufeff\u00ad`},
		"tag characters":    {"x\U000e0041", `x\U000e0041`},
		"not UTF-8":         {"a\xff\xc3", `a\xff\xc3`},
		"a real U+FFFD":     {"a\ufffd", "a\ufffd"},
		"delete":            {"\x7f", `\u007f`},
		"joined, not joint": {"می\u200cخواهم", "می\u200cخواهم"},
	} {
		if got := escape(tt.in); got != tt.want {
			t.Errorf("%s: escape(%+q) = %q, want %q", name, tt.in, got, tt.want)
		}
	}
}

// What is written for a program is the same JSON, and still harmless where a person looks at it in
// a terminal.
func TestJSONIsHarmlessAndUnchanged(t *testing.T) {
	texts := map[string]string{
		"a": "\x1b[2J\u009b\u202e\u2028\x7f<&>", "tag": "\U000e0041 👩‍🏫",
		"lines": "x\ny\tz",
	}
	var buf bytes.Buffer
	if err := printJSON(&buf, texts); err != nil {
		t.Fatal(err)
	}
	for _, r := range buf.String() {
		if r != '\n' && harmful(r) {
			t.Errorf("%U is in the output:\n%s", r, buf.String())
		}
	}
	var got map[string]string
	if err := json.Unmarshal(buf.Bytes(), &got); err != nil {
		t.Fatal(err)
	}
	for key, want := range texts {
		if got[key] != want {
			t.Errorf("%s = %+q, want %+q", key, got[key], want)
		}
	}
}

func TestLogsAreHarmless(t *testing.T) {
	for _, format := range []string{"text", "json"} {
		var buf bytes.Buffer
		env := &environment{stderr: &buf}
		env.newLogger(&config.Config{LogFormat: format}, new(slog.LevelVar)).Info("room joined",
			"room", "a\x1b[2J\u009b\u202eb", "error", errors.New("x\ny\u202e"),
			slog.Group("g", "k", "\u2066"))
		for _, r := range buf.String() {
			if r != '\n' && harmful(r) {
				t.Errorf("%s: %U is in the log: %s", format, r, buf.String())
			}
		}
		if n := bytes.Count(buf.Bytes(), []byte("\n")); n != 1 {
			t.Errorf("%s: %d lines for one record: %s", format, n, buf.String())
		}
	}
}

// TestLogsSayUnits: a number of nanoseconds is none that a reader of the log could know as such.
func TestLogsSayUnits(t *testing.T) {
	for format, want := range map[string]string{
		"text": `level=INFO msg=x next_attempt_in=3m26s g.took=1.5ms g.ago=-1m0s within=0s room="a \"b\""` + "\n",
		"json": `"level":"INFO","msg":"x","next_attempt_in":"3m26s","g":{"took":"1.5ms","ago":"-1m0s"},"within":"0s","room":"a \"b\""}` + "\n",
	} {
		var buf bytes.Buffer
		env := &environment{stderr: &buf}
		env.newLogger(&config.Config{LogFormat: format}, new(slog.LevelVar)).With("next_attempt_in",
			206*time.Second+324277).Info("x",
			slog.Group("g", "took", 1500*time.Microsecond, "ago", -time.Minute), "within",
			time.Duration(0), "room", `a "b"`)
		if !strings.HasSuffix(buf.String(), want) {
			t.Errorf("%s: %s\nwant … %s", format, buf.String(), want)
		}
	}
}

func TestExitCodes(t *testing.T) {
	for name, tt := range map[string]struct {
		err  error
		want int
	}{
		"done":                     {nil, 0},
		"failed":                   {errors.New("x"), 1},
		"usage":                    {usageError(errors.New("x")), 2},
		"configuration":            {fmt.Errorf("start: %w", &config.ProblemsError{}), 2},
		"found something, wrapped": {fmt.Errorf("verify: %w", problemsFoundError("x")), 3},
	} {
		if got := exitCode(tt.err); got != tt.want {
			t.Errorf("%s: exit code %d, want %d", name, got, tt.want)
		}
	}
}
