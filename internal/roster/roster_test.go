package roster

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

func parse(t *testing.T, text string) *Roster {
	t.Helper()
	r, err := Parse([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// What spreadsheets save: byte order mark, CRLF, semicolons, quotes, empty lines and columns.
func TestParse(t *testing.T) {
	want := []Entry{
		{Identity: "ann", Person: "7", Name: "Ann, B.", Room: "bio*"},
		{Identity: "bob", Extra: map[string]string{"Group": "control"}},
	}
	for name, text := range map[string]string{
		"plain": "identity,person,name,room,Group\nann,7,\"Ann, B.\",bio*,\nbob,,,,control\n",
		"Excel": "\ufeffIdentity;Person;Name;Room;Group;;\r\nann;7;Ann, B.;bio*;;;\r\n" +
			";;;;;;\r\nbob;;;;control;;\r\n",
		"tabs":  "Group\tidentity\tperson\tname\troom\n\tann\t7\tAnn, B.\tbio*\ncontrol\t bob \n",
		"short": "identity,person,name,room,Group\nann,7,\"Ann, B.\",bio*\n\nbob,,,,control",
	} {
		t.Run(name, func(t *testing.T) {
			got := parse(t, text).Entries()
			if diff := cmp.Diff(want, got, cmpopts.IgnoreUnexported(Entry{})); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// Who is expected where.
func TestExpected(t *testing.T) {
	r := parse(t, "identity,room\nann,bio*\nbob,\neve,biology\nann,\nstar,bio\\*\n")
	for room, want := range map[string]string{
		"biology": "ann bob eve", "bio": "ann bob", "bio*": "ann bob star", "maths": "bob ann",
	} {
		var got []string
		for _, e := range r.Expected(room) {
			got = append(got, e.Identity)
		}
		if strings.Join(got, " ") != want {
			t.Errorf("%s: %v, want %s", room, got, want)
		}
	}
	if got := (*Roster)(nil).Expected("x"); got != nil {
		t.Errorf("no roster: %v", got)
	}
}

// Errors name the place and quote nothing of the file.
func TestParse_Errors(t *testing.T) {
	for text, want := range map[string]string{
		"":                               "it is empty",
		"secret,name\nsecret,x\n":        "line 1: there is no column identity",
		"identity,name,Name\nsecret,x\n": "line 1, column 3",
		"name,identity\nx,a\nsecret,\n":  "line 3, column 2 (identity): it is empty",
		"identity,room\na,x\nsecret,se*cret\n": "line 3, column 2 (room): a star stands at the " +
			"end",
		"identity\nsecret\nb\nsecret\n":   "line 4, column 1 (identity): line 2 has it already",
		"identity\na\n\"secret\nb":        "line 4, character 2",
		"identity\na\nse\"cret\n":         "line 3, character 3",
		"identity\na\nsecret\xff\n":       "line 3: it is not UTF-8",
		"\xff\xfei\x00d\x00":              "UTF-16",
		"identity\n\"multi\nline\",x\n,y": "line 4, column 1 (identity): it is empty",
	} {
		_, err := Parse([]byte(text))
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %s", text, err, want)
		}
		if err != nil && strings.Contains(err.Error(), "secret") {
			t.Errorf("%q: the error quotes the file: %v", text, err)
		}
	}
}

func TestLoad(t *testing.T) {
	path := filepath.Join(t.TempDir(), "class.csv")
	if _, err := Load(path); err == nil || !strings.Contains(err.Error(), path) {
		t.Errorf("missing: %v", err)
	}
	if err := os.WriteFile(path, []byte("identity\n\n,x\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Load(path); err == nil || !strings.Contains(err.Error(), path+": line 3") {
		t.Errorf("broken: %v", err)
	}
	if err := os.WriteFile(path, []byte("identity\nann\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if r, err := Load(path); err != nil || r.Len() != 1 {
		t.Errorf("%v, %d lines", err, r.Len())
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte("\ufeffidentity;room;x\r\nann;bio*;1\r\n"))
	f.Add([]byte("identity,name\n\"a\nb\",c\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := Parse(b)
		if err != nil {
			return
		}
		for _, e := range r.Entries() {
			if e.Identity == "" {
				t.Error("an entry without an identity")
			}
		}
		r.Expected("room")
	})
}
