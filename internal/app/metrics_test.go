package app

import (
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/syncflow/textegress/internal/config"
)

const metricPrefix = "livekit_data_egress_"

var (
	metricForm = regexp.MustCompile(`^Desc\{fqName: "([^"]+)", .*, variableLabels: \{([^}]*)\}\}$`)
	metricName = regexp.MustCompile("`([a-z_]+)`(?: \\{([a-z, ]+)\\})?")
)

// TestTheManualNamesEveryMetric holds the table of metrics in docs/OPERATIONS.md and what the
// service registers against each other, with their labels, in both directions.
func TestTheManualNamesEveryMetric(t *testing.T) {
	dir := t.TempDir()
	a, err := New(t.Context(), Options{
		Logger: slog.New(slog.DiscardHandler),
		Config: &config.Config{
			DataDir: filepath.Join(dir, "data"), HTTPAddr: "127.0.0.1:0", DiskMinFree: 1 << 20,
			ServerURL: "http://syncflow.test",
			Projects: []config.Project{{
				Key: "key", Secret: config.NewSecret("secret"),
				ProjectID: "0b7e6d1e-8a47-4c7a-9a7e-0d4f5f0f7c11",
				Directory: filepath.Join(dir, "out"),
			}},
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer a.Stop(t.Context()) //nolint:errcheck // nothing was started
	for _, p := range a.all() {
		if p.broken != "" {
			t.Fatal(p.broken)
		}
	}
	registered := map[string]string{}
	descs := make(chan *prometheus.Desc)
	go func() {
		defer close(descs)
		a.parts.reg.(*prometheus.Registry).Describe(descs)
	}()
	for d := range descs {
		m := metricForm.FindStringSubmatch(d.String())
		if m == nil {
			t.Fatalf("what is %s?", d)
		}
		if name, ours := strings.CutPrefix(m[1], metricPrefix); ours {
			registered[name] = labels(m[2])
		} else if !strings.HasPrefix(m[1], "go_") && !strings.HasPrefix(m[1], "process_") {
			t.Errorf("%s has another prefix", m[1])
		}
	}
	if len(registered) < 20 {
		t.Fatalf("only %d metrics are registered: is a part of the service not set up?",
			len(registered))
	}

	text, err := os.ReadFile("../../docs/OPERATIONS.md")
	if err != nil {
		t.Fatal(err)
	}
	_, table, _ := strings.Cut(string(text), "\n### Metrics\n")
	table, alerts, _ := strings.Cut(table, "\n### Alerts worth having\n")
	alerts, _, _ = strings.Cut(alerts, "\n## ")
	documented := map[string]string{}
	for line := range strings.SplitSeq(table, "\n") {
		cells := strings.Split(line, "|")
		if len(cells) < 3 {
			continue
		}
		// The labels after the last name of a cell are those of all that have none of their own.
		found := metricName.FindAllStringSubmatch(cells[1], -1)
		for i, m := range found {
			l := m[2]
			if l == "" {
				l = found[len(found)-1][2]
			}
			if _, twice := documented[m[1]]; twice {
				t.Errorf("%s has two rows", m[1])
			}
			documented[found[i][1]] = labels(l)
		}
	}
	for name, l := range registered {
		if got, ok := documented[name]; !ok {
			t.Errorf("%s is on no page", name)
		} else if got != l {
			t.Errorf("%s: the page has the labels {%s}, it has {%s}", name, got, l)
		}
	}
	for name := range documented {
		if _, ok := registered[name]; !ok {
			t.Errorf("the page has %s, which is not registered", name)
		}
	}
	for _, m := range regexp.MustCompile(metricPrefix+`([a-z_]+)`).FindAllStringSubmatch(alerts,
		-1) {
		if _, ok := registered[m[1]]; !ok {
			t.Errorf("an alert asks for %s, which is not registered", m[1])
		}
	}
}

func labels(list string) string {
	l := strings.FieldsFunc(list, func(r rune) bool { return r == ',' || r == ' ' })
	slices.Sort(l)
	return strings.Join(l, ", ")
}
