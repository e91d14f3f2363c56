package app

import (
	"time"

	"github.com/syncflow/textegress/internal/overview"
)

// OverviewService returns what the page and the API show.
func (a *App) OverviewService() overview.Service { return a.overview }

// Lasts returns for how long a disk is enough that had the given free space at equal intervals, and
// has the last one now.
func Lasts(every time.Duration, minFree uint64, free ...uint64) time.Duration {
	var d diskRate
	at := time.Unix(1e9, 0)
	for _, n := range free {
		d.observe(at, n)
		at = at.Add(every)
	}
	return d.lasts(free[len(free)-1], minFree)
}

// PerSecond gives tests access to perSecond.
func PerSecond(recent []uint32, since, now time.Time) float64 {
	return perSecond(recent, since, now)
}

// ForgetOverview makes the next caller of Overview make it anew.
func (a *App) ForgetOverview() {
	a.overview.mu.Lock()
	defer a.overview.mu.Unlock()
	a.overview.last = overview.Overview{}
}
