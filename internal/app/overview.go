package app

import (
	"cmp"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/syncflow/textegress"
	"github.com/syncflow/textegress/internal/controller"
	"github.com/syncflow/textegress/internal/delivery"
	"github.com/syncflow/textegress/internal/overview"
	"github.com/syncflow/textegress/internal/recorder"
	"github.com/syncflow/textegress/internal/spool"
)

// overviewEvery is how often the overview is made, whoever asks for it.
const overviewEvery = time.Second

// overviewService implements [overview.Service].
type overviewService struct {
	*App

	mu   sync.Mutex // guards the fields below; held while the overview is made
	last overview.Overview

	timelines timelines
	manifests manifests
}

// Overview implements [overview.Service]. All callers within a second share one value, so that many
// open pages cost as much as one.
func (s *overviewService) Overview() overview.Overview {
	s.mu.Lock()
	defer s.mu.Unlock()
	if now := time.Now(); s.last.At.IsZero() || now.Sub(s.last.At) >= overviewEvery ||
		now.Before(s.last.At) {
		s.last = s.makeOverview(now)
	}
	return s.last
}

func (s *overviewService) makeOverview(now time.Time) overview.Overview {
	o := overview.Overview{
		At: now, StartedAt: s.started, Version: s.o.Version, Instance: s.instance,
		Health: []overview.Health{}, Sessions: []overview.Session{},
		Unrequested: []overview.SessionRef{}, Unrecorded: []overview.UnrecordedRef{},
		Projects: []overview.ProjectRef{},
	}
	o.Disk = s.overviewDisk(now)
	deliveries := s.dispatcher.Snapshot()
	projects := s.snapshotProjects()
	names := map[string]string{}
	live := map[string]bool{}
	snaps := make([]controller.Snapshot, len(projects))
	for i, p := range projects {
		if p.ctl == nil {
			continue
		}
		snap := p.ctl.Snapshot()
		snaps[i] = snap
		names[p.Config.ProjectID] = snap.ProjectName
		o.Projects = append(o.Projects, overview.ProjectRef{
			ID: p.Config.ProjectID, Name: snap.ProjectName, Platform: p.Registry.Platform(),
		})
		for _, r := range snap.Recorders {
			if rec, ok := s.spool.Recording(r.Info.EgressID); ok && rec.State() == spool.StateOpen {
				live[rec.ID()] = true
				session := s.liveSession(p, r, now)
				session.ProjectName = cmp.Or(snap.ProjectName, r.Info.ProjectName)
				o.Sessions = append(o.Sessions, session)
			}
		}
		ref := func(sessionID, room string) overview.SessionRef {
			return overview.SessionRef{
				SessionID: sessionID, Project: p.Config.ProjectID, ProjectName: snap.ProjectName,
				Room: room,
			}
		}
		for _, u := range snap.Unrequested {
			o.Unrequested = append(o.Unrequested, ref(u.SessionID, u.RoomName))
		}
		for _, u := range snap.Unrecorded {
			o.Unrecorded = append(o.Unrecorded, overview.UnrecordedRef{
				SessionRef: ref(u.SessionID, u.RoomName), Since: u.Since,
				Reason: "an administrator removed the recorder; it is not recorded until " +
					"somebody requests it",
			})
		}
	}
	for _, rec := range s.spool.Select(undeliveredOf) {
		if !live[rec.ID()] {
			session := s.storedSession(rec)
			session.ProjectName = cmp.Or(names[session.Project], session.ProjectName)
			s.fillDelivery(&session, rec, deliveries)
			o.Sessions = append(o.Sessions, session)
		}
	}
	sortSessions(o.Sessions)
	o.Health = s.health(projects, snaps, deliveries, o.Disk)
	o.Verdict = overview.Judge(o)
	return o
}

// undeliveredOf selects the recordings that are not delivered yet.
func undeliveredOf(rec *spool.Recording) bool {
	switch rec.State() {
	case spool.StateOpen, spool.StateSealed, spool.StateExported:
		return true
	}
	return false
}

// sortSessions puts the worst ones first, then those being recorded, oldest first.
func sortSessions(list []overview.Session) {
	order := map[overview.Level]int{overview.Bad: 0, overview.Warn: 1}
	rank := func(s overview.Session) int {
		if n, ok := order[s.Level]; ok {
			return n
		}
		return 2
	}
	delivering := func(s overview.Session) int {
		if s.State == overview.StateDelivering {
			return 1
		}
		return 0
	}
	slices.SortStableFunc(list, func(a, b overview.Session) int {
		return cmp.Or(cmp.Compare(rank(a), rank(b)), cmp.Compare(delivering(a), delivering(b)),
			a.Since.Compare(b.Since), strings.Compare(a.EgressID, b.EgressID))
	})
}

