package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/syncflow/textegress/internal/spool"
	"github.com/syncflow/textegress/internal/status"
	"github.com/syncflow/textegress/internal/web"
)

type listCmd struct {
	dataDirFlag

	JSON bool `name:"json" help:"Print JSON: service_running and recordings, with the keys of status.json."`
}

type listAnswer struct {
	ServiceRunning bool                  `json:"service_running"`
	Recordings     []web.RecordingStatus `json:"recordings"`
}

func (c *listCmd) Run(env *environment) error {
	dir, err := c.dataDir(env)
	if err != nil {
		return err
	}
	answer, err := listRecordings(env.ctx, dir)
	if err != nil {
		return err
	}
	if c.JSON {
		return printJSON(env.stdout, answer)
	}
	rows := [][]string{{
		"EGRESS ID", "STARTED", "ROOM", "SESSION", "PART", "STATUS", "LOCAL DATA",
		"PACKETS", "NOTE",
	}}
	for _, r := range answer.Recordings {
		rows = append(rows, []string{
			r.EgressID, r.StartedAt.UTC().Format(time.DateTime), r.RoomName, r.SessionID,
			strconv.Itoa(r.Part), r.Status, r.State,
			packetCount(r, answer.ServiceRunning), note(r, answer.ServiceRunning),
		})
	}
	if err := printTable(env.stdout, rows); err != nil {
		return err
	}
	if !answer.ServiceRunning {
		fmt.Fprintf(env.stderr, "No service is running on %s.\n", escape(dir))
	}
	return nil
}

// listRecordings returns the service's status, which has more details (connections, received
// packets). If no service is running, it reads the files.
func listRecordings(ctx context.Context, dir string) (listAnswer, error) {
	running, err := web.Dial(dir).Status(ctx)
	if err == nil {
		return listAnswer{ServiceRunning: true, Recordings: running.Recordings}, nil
	}
	if !errors.Is(err, web.ErrNotRunning) {
		return listAnswer{}, err
	}
	s, err := spool.OpenReadOnly(dir)
	if err != nil {
		return listAnswer{}, fmt.Errorf("open the data directory: %w", err)
	}
	defer func() { _ = s.Close() }()
	answer := listAnswer{Recordings: []web.RecordingStatus{}}
	for _, r := range s.Recordings() {
		answer.Recordings = append(answer.Recordings, status.Stored(r))
	}
	return answer, nil
}

// packetCount returns the packet count, which is known only for recordings that the running service
// is making.
func packetCount(r web.RecordingStatus, running bool) string {
	if !running || r.State != string(spool.StateOpen) {
		return "-"
	}
	return strconv.FormatUint(r.Packets, 10)
}

// note returns remarks for the operator, the most important first.
func note(r web.RecordingStatus, running bool) string {
	text := state(r, running)
	if !r.Suspect {
		return text
	}
	return strings.TrimSuffix("suspect: the disk failed to make part of it durable; "+text, "; ")
}

func state(r web.RecordingStatus, running bool) string {
	switch {
	case r.UploadError != "":
		return "delivery: " + r.UploadError
	case r.State == string(spool.StateOpen) && !running:
		return "continues at the next start"
	case r.State == string(spool.StateOpen) && !r.Connected:
		return "not in the room"
	default:
		return r.Reason
	}
}
