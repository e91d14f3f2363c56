package app

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/syncflow/textegress"
	"github.com/syncflow/textegress/internal/controller"
	"github.com/syncflow/textegress/internal/project"
	"github.com/syncflow/textegress/internal/recorder"
	"github.com/syncflow/textegress/internal/session"
	"github.com/syncflow/textegress/internal/source/poll"
	"github.com/syncflow/textegress/internal/source/rabbitmq"
	"github.com/syncflow/textegress/internal/spool"
	"github.com/syncflow/textegress/internal/status"
	"github.com/syncflow/textegress/internal/web"
)

// Status implements [web.Service].
func (a *App) Status() web.Status {
	s := web.Status{
		Version: a.o.Version, Instance: a.instance, DataDir: a.spool.Dir(),
		StartedAt: a.started.UTC(),
		Projects:  []web.ProjectStatus{}, Recordings: []web.RecordingStatus{},
	}
	s.Disk = diskStatus(a.spool.Disk())
	a.mu.RLock()
	s.LastReload = a.lastReload
	a.mu.RUnlock()
	up := a.dispatcher.Snapshot()
	live := map[string]recorder.Snapshot{}
	for _, p := range a.snapshotProjects() {
		ps := web.ProjectStatus{
			Index: p.Config.Index, ID: p.Config.ProjectID, State: "broken",
			Error: p.broken,
		}
		if p.Bucket != nil {
			ps.Bucket = p.Bucket.String()
		}
		if p.ctl != nil {
			snap := p.ctl.Snapshot()
			ps.Platform = p.Registry.Platform()
			fillProject(&ps, snap)
			ps.Roster = a.rosterStatus(&p, snap.Recorders)
			for _, r := range snap.Recorders {
				live[r.Info.EgressID] = r
			}
		}
		if u, ok := up.Projects[p.Config.ProjectID]; ok {
			ps.PendingUploads, ps.UploadError = u.Pending, u.LastError
		}
		s.Projects = append(s.Projects, ps)
	}
	for _, rec := range a.spool.Recordings() {
		rs := status.Stored(rec)
		if r, ok := live[rec.ID()]; ok {
			fillLive(&rs, r)
		}
		rs.Status = cmp.Or(rs.Status, string(textegress.StatusStarting))
		rs.UploadError = up.Errors[rec.ID()]
		s.Recordings = append(s.Recordings, rs)
	}
	s.NotReady = a.NotReady()
	s.Ready = len(s.NotReady) == 0
	return s
}

func fillProject(ps *web.ProjectStatus, snap controller.Snapshot) {
	ps.State, ps.Error, ps.Name, ps.LastReconcile = string(snap.State), snap.Error,
		snap.ProjectName, snap.Reconciled
	if ps.Error == "" {
		ps.Error = snap.ListError
	}
	for _, src := range snap.Sources {
		if src.Name == rabbitmq.SourceName {
			ps.Broker = web.BrokerStatus{
				Connected: src.Connected, Queue: src.Queue, Exclusive: src.Exclusive,
				Since: src.Since, Error: src.LastError,
			}
		}
		ps.Sources = append(ps.Sources, web.SourceStatus{
			Name: src.Name, Connected: src.Connected, Since: src.Since, Error: src.LastError,
			Received: src.Received,
		})
	}
	for _, u := range snap.Unrequested {
		ps.UnrequestedSessions = append(ps.UnrequestedSessions,
			web.SessionRef{SessionID: u.SessionID, RoomName: u.RoomName})
	}
	for _, u := range snap.Unrecorded {
		ps.UnrecordedSessions = append(ps.UnrecordedSessions, web.UnrecordedSession{
			SessionRef: web.SessionRef{SessionID: u.SessionID, RoomName: u.RoomName},
			Reason:     u.Reason, Since: u.Since.UTC(),
		})
	}
}

// fillLive adds what the recorder of an open recording knows.
func fillLive(rs *web.RecordingStatus, r recorder.Snapshot) {
	rs.Status, rs.Reason = string(r.Status), cmp.Or(r.Reason, r.JoinError)
	rs.Connected, rs.Participants, rs.Outages = r.Connected, r.Participants, r.Outages
	rs.Packets, rs.Bytes, rs.Recorded, rs.Durable = r.Packets, r.Bytes, r.Recorded, r.Durable
	rs.LastPacketAt = r.LastPacketAt
}

