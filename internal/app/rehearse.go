package app

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/syncflow/textegress/internal/config"
	"github.com/syncflow/textegress/internal/controller"
	"github.com/syncflow/textegress/internal/filter"
	"github.com/syncflow/textegress/internal/livekit"
	"github.com/syncflow/textegress/internal/overview"
	"github.com/syncflow/textegress/internal/project"
	"github.com/syncflow/textegress/internal/rehearsal"
	"github.com/syncflow/textegress/internal/room"
	"github.com/syncflow/textegress/internal/spool"
	"github.com/syncflow/textegress/internal/web"
)

// Rehearse implements [web.Service].
func (a *App) Rehearse(ctx context.Context, projectID string, report func(web.RehearsalStep),
) error {
	p, err := a.projectToRehearse(projectID)
	if err != nil {
		return err
	}
	if !a.rehearsing.TryLock() {
		return errors.New("another rehearsal is running; wait until it has ended")
	}
	defer a.rehearsing.Unlock()
	rules, err := filter.New(p.Rules)
	if err != nil {
		return fmt.Errorf("project %d: %w", p.Config.Index, err)
	}
	o := rehearsal.Options{
		Spool: a.spool, Bucket: p.Bucket, Filter: rules,
		Report: func(s rehearsal.Step) {
			report(web.RehearsalStep{
				Name: s.Name, Result: string(s.Result), Detail: s.Detail,
				TookMS: float64(s.Took.Microseconds()) / 1000,
			})
		},
		Sealed: a.recordingChanged, Hold: a.notifier.Holds,
		UploadError: func(id string) string { return a.dispatcher.Snapshot().Errors[id] },
	}
	if p.Config.Platform() == config.LiveKitServer {
		if o.Room, err = a.rehearsalRoom(p); err != nil {
			return err
		}
		return rehearsal.Run(ctx, o)
	}
	snap := p.ctl.Snapshot()
	if snap.State != controller.StateRunning {
		return fmt.Errorf("project %d is %s: %s", p.Config.Index, snap.State,
			cmp.Or(snap.Error, p.Registry.Platform()+" has not answered yet"))
	}
	o.NoRoom = "SyncFlow answers, but issues join tokens for its sessions only, so no room was " +
		"joined: a short session of your own tries that"
	o.Info = spool.Info{
		ProjectID: p.Config.ProjectID, ProjectName: snap.ProjectName, Instance: a.instance,
		Source: "rehearsal", AnnouncedUnixNS: time.Now().UnixNano(),
		Pseudonyms: p.Config.Pseudonyms, PseudonymKey: a.pseudonymKey(p.Config),
	}
	o.KeyPrefix = p.ctl.Prefix
	return rehearsal.Run(ctx, o)
}

// projectToRehearse returns the project with the given id, or the only one if the id is empty.
func (a *App) projectToRehearse(id string) (managedProject, error) {
	var running []managedProject
	for _, p := range a.snapshotProjects() {
		if id != "" && p.Config.ProjectID != id {
			continue
		}
		switch {
		case p.broken != "":
			if id != "" {
				return managedProject{}, fmt.Errorf("project %d: %s", p.Config.Index, p.broken)
			}
		case p.BucketError != nil:
			return managedProject{}, fmt.Errorf("project %d: nothing can be delivered: %w",
				p.Config.Index, p.BucketError)
		case p.ctl != nil:
			running = append(running, p)
		}
	}
	switch len(running) {
	case 1:
		return running[0], nil
	case 0:
		return managedProject{}, fmt.Errorf("no running project of this service has the id %q", id)
	}
	return managedProject{}, errors.New("several projects are running; name one of them by its id")
}

// rehearsalRoom opens rooms on the LiveKit server of a project.
type rehearsalRoom struct {
	ctl    *controller.Controller
	url    string
	key    livekit.Key
	rooms  *livekit.Rooms
	client *room.Client
}

func (a *App) rehearsalRoom(p managedProject) (*rehearsalRoom, error) {
	key, _ := project.LiveKitKey(p.Config)
	rooms, err := livekit.NewRooms(p.Config.LiveKit.URL, key)
	if err != nil {
		return nil, err
	}
	client, err := room.NewClient(room.Options{
		Logger: a.log, RelayOnly: a.o.Config.RelayOnly,
	})
	if err != nil {
		return nil, err
	}
	return &rehearsalRoom{
		ctl: p.ctl, url: p.Config.LiveKit.URL, key: key, rooms: rooms, client: client,
	}, nil
}

// Create implements [rehearsal.Room]. The room closes by itself when it is empty.
func (r *rehearsalRoom) Create(ctx context.Context, name string) error {
	return r.rooms.Create(ctx, name, time.Minute)
}

// Delete implements [rehearsal.Room].
func (r *rehearsalRoom) Delete(ctx context.Context, name string) error {
	return r.rooms.Delete(ctx, name)
}

// Record implements [rehearsal.Room].
func (r *rehearsalRoom) Record(ctx context.Context, name string) (string, error) {
	return r.ctl.Start(ctx, controller.StartOptions{Room: name})
}

// Connected implements [rehearsal.Room].
func (r *rehearsalRoom) Connected(egressID string) (ok bool, reason string) {
	for _, s := range r.ctl.Snapshot().Recorders {
		if s.Info.EgressID == egressID {
			return s.Connected, s.JoinError
		}
	}
	return false, "its recorder has ended"
}

// Join implements [rehearsal.Room].
func (r *rehearsalRoom) Join(ctx context.Context, name string) (rehearsal.Sender, error) {
	token, err := r.key.SenderToken(name, rehearsal.Identity)
	if err != nil {
		return nil, err
	}
	conn, err := r.client.Join(ctx, room.JoinOptions{URL: r.url, Token: token, Handler: nobody{}})
	if err != nil {
		return nil, err
	}
	return conn, nil
}

// nobody is a handler that discards everything.
type nobody struct{}

func (nobody) Joined(room.Info) error                 { return nil }
func (nobody) Packet(room.Channel, time.Time, []byte) {}
func (nobody) Event(room.Event)                       {}

// Rehearse implements [overview.Service].
func (s *overviewService) Rehearse(ctx context.Context, projectID string) (
	[]overview.RehearsalStep, error,
) {
	var steps []overview.RehearsalStep
	err := s.App.Rehearse(ctx, projectID, func(step web.RehearsalStep) {
		steps = append(steps, overview.RehearsalStep{
			Name: step.Name, Result: step.Result, Detail: step.Detail,
			Took: time.Duration(step.TookMS * float64(time.Millisecond)),
		})
	})
	return steps, err
}
