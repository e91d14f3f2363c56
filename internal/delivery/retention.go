package delivery

import (
	"context"
	"time"

	"github.com/syncflow/textegress/internal/spool"
)

// removeOld removes local data whose retention time has passed, and later the remaining state
// files.
func (d *Dispatcher) removeOld(ctx context.Context) {
	d.mu.Lock()
	retention := d.retention
	d.mu.Unlock()
	if retention < 0 {
		return
	}
	for _, rec := range d.o.Spool.Recordings() {
		if ctx.Err() != nil {
			return
		}
		if err := d.removeIfOld(rec, retention); err != nil {
			d.log.Warn("cannot remove the local data of a delivered recording yet", "egress_id",
				rec.ID(), "error", err)
		}
	}
}

func (d *Dispatcher) removeIfOld(rec *spool.Recording, retention time.Duration) error {
	state := rec.State()
	if state != spool.StateUploaded && state != spool.StateRemoved {
		return nil
	}
	up, ok, err := LoadUploaded(rec)
	if err != nil || !ok {
		return err
	}
	age := time.Since(time.Unix(0, up.UploadedUnixNS))
	if state == spool.StateUploaded && age >= retention && !d.o.HoldData(rec) {
		if err := rec.RemoveData(); err != nil {
			return err
		}
		d.log.Info("local data removed", "egress_id", rec.ID(), "delivered_ago",
			age.Round(time.Second))
	}
	// The remaining files state which older revisions are still to be deleted.
	if unsettled, err := rec.PurgePending(); err != nil || unsettled {
		return err
	}
	if rec.State() == spool.StateRemoved && age >= max(retention, d.o.KeepState) &&
		!d.o.Hold(rec) {
		return rec.Delete()
	}
	return nil
}
