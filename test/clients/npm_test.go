package clients

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/syncflow/textegress/test/stack"
)

// npmRoot makes sure that the packages of all apps are installed, as their lock files say, and
// returns the folder that has one folder per app. An error says what is missing and how it is
// installed.
func npmRoot(ctx context.Context) (string, error) {
	root, err := stack.Root()
	if err != nil {
		return "", err
	}
	out, err := exec.CommandContext(ctx, "node", "--version").Output()
	if err != nil {
		return "", fmt.Errorf("node is missing: install Node.js 18 or later with npm (Debian: "+
			"apt-get install nodejs npm; scripts/setup.sh test does it): %w", err)
	}
	version := strings.TrimSpace(string(out))
	major, _, _ := strings.Cut(strings.TrimPrefix(version, "v"), ".")
	if n, err := strconv.Atoi(major); err != nil || n < 18 {
		return "", fmt.Errorf("node is %s: install Node.js 18 or later", version)
	}
	c := exec.CommandContext(ctx, filepath.Join(root, "scripts", "npm.sh"))
	if b, err := c.CombinedOutput(); err != nil {
		return "", fmt.Errorf("scripts/npm.sh: %w\n%s", err, b)
	}
	return filepath.Join(root, "build", "npm"), nil
}

// chromium finds a browser.
func chromium() (string, error) {
	for _, name := range []string{
		os.Getenv("CHROMIUM"), "chromium", "chromium-browser",
		"google-chrome",
	} {
		if name == "" {
			continue
		}
		if path, err := exec.LookPath(name); err == nil {
			return path, nil
		}
	}
	return "", errors.New("Chromium is missing: install it (Debian: apt-get install chromium; " +
		"scripts/setup.sh test does it) or set CHROMIUM to its path")
}
