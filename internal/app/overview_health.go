package app

import (
	"cmp"
	"fmt"
	"time"

	"github.com/syncflow/textegress/internal/controller"
	"github.com/syncflow/textegress/internal/delivery"
	"github.com/syncflow/textegress/internal/objstore"
	"github.com/syncflow/textegress/internal/objstore/dir"
	"github.com/syncflow/textegress/internal/overview"
	"github.com/syncflow/textegress/internal/session"
	"github.com/syncflow/textegress/internal/source/poll"
	"github.com/syncflow/textegress/internal/source/rabbitmq"
	"github.com/syncflow/textegress/internal/source/webhook"
)

// health describes what recording depends on, for people.
func (a *App) health(projects []managedProject, snaps []controller.Snapshot,
	deliveries delivery.Snapshot, disk overview.Disk,
) []overview.Health {
	list := []overview.Health{}
	for i, p := range projects {
		add := func(what, name, text string, level overview.Level) {
			h := overview.Health{What: what, Name: name, Text: text, Level: level}
			if len(projects) > 1 {
				h.Project = cmp.Or(snaps[i].ProjectName, fmt.Sprintf("project %d", p.Config.Index))
			}
			list = append(list, h)
		}
		if p.broken != "" {
			add(overview.HealthSettings, "Settings", p.broken, overview.Bad)
		}
		if p.ctl != nil {
			platformHealth(p, snaps[i], add)
		}
		if err := p.roster.err; err != nil {
			add(overview.HealthRoster, "Roster", err.Error(), overview.Warn)
		}
		storeHealth(p, deliveries.Projects[p.Config.ProjectID], add)
	}
	list = append(list, diskHealth(disk))
	list = append(list, a.otherHealth(projects, snaps)...)
	for _, text := range a.notifier.NotReady() {
		list = append(list, overview.Health{
			What: overview.HealthWebhooks, Name: "Webhooks", Text: text, Level: overview.Warn,
		})
	}
	return list
}

// otherHealth describes what else /readyz states, apart from single sessions.
func (a *App) otherHealth(projects []managedProject, snaps []controller.Snapshot,
) []overview.Health {
	var list []overview.Health
	add := func(what, name string, level overview.Level, texts []string) {
		for _, text := range texts {
			list = append(list, overview.Health{
				What: what, Name: name, Text: text, Level: level,
			})
		}
	}
	add(overview.HealthPlatform, "Clock", overview.Warn, clockReasons(projects))
	for i, p := range projects {
		add(overview.HealthSource, "Announcements", overview.Bad,
			missedReasons(p.Config.Index, snaps[i]))
	}
	failed := a.spool.Disk()
	failed.Full, failed.Low = false, false // see diskHealth
	add(overview.HealthDisk, "Disk", overview.Bad, diskReasons(failed, a.spool.Dir()))
	add(overview.HealthStore, "Store", overview.Bad,
		abandoned(projects, a.spool.Select(undeliveredOf)))
	return list
}

type addHealth func(what, name, text string, level overview.Level)

func platformHealth(p managedProject, snap controller.Snapshot, add addHealth) {
	platform := p.Registry.Platform()
	if snap.State != controller.StateRunning {
		level := overview.Bad
		if snap.Error == "" {
			level = overview.Warn // starting
		}
		add(overview.HealthPlatform, platform, cmp.Or(snap.Error, "has not answered yet"), level)
		return
	}
	if snap.ListError != "" {
		add(overview.HealthPlatform, platform, "the list of sessions cannot be read: "+
			snap.ListError, overview.Warn)
	} else {
		add(overview.HealthPlatform, platform, "answers", overview.OK)
	}
	for _, src := range snap.Sources {
		text, level := "sessions are announced", overview.OK
		switch {
		case src.Connected && src.Name == poll.SourceName:
			text = "sessions are found"
		case src.Connected && src.Name == webhook.SourceName && src.Received.IsZero():
			text = "none received; the room list finds sessions, a second later at most"
		case !src.Connected:
			text, level = silence(src.Name, platform)+": "+cmp.Or(src.LastError,
				"the first attempt has not ended yet"), overview.Bad
		}
		add(overview.HealthSource, sourceName(src), text, level)
	}
}

func sourceName(src session.SourceState) string {
	switch src.Name {
	case rabbitmq.SourceName:
		return "Broker"
	case poll.SourceName:
		return "Room list"
	case webhook.SourceName:
		return "Webhooks from LiveKit"
	}
	return "Announcements by " + src.Name
}

