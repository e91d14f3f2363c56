package textegress_test

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestGuarantees_NameExistingTests holds docs/GUARANTEES.md to the tests that it names.
func TestGuarantees_NameExistingTests(t *testing.T) {
	b, err := os.ReadFile("docs/GUARANTEES.md")
	if err != nil {
		t.Fatal(err)
	}
	name := regexp.MustCompile("`([A-Za-z0-9_/]*)\\.((?:Test|Fuzz)[A-Za-z0-9_]+)`")
	found := name.FindAllStringSubmatch(string(b), -1)
	if len(found) < 80 {
		t.Fatalf("%d tests are named; is the form still `folder.TestName`?", len(found))
	}
	for _, m := range found {
		if m[1] != "folder" && !hasTest(t, filepath.FromSlash(m[1]), m[2]) {
			t.Errorf("docs/GUARANTEES.md names %s.%s, which does not exist", m[1], m[2])
		}
	}
	// No row goes without a test, and no name escapes the pattern.
	for line := range strings.Lines(string(b)) {
		if strings.HasPrefix(line, "| ") && !strings.HasPrefix(line, "| sentence") &&
			!strings.HasPrefix(line, "| term") && !name.MatchString(line) {
			t.Errorf("no test in %q", line)
		}
	}
	if any := regexp.MustCompile("`[^`=]*(Test|Fuzz)[A-Z][^`=]*`").FindAllString(string(b),
		-1); len(any) != len(found) {
		t.Errorf("%d texts look like the names of tests, %d are", len(any), len(found))
	}
}

func hasTest(t *testing.T, dir, name string) bool {
	t.Helper()
	if dir == "" {
		dir = "."
	}
	files, err := filepath.Glob(filepath.Join(dir, "*_test.go"))
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(b), "\nfunc "+name+"(") {
			return true
		}
	}
	return false
}