// storedSession describes a recording by its state files, without disk access.
func (a *App) storedSession(rec *spool.Recording) overview.Session {
	i := rec.Info()
	s := overview.Session{
		EgressID: i.EgressID, SessionID: i.SessionID, Project: i.ProjectID,
		ProjectName: i.ProjectName, Room: i.RoomName, Part: i.Part,
		Since: time.Unix(0, i.CreatedUnixNS), Level: overview.OK,
		Status: string(textegress.StatusStarting), State: overview.StateStarting,
		Pseudonyms: i.Pseudonyms, TextAllowed: a.textAllowed(i.ProjectID),
	}
	sealed, ok := rec.Sealed()
	if !ok {
		return s
	}
	s.Status, s.State = string(sealed.Status), overview.StateDelivering
	s.EndedAt = time.Unix(0, sealed.EndedUnixNS)
	switch rec.State() {
	case spool.StateUploaded, spool.StateRemoved:
		s.State = overview.StateDelivered
	}
	if sealed.Status == textegress.StatusFailed || sealed.Status == textegress.StatusAborted {
		s.Level = overview.Warn
		s.Reason = sealed.Reason
	}
	return s
}

// textAllowed reports whether LIVE_TEXT of a project is set.
func (a *App) textAllowed(projectID string) bool {
	for _, p := range a.snapshotProjects() {
		if p.Config.ProjectID == projectID {
			return p.Config.LiveText
		}
	}
	return false
}

// fillDelivery adds how far the delivery is.
func (s *overviewService) fillDelivery(to *overview.Session, rec *spool.Recording,
	deliveries delivery.Snapshot,
) {
	if to.State != overview.StateDelivering {
		return
	}
	p := deliveries.Progress[rec.ID()]
	to.Delivered, to.Total = p.Done, p.Total
	if text := deliveries.Errors[rec.ID()]; text != "" {
		to.Level, to.Reason = overview.Warn, text
		for _, f := range deliveries.Projects[to.Project].Failing {
			if f.EgressID == rec.ID() || f.Error == text {
				to.Level = overview.Bad
			}
		}
	}
}

// liveSession describes a session that has a recorder.
func (s *overviewService) liveSession(p managedProject, r recorder.Snapshot, now time.Time,
) overview.Session {
	i := r.Info
	to := overview.Session{
		EgressID: i.EgressID, SessionID: i.SessionID, Project: i.ProjectID, Room: i.RoomName,
		Status: string(r.Status), Part: i.Part, Since: time.Unix(0, i.CreatedUnixNS),
		Messages: r.Messages, Outages: r.Outages,
		PerSecond:   perSecond(r.Recent[:], time.Unix(0, i.CreatedUnixNS), now),
		DurableUpTo: r.DurableUpTo, LastMessageAt: r.LastPacketAt, Level: overview.OK,
		TextAllowed: p.Config.LiveText, Pseudonyms: i.Pseudonyms, Count: r.Participants,
		Unlisted: r.MorePeople,
	}
	if to.DurableUpTo.IsZero() {
		to.DurableUpTo = now
	}
	away := !r.AwaySince.IsZero()
	switch {
	case r.Status == textegress.StatusEnding:
		to.State = overview.StateEnding
	case r.Connected:
		to.State = overview.StateRecording
	case r.Status == textegress.StatusActive || r.EverJoined && r.Outages > 0:
		to.State, to.Level, to.Reason = overview.StateCutOff, overview.Bad, r.JoinError
		to.CutOffSince = r.AwaySince
	default:
		to.State = overview.StateStarting
		if away && now.Sub(r.AwaySince) >= recorder.Patience {
			to.Level, to.Reason = overview.Bad, r.JoinError
		}
	}
	if r.Suspect {
		to.Level = to.Level.Worse(overview.Warn)
		to.Reason = cmp.Or(to.Reason, "the disk failed to make a part of it durable")
	}
	s.fillPeople(&to, p, r, now)
	return to
}

// perSecond returns the mean rate of the last minute, or since the start of the recording, from
// counts of intervals of 10 s, the last of which has not ended.
func perSecond(recent []uint32, since, now time.Time) float64 {
	const intervals, length = 6, 10 * time.Second
	if len(recent) < intervals {
		return 0
	}
	sum := 0.0
	for _, n := range recent[len(recent)-intervals:] {
		sum += float64(n)
	}
	began := time.Duration(now.UnixNano()) % length
	lasted := min((intervals-1)*length+began, now.Sub(since))
	return sum / max(lasted, time.Second).Seconds()
}
