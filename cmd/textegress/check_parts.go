package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/syncflow/textegress/internal/config"
	"github.com/syncflow/textegress/internal/durable"
	"github.com/syncflow/textegress/internal/project"
	"github.com/syncflow/textegress/internal/room"
	"github.com/syncflow/textegress/internal/session"
	"github.com/syncflow/textegress/internal/syncflow"
)

// wholeService is the project number of findings that concern all projects.
const wholeService = -1

// checkDataDir performs the file operations that recording needs in DATA_DIR: create, write, sync,
// rename and remove. It creates a missing directory, as the service does, and removes it again.
func checkDataDir(cfg *config.Config) checkResult {
	f := checkResult{Project: wholeService, Part: "data directory", Key: "DATA_DIR"}
	detail, err := tryDataDir(cfg.DataDir)
	if err != nil {
		f.Detail = err.Error()
		if errors.Is(err, fs.ErrPermission) {
			f.Detail += " (run this check as the user of the service; that user must own the " +
				"directory)"
		}
		return f
	}
	space, err := durable.OS{}.Space("check", existing(cfg.DataDir))
	switch {
	case err != nil:
		f.Detail = fmt.Sprintf("read the free space: %v", err)
	case space.Free < uint64(max(0, cfg.DiskMinFree)):
		f.Key = "DATA_DIR, DISK_MIN_FREE"
		f.Detail = fmt.Sprintf("%d MiB free on its file system, DISK_MIN_FREE is %d MiB: new "+
			"sessions would be refused", space.Free>>20, cfg.DiskMinFree>>20)
	default:
		f.OK, f.Key, f.Detail = true, "", fmt.Sprintf("%s, %d MiB free", detail, space.Free>>20)
	}
	return f
}

// existing returns the directory itself, or its nearest existing ancestor.
func existing(dir string) string {
	for {
		if _, err := os.Stat(dir); err == nil || filepath.Dir(dir) == dir {
			return dir
		}
		dir = filepath.Dir(dir)
	}
}

func tryDataDir(dir string) (detail string, err error) {
	detail = dir + ": written, synced, renamed, removed"
	if dir, err = filepath.Abs(dir); err != nil {
		return "", err
	}
	if top := existing(dir); top != dir {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return "", err
		}
		defer func() {
			// fails if the directory is in use by now
			for d := dir; d != top && os.Remove(d) == nil; d = filepath.Dir(d) {
			}
		}()
		detail += "; the first start creates the directory"
	}
	t, err := os.CreateTemp(dir, ".config-check-*")
	if err != nil {
		return "", err
	}
	name := t.Name()
	defer func() { err = errors.Join(err, os.Remove(name)) }()
	_, err = t.Write(make([]byte, 4096))
	if err := errors.Join(err, t.Sync(), t.Close()); err != nil {
		return "", err
	}
	if err := os.Rename(name, name+".renamed"); err != nil {
		return "", err
	}
	name += ".renamed"
	return detail, durable.OS{}.SyncDir("check", dir)
}

// checkClock compares this machine's clock with that of a platform, as far as its answers showed
// it.
func checkClock(p config.Project, r session.Registry) (checkResult, bool) {
	offset, known := r.ClockOffset()
	f := checkResult{
		Project: p.Index, Part: "clock", Detail: project.ClockProblem(r.Platform(), offset),
	}
	if f.OK = f.Detail == ""; f.OK {
		f.Detail = "within a few seconds of that of " + r.Platform()
	}
	return f, known
}

// checkDevice registers the device, as the service does. Sessions can then be created for the
// group; SyncFlow refuses to create them while the group has no device.
func checkDevice(ctx context.Context, cfg *config.Config, p config.Project,
	api *syncflow.Client,
) checkResult {
	f := checkResult{Project: p.Index, Part: "device"}
	d, err := api.EnsureDevice(ctx, syncflow.DeviceName, cfg.DeviceGroup)
	if err != nil {
		f.Detail, f.Key = err.Error(), "DEVICE_GROUP_NAME"
		return f
	}
	f.OK, f.Detail = true, fmt.Sprintf("%q is registered in group %q", d.Name, d.Group)
	return f
}

func skipped(p config.Project, part, why string) checkResult {
	return checkResult{
		Project: p.Index, Part: part, Skipped: true, Detail: "not tried: " + why,
	}
}

// checkProject tests the parts of a project that involve SyncFlow and LiveKit.
func checkProject(ctx context.Context, cfg *config.Config, p config.Project,
	report func(checkResult),
) {
	api, err := project.SyncFlow(cfg, p, project.Options{})
	if err != nil {
		report(checkResult{Project: p.Index, Part: "syncflow", Detail: err.Error()})
		return
	}
	var url string
	report(inTime(ctx, func(ctx context.Context) (f checkResult) {
		f,
			url = checkSyncFlow(ctx, p, api)
		return f
	}))
	if f, known := checkClock(p, syncflow.NewRegistry(api, cfg.DeviceGroup)); known {
		report(f)
	}
	if url == "" {
		report(skipped(p, "device", "SyncFlow did not return the project"))
		report(skipped(p, "livekit", "SyncFlow did not return its URL"))
		return
	}
	report(inTime(ctx, func(ctx context.Context) checkResult {
		return checkDevice(ctx, cfg, p,
			api)
	}))
	client, err := room.NewClient(room.Options{
		RelayOnly:   cfg.RelayOnly,
		JoinTimeout: partTimeout / 2,
	})
	if err != nil {
		report(checkResult{Project: p.Index, Part: "livekit", Detail: err.Error()})
		return
	}
	signalling := inTime(ctx,
		func(ctx context.Context) checkResult { return checkLiveKit(ctx, p, client, url) })
	report(signalling)
	switch {
	case p.LiveKit == nil:
	case !signalling.OK:
		report(skipped(p, "livekit room", "the previous step failed"))
	default:
		report(inTime(ctx, func(ctx context.Context) checkResult {
			return checkRoom(ctx, cfg, p, client,
				url)
		}))
	}
}