// NotReady implements [web.Service]. A service is ready if it would record a session announced now
// in any of its projects, and can deliver the recording.
func (a *App) NotReady() []string {
	out := diskReasons(a.spool.Disk(), a.spool.Dir())
	out = append(out, clockReasons(a.snapshotProjects())...)
	for _, p := range a.snapshotProjects() {
		switch {
		case p.broken != "":
			out = append(out, fmt.Sprintf("project %d: %s", p.Config.Index, p.broken))
		case p.ctl != nil:
			snap := p.ctl.Snapshot()
			out = append(out, projectReasons(p.Config.Index, p.Registry.Platform(), snap)...)
			out = append(out, missedReasons(p.Config.Index, snap)...)
			out = append(out, awayReasons(p.Config.Index, snap.Recorders, time.Now())...)
			out = append(out, unrecordedReasons(p.Config.Index, snap.Unrecorded)...)
		}
	}
	out = append(out, unusable(a.snapshotProjects())...)
	out = append(out, undelivered(a.snapshotProjects(), a.dispatcher.Snapshot())...)
	out = append(out, abandoned(a.snapshotProjects(), a.spool.Recordings())...)
	return append(out, a.notifier.NotReady()...)
}

// projectReasons states why announcements of a project do not reach the service.
func projectReasons(index int, platform string, snap controller.Snapshot) []string {
	if snap.State != controller.StateRunning {
		return []string{fmt.Sprintf("project %d is %s: %s", index, snap.State,
			cmp.Or(snap.Error, platform+" has not answered yet"))}
	}
	var out []string
	for _, src := range snap.Sources {
		if !src.Connected {
			out = append(out, fmt.Sprintf("project %d: %s: %s", index, silence(src.Name, platform),
				cmp.Or(src.LastError, "the first attempt has not ended yet")))
		}
	}
	return out
}

// silence says what is missing while a source is not connected.
func silence(source, platform string) string {
	switch source {
	case rabbitmq.SourceName:
		return "no connection to the broker"
	case poll.SourceName:
		return "the rooms of " + platform + " cannot be listed"
	}
	return "announcements by " + source + " are not received"
}

// clockReasons compare this machine's clock with those of the platforms, as far as known.
func clockReasons(projects []managedProject) []string {
	var out []string
	for _, p := range projects {
		if p.Registry == nil {
			continue
		}
		offset, known := p.Registry.ClockOffset()
		if !known {
			continue
		}
		trouble := project.ClockProblem(p.Registry.Platform(), offset)
		if trouble != "" && !slices.Contains(out, trouble) {
			out = append(out, trouble)
		}
	}
	return out
}

// missedReasons describes announcements that did not reach the service, as far as is known.
func missedReasons(index int, snap controller.Snapshot) []string {
	var out []string
	for _, src := range snap.Sources {
		out = append(out, lostReasons(index, src, snap.ListError)...)
	}
	return out
}

// lostReasons describes announcements that one source did not receive, as far as is known.
func lostReasons(index int, src session.SourceState, listError string) []string {
	var out []string
	if at := src.Silent; !at.IsZero() {
		out = append(out, fmt.Sprintf("project %d: SyncFlow's exchange was missing at the broker "+
			"and was declared by this service at %s. "+
			"SyncFlow announces no session until its API has been restarted too; this ends when "+
			"it can announce again",
			index, at.UTC().Format(time.RFC3339)))
	}
	if listError == "" {
		return out // a search for the announcements is in progress
	}
	for _, g := range src.Missed {
		out = append(out, fmt.Sprintf("project %d: announcements between %s and %s may have been "+
			"lost, and the sessions that began then "+
			"cannot be looked for; `textegress record <session id>` records one: %s",
			index, g.From.UTC().Format(time.RFC3339), g.To.UTC().Format(time.RFC3339), listError))
	}
	return out
}

// mostAway bounds the sessions of a project named by [awayReasons] and by [unrecordedReasons].
const mostAway = 10

