package clients

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/syncflow/textegress/test/stack"
)

func TestClients(t *testing.T) {
	have := available(t.Context()) // may install packages
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	complete := true
	for _, k := range sdks {
		if err := have.lacks(k.id); err != nil {
			complete = false
			t.Run(string(k.id), func(t *testing.T) { absent(t, err) })
		}
	}
	r := must(servers.StartRecorder(ctx, t.TempDir(), "PROJECTS__1__E2EE_KEY="+passphrase))(t)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 90*time.Second)
		defer cancel()
		check(t, r.Stop(ctx))
		if t.Failed() {
			t.Logf("the recorder's log:\n%s", r.LogTail(6000))
		}
	})

	var groups []*group
	p := servers.SyncFlow.Projects[0]
	for _, s := range settings {
		if s.members == nil {
			for _, k := range sdks {
				groups = append(groups, &group{setting: s.name, members: []sdkID{k.id}, project: p})
			}
			continue
		}
		groups = append(groups, &group{setting: s.name, members: s.members, project: p})
	}
	groups = append(groups,
		&group{
			setting: encrypted, members: encryptedMembers, project: servers.SyncFlow.Projects[1],
			passphrase: passphrase,
		},
		&group{
			setting: encryptedNoKey, members: encryptedMembers, project: p,
			passphrase: passphrase,
		})
	groups = slices.DeleteFunc(groups, func(g *group) bool {
		g.members = slices.DeleteFunc(slices.Clone(g.members),
			func(id sdkID) bool { return have.lacks(id) != nil })
		return len(g.members) == 0
	})
	d := sendAll(ctx, t, r, have, groups)

	found := newFindings()
	for _, g := range groups {
		t.Run(strings.ReplaceAll(g.name(), " ", "/"), func(t *testing.T) {
			if g.setting == encryptedNoKey {
				g.decrypt(t, r)
			}
			for _, j := range g.jobs {
				t.Run(string(j.sdk.id), func(t *testing.T) {
					g.judge(t, j, d.results[j.ID],
						found)
				})
			}
		})
	}
	t.Run("document", func(t *testing.T) {
		if !complete {
			t.Skip("docs/CLIENTS.md is compared only where every client runs; see those that " +
				"were skipped")
		}
		found.document(t)
	})
}

// clients are those that can run here.
type clients struct {
	npm, chromium, python       string
	noNPM, noChromium, noPython error
}

func available(ctx context.Context) (c clients) {
	c.npm, c.noNPM = npmRoot(ctx)
	c.chromium, c.noChromium = chromium()
	c.python, c.noPython = pythonRoot(ctx)
	return c
}

// lacks says what is missing for a client, and how it is installed.
func (c clients) lacks(id sdkID) error {
	switch id {
	case goSDK, server:
		return nil
	case node, agent:
		return c.noNPM
	case py12, py10:
		return c.noPython
	default:
		return errors.Join(c.noNPM, c.noChromium)
	}
}

// sendAll has everybody in every group send everything, and ends and reads the recordings.
func sendAll(ctx context.Context, t *testing.T, r *stack.Recorder, have clients,
	groups []*group,
) *desk {
	t.Helper()
	d := openDesk(t)
	d.groups = groups
	for _, g := range groups {
		g.session = must(servers.SyncFlow.CreateSession(ctx, g.project, g.name(),
			stack.DeviceGroup))(t)
	}
	check(t, r.Until(ctx, "the recorder is in all rooms", func(st stack.RecorderStatus) bool {
		n := 0
		for _, rec := range st.Recordings {
			for _, g := range groups {
				if rec.SessionID == g.session.ID && rec.Connected {
					n++
				}
			}
		}
		return n == len(groups)
	}))
	for _, g := range groups {
		for _, id := range g.members {
			j := g.job(ctx, t, id)
			g.jobs = append(g.jobs, j)
			d.put(j)
		}
	}
	var inNode, inBrowser []job
	inPython := map[sdkID][]job{}
	var wg sync.WaitGroup
	for _, g := range groups {
		for _, j := range g.jobs {
			switch j.sdk.id {
			case goSDK:
				dir := t.TempDir()
				wg.Go(func() {
					c, results := runGo(ctx, d, j, dir)
					if c != nil {
						t.Cleanup(c.room.Disconnect)
					}
					d.done(j.ID, results)
				})
			case server:
				heard := func() bool {
					w, err := readWire(r, g.session.ID, "")
					return err == nil && w.ends[probe]
				}
				wg.Go(func() { d.done(j.ID, runServer(ctx, j, g.session.LivekitRoomName, heard)) })
			case node, agent:
				inNode = append(inNode, j)
			case py12, py10:
				inPython[j.sdk.id] = append(inPython[j.sdk.id], j)
			default:
				inBrowser = append(inBrowser, j)
			}
		}
	}
	if len(inNode) > 0 {
		d.startNode(t, have.npm, inNode)
	}
	for version, jobs := range inPython {
		d.startPython(t, have.python, version, jobs)
	}
	if len(inBrowser) > 0 {
		d.openBrowser(t, have.chromium, have.npm, inBrowser)
	}
	wg.Wait()
	err := waitFor(ctx, func() string { return fmt.Sprintf("no results of %q", d.missing()) },
		func() bool { return len(d.missing()) == 0 })
	d.report(t)
	check(t, err)
	for _, g := range groups {
		g.end(ctx, t, r)
	}
	for _, g := range groups {
		g.read(ctx, t, r)
	}
	return d
}

// report fails the test for every method that an SDK has and that did not succeed, or that it has
// and the table does not know.
func (d *desk) report(t *testing.T) {
	t.Helper()
	d.mu.Lock()
	defer d.mu.Unlock()
	for id, results := range d.results {
		for method, result := range results {
			if strings.HasPrefix(result, "failed") {
				t.Errorf("%s, %s: %s", id, method, result)
			}
		}
	}
}