func storeHealth(p managedProject, s delivery.ProjectSnapshot, add addHealth) {
	name := "Bucket"
	if p.Config.Directory != "" {
		name = "Directory"
	}
	switch d, isDir := p.Bucket.(*dir.Bucket); {
	case p.BucketError != nil:
		add(overview.HealthStore, name, p.BucketError.Error(), overview.Bad)
		return
	case p.Bucket == nil:
		return
	case isDir && d.Problem() != nil:
		add(overview.HealthStore, name, objstore.Redacted(d.Problem(), "it cannot be used"),
			overview.Bad)
		return
	}
	waiting := ""
	if s.Pending > 0 {
		waiting = fmt.Sprintf(", %d recordings wait", s.Pending)
		if s.Pending == 1 {
			waiting = ", one recording waits"
		}
	}
	switch {
	case len(s.Failing) > 0:
		add(overview.HealthStore, name, s.LastError+waiting, overview.Bad)
	case s.LastError != "":
		add(overview.HealthStore, name, s.LastError+waiting, overview.Warn)
	default:
		add(overview.HealthStore, name, place(p.Bucket.String())+waiting, overview.OK)
	}
}

func diskHealth(d overview.Disk) overview.Health {
	h := overview.Health{
		What: overview.HealthDisk, Name: "Disk", Text: bytesText(d.FreeBytes) + " free",
		Level: overview.OK,
	}
	if d.Lasts > 0 {
		h.Text += ", enough for about " + overview.Duration(d.Lasts.Duration())
		if d.Lasts.Duration() < lastsWarning {
			h.Level = overview.Warn
		}
	}
	switch d.State {
	case overview.DiskFull:
		h.Text += "; it is full, and nothing is recorded until there is space"
		h.Level = overview.Bad
	case overview.DiskLow:
		h.Text += "; no new sessions are taken: free space outside of the data directory"
		h.Level = overview.Bad
	}
	return h
}

// bytesText returns a number of bytes for people.
func bytesText(n uint64) string {
	const unit = 1000
	switch {
	case n >= unit*unit*unit*unit:
		return fmt.Sprintf("%.1f TB", float64(n)/(unit*unit*unit*unit))
	case n >= unit*unit*unit:
		return fmt.Sprintf("%.1f GB", float64(n)/(unit*unit*unit))
	}
	return fmt.Sprintf("%.0f MB", float64(n)/(unit*unit))
}

// The rate at which the disk fills up is that between the oldest and the newest observation.
const (
	observeEvery = time.Minute
	observeFor   = 24 * time.Hour
	observeAtMin = 10 * time.Minute // shorter observations say nothing about days
	lastsWarning = 48 * time.Hour
	lastsMax     = 365 * 24 * time.Hour // beyond it, the disk lasts
)

// observation is the free space at one time.
type observation struct {
	at   time.Time
	free uint64
}

// diskRate estimates for how long the disk is enough. Its methods may be used by one goroutine at a
// time.
type diskRate struct{ seen []observation }

// observe adds an observation.
func (d *diskRate) observe(at time.Time, free uint64) {
	if n := len(d.seen); n > 0 && at.Sub(d.seen[n-1].at) < observeEvery {
		return
	}
	d.seen = append(d.seen, observation{at, free})
	for len(d.seen) > 2 && at.Sub(d.seen[0].at) > observeFor {
		d.seen = d.seen[1:]
	}
}

// lasts returns for how long the free space above minFree is enough, 0 if that is unknown.
func (d *diskRate) lasts(free, minFree uint64) time.Duration {
	n := len(d.seen)
	if n < 2 || free <= minFree {
		return 0
	}
	first, last := d.seen[0], d.seen[n-1]
	took := last.at.Sub(first.at)
	if took < observeAtMin || last.free >= first.free {
		return 0
	}
	perSecond := float64(first.free-last.free) / took.Seconds()
	seconds := float64(free-minFree) / perSecond
	if seconds > lastsMax.Seconds() {
		return 0
	}
	return time.Duration(seconds * float64(time.Second))
}

// overviewDisk describes the disk. It also observes it: callers are the page and the loop of
// [App.settle], so that the rate is known before the first page is opened.
func (a *App) overviewDisk(now time.Time) overview.Disk {
	d := a.spool.Disk()
	to := overview.Disk{State: overview.DiskOK, FreeBytes: d.Free, Since: d.Since}
	switch {
	case d.Full:
		to.State = overview.DiskFull
	case d.Low:
		to.State = overview.DiskLow
	}
	a.diskMu.Lock()
	defer a.diskMu.Unlock()
	a.diskRate.observe(now, d.Free)
	to.Lasts = overview.Seconds(a.diskRate.lasts(d.Free, d.MinFree).Seconds())
	return to
}
