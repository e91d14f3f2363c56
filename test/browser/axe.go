package browser

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"

	"github.com/syncflow/textegress/test/stack"
)

// AxeSource returns the source of axe-core, which finds what people with disabilities cannot use.
func AxeSource(ctx context.Context) (string, error) {
	root, err := stack.Root()
	if err != nil {
		return "", err
	}
	c := exec.CommandContext(ctx, filepath.Join(root, "scripts", "npm.sh"), "axe")
	if out, err := c.CombinedOutput(); err != nil {
		return "", fmt.Errorf("scripts/npm.sh axe: %w\n%s", err, out)
	}
	b, err := os.ReadFile(filepath.Join(root, "build", "npm", "axe", "node_modules", "axe-core",
		"axe.min.js"))
	return string(b), err
}

// Axe runs axe-core in a page and returns what it finds, with the first places of each.
func (p *Page) Axe(ctx context.Context, source string) ([]string, error) {
	if err := p.Eval(ctx, source+"; 0", nil); err != nil {
		return nil, err
	}
	var found []string
	err := p.Eval(ctx, `axe.run({resultTypes: ['violations']}).then(r => r.violations.map(v =>
		[v.impact, v.id, v.help, ...v.nodes.slice(0, 3).map(n => n.html)].join(' | ')))`, &found)
	return found, err
}
