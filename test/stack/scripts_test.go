package stack

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestBuildShowsItsProgress: a first build takes minutes, in which somebody who waits must see that
// something happens.
func TestBuildShowsItsProgress(t *testing.T) {
	root, err := Root()
	if err != nil {
		t.Fatal(err)
	}
	module := t.TempDir()
	write := func(name, text string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(module, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	name := filepath.Base(filepath.Dir(module)) + "-test"
	out := filepath.Join(root, "build", "bin", name)
	defer os.Remove(out)
	build := func() (string, error) {
		t.Helper()
		c := exec.CommandContext(t.Context(), filepath.Join(root, "scripts", "go-build.sh"), module,
			".", name, "2 of 5")
		said, err := c.CombinedOutput()
		return string(said), err
	}

	write("go.mod", "module example.org/"+name+"\n\ngo 1.26\n")
	write("main.go", "package main\n\n// "+module+"\nfunc main() { x }\n")
	said, err := build()
	if err == nil || !strings.Contains(said, "main.go:4:15: undefined: x") ||
		!strings.Contains(said, "building "+name+" failed") {
		t.Errorf("an error of the compiler: %v\n%s", err, said)
	}
	write("main.go", "package main\n\n// "+module+"\nfunc main() {}\n")
	said, err = build()
	want := regexp.MustCompile(`^building ` + regexp.QuoteMeta(name) +
		` \(2 of 5\): package 1 of [1-9][0-9]*, \S+\n`)
	if err != nil || !want.MatchString(said) {
		t.Errorf("a build: %v\n%s", err, said)
	}
	if err := exec.CommandContext(t.Context(), out).Run(); err != nil {
		t.Errorf("the program: %v", err)
	}
	// Where the look alone takes long, the name is shown.
	if said, err = build(); err != nil || strings.ReplaceAll(said, "building "+name+" (2 of 5)\n",
		"") != "" {
		t.Errorf("a build of what is up to date: %v\n%s", err, said)
	}
}

// TestBuildKnowsThePrograms: scripts/build.sh makes under the same names what EnsureBinaries would
// make again otherwise.
func TestBuildKnowsThePrograms(t *testing.T) {
	root, err := Root()
	if err != nil {
		t.Fatal(err)
	}
	script, err := os.ReadFile(filepath.Join(root, "scripts", "build.sh"))
	if err != nil {
		t.Fatal(err)
	}
	for name, p := range programs {
		pkg := strings.Replace(p.pkg, strings.TrimSuffix(rootModule+"/"+p.module, "/."), ".", 1)
		line := name + " " + p.module + " " + pkg
		generic := "test ./cmd/" + name
		if !strings.Contains(string(script), "\n"+line+"\n") &&
			!strings.HasSuffix(line, " "+generic) {
			t.Errorf("scripts/build.sh does not build %q", line)
		}
	}
}
