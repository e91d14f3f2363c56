package uploader

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/syncflow/textegress/internal/spool"
)

// removeOld removes local data whose retention time has passed, and later the last trace of it.
func (u *Uploader) removeOld(ctx context.Context) {
	if u.o.Retention < 0 {
		return
	}
	for _, rec := range u.o.Spool.Recordings() {
		if ctx.Err() != nil {
			return
		}
		if err := u.removeIfOld(rec); err != nil {
			u.log.Warn("local data of a delivered recording is not removed yet", "egress_id", rec.ID(), "error", err)
		}
	}
}

func (u *Uploader) removeIfOld(rec *spool.Recording) error {
	state := rec.State()
	if state != spool.StateUploaded && state != spool.StateRemoved {
		return nil
	}
	data, ok, err := rec.Uploaded()
	if err != nil || !ok {
		return err
	}
	var up uploaded
	if err := json.Unmarshal(data, &up); err != nil {
		return fmt.Errorf("read uploaded.json: %w", err)
	}
	if up.UploadedUnixNS == 0 {
		return errors.New("uploaded.json does not say when it was delivered")
	}
	age := time.Since(time.Unix(0, up.UploadedUnixNS))
	if state == spool.StateUploaded && age >= u.o.Retention {
		if err := rec.RemoveData(); err != nil {
			return err
		}
		u.log.Info("local data removed", "egress_id", rec.ID(), "delivered_ago", age.Round(time.Second))
	}
	if rec.State() == spool.StateRemoved && age >= max(u.o.Retention, u.o.Forget) {
		return rec.Forget()
	}
	return nil
}
