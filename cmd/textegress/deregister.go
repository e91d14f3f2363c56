package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/syncflow/textegress/internal/config"
	"github.com/syncflow/textegress/internal/project"
	"github.com/syncflow/textegress/internal/source/rabbitmq"
	"github.com/syncflow/textegress/internal/syncflow"
	"github.com/syncflow/textegress/internal/web"
)

type deregisterCmd struct {
	Force bool `help:"Also delete the last device of the group. SyncFlow then refuses to create sessions that name the group."`
}

// Run processes all projects, even if one fails.
func (c *deregisterCmd) Run(env *environment) error {
	cfg, err := env.loadConfig()
	if err != nil {
		return err
	}
	if _, err := web.Dial(cfg.DataDir).Status(env.ctx); !errors.Is(err, web.ErrNotRunning) {
		return fmt.Errorf("a service is running on %s and would register again; stop it first",
			cfg.DataDir)
	}
	instance, err := instanceOf(cfg)
	if err != nil {
		return err
	}
	var failed []error
	for _, p := range cfg.Projects {
		if p.Platform() == config.LiveKitServer {
			fmt.Fprintf(env.stdout, "project %d: a LiveKit server keeps nothing of this service, "+
				"except its address if you set it for webhooks\n", p.Index)
			continue
		}
		removed, err := deregisterProject(env.ctx, cfg, p, instance, c.Force)
		if err != nil {
			failed = append(failed, fmt.Errorf("project %d: %w", p.Index, err))
			continue
		}
		fmt.Fprintf(env.stdout, "project %d: %s\n", p.Index, escape(removed))
	}
	for _, broken := range cfg.Broken {
		failed = append(failed, fmt.Errorf("project %d: not deregistered because its settings "+
			"are invalid: %s", broken.Index, broken))
	}
	return errors.Join(failed...)
}

func deregisterProject(ctx context.Context, cfg *config.Config, p config.Project, instance string,
	force bool,
) (string, error) {
	api, err := project.SyncFlow(cfg, p, project.Options{})
	if err != nil {
		return "", err
	}
	broker := project.Broker(cfg, p, instance, syncflow.NewRegistry(api, cfg.DeviceGroup))
	return deregister(ctx, api, cfg.DeviceGroup, force,
		func(ctx context.Context) error { return rabbitmq.DeleteQueue(ctx, broker) })
}

// devices is the part of the SyncFlow API that deregister needs.
type devices interface {
	Devices(ctx context.Context) ([]syncflow.Device, error)
	DeleteDevice(ctx context.Context, id string) error
}

// deregister deletes the queue and this service's devices of a group, and reports what it did. It
// deletes the devices last, because classes cannot start without a device and a call that fails
// halfway must not cause that. The next call finds a queue that was left without a device.
func deregister(ctx context.Context, api devices, group string, force bool,
	deleteQueue func(context.Context) error,
) (string, error) {
	all, err := api.Devices(ctx)
	if err != nil {
		return "", err
	}
	var ours []string
	others := 0
	for _, d := range all {
		switch {
		case d.Group != group:
		case d.Name == syncflow.DeviceName:
			ours = append(ours, d.ID)
		default:
			others++
		}
	}
	if len(ours) > 0 && others == 0 && !force {
		return "", fmt.Errorf("this service's device is the last one of the group %q: without "+
			"it SyncFlow refuses to create sessions that name the group, and classes cannot "+
			"start; use --force to delete it anyway", group)
	}
	if err := deleteQueue(ctx); err != nil {
		return "", fmt.Errorf("delete the queue: %w", err)
	}
	for _, id := range ours {
		if err := api.DeleteDevice(ctx, id); err != nil && !errors.Is(err, syncflow.ErrNotFound) {
			return "", fmt.Errorf("the queue is deleted, the device is not: %w", err)
		}
	}
	done := []string{"queue deleted"}
	switch len(ours) {
	case 0:
		done = append(done, "no device was registered")
	case 1:
		done = append(done, "device deleted")
	default:
		done = append(done, fmt.Sprintf("%d devices deleted", len(ours)))
	}
	return strings.Join(done, ", "), nil
}
