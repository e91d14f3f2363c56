package app

import (
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/syncflow/textegress/internal/config"
	"github.com/syncflow/textegress/internal/recorder"
	"github.com/syncflow/textegress/internal/roster"
	"github.com/syncflow/textegress/internal/web"
)

// rosterState is the roster of a project as last read.
type rosterState struct {
	file   string         // "": the project has none
	roster *roster.Roster // of the last time that the file could be read; nil: never
	err    error          // of the last time
}

// readRoster reads the roster of a project. If that fails, the one that was read before stays in
// force.
func readRoster(pc config.Project, before rosterState, log *slog.Logger) rosterState {
	s := rosterState{file: pc.RosterFile}
	if s.file == "" {
		return s
	}
	if s.roster, s.err = roster.Load(s.file); s.err != nil {
		log.Warn("cannot read who is expected; recording does not depend on it",
			"setting", pc.Variable("ROSTER_FILE"), "error", s.err)
		if before.file == s.file {
			s.roster = before.roster
		}
	}
	return s
}

// readRosters reads the rosters of all running projects that the settings contain, by project id.
func (a *App) readRosters(next *config.Config) map[string]rosterState {
	all := map[string]rosterState{}
	for _, p := range a.snapshotProjects() {
		if n, ok := find(next, p.Config.ProjectID); ok && p.ctl != nil {
			all[n.ProjectID] = readRoster(n, p.roster, a.log)
		}
	}
	return all
}

// setView makes a running project use the settings of n that only concern what is shown, and
// returns what has changed. a.mu is held.
func (p *managedProject) setView(n config.Project, r rosterState, changed []string) []string {
	p.roster = r
	p.Config.RosterFile, p.Config.LiveText = n.RosterFile, n.LiveText
	return ofProject(changed, n.Index, ofView)
}

// expected returns who is expected in a session and may be recorded.
func (p *managedProject) expected(r recorder.Snapshot) []roster.Entry {
	allowed, ok := p.ctl.Allows(r.Info.EgressID)
	if !ok {
		return nil
	}
	var out []roster.Entry
	for _, e := range p.roster.roster.Expected(r.Info.RoomName) {
		if allowed(e.Identity) {
			out = append(out, e)
		}
	}
	return out
}

// absent returns who of the expected people has not been in the room since the start of the
// recording, once the grace period is over. Nobody counts as absent before the recorder has seen
// the room.
func absent(r recorder.Snapshot, expected []roster.Entry, people []recorder.Person,
	grace time.Duration, now time.Time,
) []roster.Entry {
	if !r.EverJoined || now.Sub(time.Unix(0, r.Info.CreatedUnixNS)) < grace {
		return nil
	}
	came := map[string]bool{}
	for _, p := range people {
		came[p.Identity] = true
	}
	var out []roster.Entry
	for _, e := range expected {
		if !came[e.Identity] {
			out = append(out, e)
		}
	}
	return out
}

// countAbsent returns how many expected people are absent in the sessions of a project.
func (a *App) countAbsent(p *managedProject, recorders []recorder.Snapshot, now time.Time) int {
	if p.roster.roster == nil {
		return 0
	}
	a.mu.RLock()
	grace := a.config.RosterGrace
	a.mu.RUnlock()
	n := 0
	for _, r := range recorders {
		people, _ := p.ctl.People(r.Info.EgressID)
		n += len(absent(r, p.expected(r), people, grace, now))
	}
	return n
}

// rosterStatus returns what /status.json says about the roster of a project, nil without one.
func (a *App) rosterStatus(p *managedProject, recorders []recorder.Snapshot) *web.RosterStatus {
	if p.roster.file == "" {
		return nil
	}
	s := &web.RosterStatus{
		Entries: p.roster.roster.Len(),
		Absent:  a.countAbsent(p, recorders, time.Now()),
	}
	if p.roster.err != nil {
		s.Error = p.roster.err.Error()
	}
	return s
}

// rosterMetrics counts the absent when the metrics are read. The label project has the project ids
// of the settings, a closed set.
type rosterMetrics struct {
	app    *App
	absent *prometheus.Desc
}

func newRosterMetrics(a *App) *rosterMetrics {
	return &rosterMetrics{app: a, absent: prometheus.NewDesc("livekit_data_egress_expected_absent",
		"People whom the roster of a project expects in a session being recorded and who have not "+
			"been there.", []string{"project"}, nil)}
}

// Describe implements [prometheus.Collector].
func (m *rosterMetrics) Describe(descs chan<- *prometheus.Desc) { descs <- m.absent }

// Collect implements [prometheus.Collector].
func (m *rosterMetrics) Collect(metrics chan<- prometheus.Metric) {
	for _, p := range m.app.snapshotProjects() {
		if p.ctl == nil || p.roster.file == "" {
			continue
		}
		n := m.app.countAbsent(&p, p.ctl.Snapshot().Recorders, time.Now())
		metrics <- prometheus.MustNewConstMetric(m.absent, prometheus.GaugeValue, float64(n),
			p.Config.ProjectID)
	}
}
