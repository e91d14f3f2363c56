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

// metric is what the table says of one: its type and its labels.
type metric struct{ kind, labels string }

// TestTheManualNamesEveryMetric holds the table of metrics in docs/OPERATIONS.md and what the
// service registers against each other, with their types and labels, in both directions.
func TestTheManualNamesEveryMetric(t *testing.T) {
	dir := t.TempDir()
	a, err := New(Options{
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
	defer a.Close() //nolint:errcheck // nothing runs
	for _, p := range a.snapshotProjects() {
		if p.broken != "" {
			t.Fatal(p.broken)
		}
	}
	kinds := map[string]string{} // of those that have a value yet
	families, err := a.registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		kinds[f.GetName()] = strings.ToLower(f.GetType().String())
	}
	registered := map[string]metric{}
	descs := make(chan *prometheus.Desc)
	go func() {
		defer close(descs)
		a.registry.Describe(descs)
	}()
	for d := range descs {
		m := metricForm.FindStringSubmatch(d.String())
		if m == nil {
			t.Fatalf("what is %s?", d)
		}
		if name, ours := strings.CutPrefix(m[1], metricPrefix); ours {
			registered[name] = metric{metricKind(m[1], kinds), labels(m[2])}
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
	documented := map[string]metric{}
	for line := range strings.SplitSeq(table, "\n") {
		cells := strings.Split(line, "|")
		if len(cells) < 3 {
			continue
		}
		// The labels after the last name of a cell are those of all that have none of their own.
		found := metricName.FindAllStringSubmatch(cells[1], -1)
		rowKinds := strings.Split(strings.TrimSpace(cells[2]), ", ")
		for i, m := range found {
			l := m[2]
			if l == "" {
				l = found[len(found)-1][2]
			}
			if _, twice := documented[m[1]]; twice {
				t.Errorf("%s has two rows", m[1])
			}
			documented[m[1]] = metric{rowKinds[min(i, len(rowKinds)-1)], labels(l)}
		}
	}
	for name, want := range registered {
		if got, ok := documented[name]; !ok {
			t.Errorf("the table has no row for %s; write: %s", name, row(name, want))
		} else if got != want {
			t.Errorf("the row of %s says %s {%s}; write: %s", name, got.kind, got.labels,
				row(name, want))
		}
	}
	for name := range documented {
		if _, ok := registered[name]; !ok {
			t.Errorf("the table has %s, which is not registered; remove it", name)
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

// metricKind is the type of a metric. One without a value yet, because it has labels, is a counter
// by its name.
func metricKind(name string, gathered map[string]string) string {
	if kind := gathered[name]; kind != "" {
		return kind
	}
	if strings.HasSuffix(name, "_total") {
		return "counter"
	}
	return map[bool]string{true: "histogram", false: "gauge"}[strings.HasSuffix(name, "_seconds")]
}

// row is the line that the table should have.
func row(name string, m metric) string {
	l := ""
	if m.labels != "" {
		l = " {" + m.labels + "}"
	}
	return "| `" + name + "`" + l + " | " + m.kind + " | (what it counts) |"
}