// awayReasons names the sessions that are not recorded although they should be, because their
// recorder has been trying to join for longer than usual.
func awayReasons(index int, recorders []recorder.Snapshot, now time.Time) []string {
	var out []string
	more := 0
	for _, r := range recorders {
		if r.AwaySince.IsZero() || now.Sub(r.AwaySince) < recorder.Patience {
			continue
		}
		if len(out) == mostAway {
			more++
			continue
		}
		what := "was announced and has not been joined"
		if r.Packets > 0 || r.Outages > 0 || r.Info.Part > 1 {
			what = "is not being recorded any more"
		}
		out = append(out, fmt.Sprintf("project %d: session %s, room %q, %s, since %s: %s",
			index, r.Info.SessionID, r.Info.RoomName, what, r.AwaySince.UTC().Format(time.RFC3339),
			r.JoinError))
	}
	if more > 0 {
		out = append(out, fmt.Sprintf("project %d: likewise %d more sessions", index, more))
	}
	return out
}

// unrecordedReasons names the sessions that run unrecorded because an administrator removed the
// recorder.
func unrecordedReasons(index int, sessions []controller.UnrecordedSession) []string {
	var out []string
	for i, u := range sessions {
		if i == mostAway {
			return append(out, fmt.Sprintf("project %d: likewise %d more sessions", index,
				len(sessions)-mostAway))
		}
		out = append(out, fmt.Sprintf("project %d: session %s, room %q, runs and is not being "+
			"recorded: an administrator removed the recorder at %s. "+
			"If that was a mistake: textegress record %s", index, u.SessionID, u.RoomName,
			u.Since.UTC().Format(time.RFC3339), u.SessionID))
	}
	return out
}

// diskReasons describes the problems of the disk for the operator.
func diskReasons(d spool.DiskStatus, dir string) []string {
	var out []string
	switch free := d.Free >> 20; {
	case d.Full:
		out = append(out, fmt.Sprintf("the disk is full: %d MiB free on the file system of "+
			"DATA_DIR %s; nothing is recorded until there is space: "+
			"free space outside of the data directory; recording resumes automatically", free, dir))
	case d.Low:
		out = append(out, fmt.Sprintf("the disk is nearly full: %d MiB free on the file system "+
			"of DATA_DIR %s, DISK_MIN_FREE is %d MiB; new sessions are not taken, "+
			"running recordings continue: free space outside of the data directory", free, dir,
			d.MinFree>>20))
	}
	for _, f := range d.FailedSyncs {
		out = append(out, fmt.Sprintf("the disk failed to make recording %s durable at %s; it "+
			"continues in a new segment and is marked suspect. "+
			"Look for errors of the disk (dmesg, smartctl) and keep the machine powered until "+
			"the recording is delivered; "+
			"this ends 10 minutes after the last such failure", f.EgressID,
			f.At.UTC().Format(time.RFC3339)))
	}
	return out
}

func diskStatus(d spool.DiskStatus) web.DiskStatus {
	s := web.DiskStatus{
		State: web.DiskOK, FreeBytes: d.Free, MinFreeBytes: d.MinFree,
		ReserveBytes: d.Ballast, Since: d.Since.UTC(),
	}
	switch {
	case d.Full:
		s.State = web.DiskFull
	case d.Low:
		s.State = web.DiskLow
	}
	if d.Since.IsZero() {
		s.Since = time.Time{}
	}
	return s
}

// Record implements [web.Service].
func (a *App) Record(ctx context.Context, sessionID, projectID string) (string, error) {
	var errs []error
	for _, p := range a.snapshotProjects() {
		if p.ctl == nil || projectID != "" && p.Config.ProjectID != projectID {
			continue
		}
		id, err := p.ctl.Record(ctx, sessionID)
		if err == nil {
			return id, nil
		}
		if errors.Is(err, session.ErrUnknown) {
			err = fmt.Errorf("project %d does not know it: %w", p.Config.Index, err)
		}
		errs = append(errs, err)
	}
	if len(errs) == 0 {
		return "", fmt.Errorf("no running project of this service has the id %q", projectID)
	}
	return "", errors.Join(errs...)
}
