package pseudonym_test

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/syncflow/textegress/internal/pseudonym"
)

func names(t *testing.T, s *pseudonym.Store, project string) *pseudonym.Names {
	t.Helper()
	key, err := s.Key(project)
	if err != nil {
		t.Fatal(err)
	}
	n, err := s.Names(project, key)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// TestStable: a participant has one pseudonym in a project, over restarts, and another one in every
// other project and data directory.
func TestStable(t *testing.T) {
	dir := t.TempDir()
	first := names(t, pseudonym.Open(dir), "p1").Of("alice")
	if !regexp.MustCompile(`^P-[A-Z2-7]{10}$`).MatchString(first) {
		t.Errorf("%q", first)
	}
	again := pseudonym.Open(dir)
	if got := names(t, again, "p1").Of("alice"); got != first {
		t.Errorf("after a restart %q, before %q", got, first)
	}
	seen := map[string]bool{first: true}
	for _, other := range []string{
		names(t, again, "p1").Of("alice "), names(t, again, "p1").Of("Alice"),
		names(t, again, "p2").Of("alice"), names(t, again, "../p1").Of("alice"),
		names(t, pseudonym.Open(t.TempDir()), "p1").Of("alice"),
		"P" + names(t, again, "p1").ID("alice")[1:],
	} {
		if seen[other] {
			t.Errorf("%q is another name's pseudonym", other)
		}
		seen[other] = true
	}
	if n := names(t, again, "p1"); n.Of("") != "" || n.ID("") != "" {
		t.Error("the empty identity has a pseudonym")
	}
	files, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil || len(files) != 1 {
		t.Errorf("files outside of the directory: %v %v", files, err)
	}
}

// TestRemembered: what was remembered is on the disk for other processes, private, and can be
// forgotten.
func TestRemembered(t *testing.T) {
	dir := t.TempDir()
	s := pseudonym.Open(dir)
	n, other := names(t, s, "p1"), names(t, s, "p2")
	for _, list := range [][]string{{"alice", "bob"}, {"", "bob", "学生 <一>"}, nil} {
		if err := n.Save(list); err != nil {
			t.Fatal(err)
		}
	}
	if err := other.Save([]string{"bob"}); err != nil {
		t.Fatal(err)
	}
	list := func(s *pseudonym.Store, project string) string {
		t.Helper()
		entries, err := s.List(project)
		if err != nil {
			t.Fatal(err)
		}
		var text strings.Builder
		for _, e := range entries {
			if e.Pseudonym != names(t, s, e.ProjectID).Of(e.Identity) {
				t.Errorf("%+v", e)
			}
			text.WriteString(e.ProjectID + ":" + e.Identity + ",")
		}
		return text.String()
	}
	read := pseudonym.OpenReadOnly(dir)
	got := list(read, "p1")
	for _, want := range []string{"p1:alice,", "p1:bob,", "p1:学生 <一>,"} {
		if !strings.Contains(got, want) || strings.Count(got, ":") != 3 {
			t.Errorf("the list is %q", got)
		}
	}
	if got := list(read, ""); strings.Count(got, ":") != 4 || !strings.HasSuffix(got, "p2:bob,") {
		t.Errorf("the list of all is %q", got)
	}
	files, err := filepath.Glob(filepath.Join(dir, pseudonym.Dir, "*"))
	if err != nil || len(files) != 2 {
		t.Fatalf("%v %v", files, err)
	}
	for _, f := range append(files, filepath.Join(dir, pseudonym.Dir)) {
		if i, err := os.Stat(f); err != nil || i.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s: %v %v", f, i.Mode(), err)
		}
	}
	if err := s.Erase("p1", "bob"); err != nil {
		t.Fatal(err)
	}
	if got := list(s, ""); strings.Contains(got, "p1:bob") || !strings.Contains(got, "p2:bob") ||
		!strings.Contains(got, "p1:alice") {
		t.Errorf("after forgetting: %q", got)
	}
	if err := s.Erase("", "bob"); err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		if b, err := os.ReadFile(f); err != nil || strings.Contains(string(b), "bob") {
			t.Errorf("%s still has it (%v)", f, err)
		}
	}
	// A process that only reads changes nothing.
	before := fmt.Sprint(files, mtimes(t, files))
	r := names(t, read, "p1")
	if err := r.Save([]string{"carol"}); err != nil {
		t.Error(err)
	}
	if after := fmt.Sprint(files, mtimes(t, files)); after != before {
		t.Errorf("a read-only store wrote: %s, before %s", after, before)
	}
	if _, err := read.Key("p3"); err == nil {
		t.Error("a read-only store made a key")
	}
}

func mtimes(t *testing.T, files []string) (list []int64) {
	t.Helper()
	for _, f := range files {
		i, err := os.Stat(f)
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, i.ModTime().UnixNano())
	}
	return list
}

// TestLostKey: where the key is missing, damaged or another one, there are no pseudonyms rather
// than other ones; and what is damaged is never overwritten.
func TestLostKey(t *testing.T) {
	dir := t.TempDir()
	s := pseudonym.Open(dir)
	key, err := s.Key("p1")
	if err != nil {
		t.Fatal(err)
	}
	before := names(t, s, "p1").Of("alice")
	file := filepath.Join(dir, pseudonym.Dir, "p1.json")
	whole, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for name, content := range map[string]string{
		"empty": "", "torn": string(whole[:len(whole)/2]),
		"no key":             `{"format_version":1,"project_id":"p1"}`,
		"short key":          `{"format_version":1,"project_id":"p1","key":"aGVsbG8="}`,
		"later":              strings.Replace(string(whole), ": 1", ": 99", 1),
		"of another project": strings.Replace(string(whole), "p1", "p2", 1),
	} {
		if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		s := pseudonym.Open(dir)
		if _, err := s.Key("p1"); err == nil {
			t.Errorf("%s: there is a key", name)
		}
		if _, err := s.Names("p1", key); err == nil || !strings.Contains(err.Error(), "p1.json") {
			t.Errorf("%s: %v", name, err)
		}
		if b, err := os.ReadFile(file); err != nil || string(b) != content {
			t.Errorf("%s: it was overwritten (%v)", name, err)
		}
	}
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	s = pseudonym.Open(dir)
	for _, k := range []string{key, ""} {
		if _, err := s.Names("p1", k); err == nil {
			t.Errorf("missing: there are pseudonyms for the key %q", k)
		}
	}
	// A new key is for what begins now.
	second, err := s.Key("p1")
	if err != nil || second == key {
		t.Fatalf("%q %v", second, err)
	}
	if _, err := s.Names("p1", key); err == nil || !strings.Contains(err.Error(), "backup") {
		t.Errorf("for another key: %v", err)
	}
	if err := os.WriteFile(file, whole, 0o600); err != nil {
		t.Fatal(err)
	}
	if got := names(t, pseudonym.Open(dir), "p1").Of("alice"); got != before {
		t.Errorf("restored, %q; before %q", got, before)
	}
}
