package app

import "github.com/syncflow/textegress/internal/overview"

// ForgetOverview makes the next caller of Overview make it anew.
func (a *App) ForgetOverview() {
	a.overview.mu.Lock()
	defer a.overview.mu.Unlock()
	a.overview.last = overview.Overview{}
}
