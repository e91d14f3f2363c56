package project

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/syncflow/textegress/internal/config"
	"github.com/syncflow/textegress/internal/session"
	"github.com/syncflow/textegress/internal/source/rabbitmq"
	"github.com/syncflow/textegress/internal/syncflow"
)

// syncFlow creates the registry and the source of a SyncFlow project.
func (p *Project) syncFlow(c *config.Config, o Options) error {
	api, err := SyncFlow(c, p.Config, o)
	if err != nil {
		return err
	}
	registry := syncflow.NewRegistry(api, c.DeviceGroup)
	broker := Broker(c, p.Config, o.Instance, registry)
	broker.Logger, broker.Metrics = o.Logger, o.RabbitMQMetrics
	broker.Memory = newMarks(o.DataDir, p.Config.ProjectID, c.DeviceGroup)
	newSource := o.NewSource
	if newSource == nil {
		newSource = func(o rabbitmq.Options) session.Source { return rabbitmq.New(o) }
	}
	p.Registry, p.Sources = registry, []session.Source{newSource(broker)}
	p.setKey = func(n config.Project) error { return api.SetKey(n.Key, n.Secret.Reveal()) }
	return nil
}

// SyncFlow returns a client of the SyncFlow API for a project.
func SyncFlow(c *config.Config, p config.Project, o Options) (*syncflow.Client, error) {
	return syncflow.New(syncflow.Options{
		BaseURL: c.ServerURL, Key: p.Key, Secret: p.Secret.Reveal(), ProjectID: p.ProjectID,
		Gate: o.Gate, Logger: o.Logger, Metrics: o.SyncFlowMetrics,
	})
}

// Broker describes a project's queue at the broker. The caller sets Logger, Metrics and Memory.
func Broker(c *config.Config, p config.Project, instance string,
	registry *syncflow.Registry,
) rabbitmq.Options {
	q := c.RabbitMQ
	return rabbitmq.Options{
		Host: q.Host, Port: q.Port, VHost: q.VHost, TLS: q.TLS, CAFile: q.CAFile,
		Username: q.Username, Password: q.Password.Reveal(),
		Group: c.DeviceGroup, ProjectID: p.ProjectID, Instance: instance,
		ProjectIndex: strconv.Itoa(p.Index),
		Token:        registry.ProjectToken,
		Binding: func(ctx context.Context) (rabbitmq.Binding, error) {
			d, err := registry.Device(ctx)
			if err != nil {
				return rabbitmq.Binding{}, err
			}
			return rabbitmq.Binding{Exchange: d.ExchangeName, RoutingKey: d.BindingKey}, nil
		},
		Announces: registry.Announces,
	}
}

// clockTolerance is the tolerated difference between two clocks.
const clockTolerance = 30 * time.Second

// ClockProblem describes the problem if the clock of a platform is ahead of this machine's by the
// given time, "" if the difference is tolerable. It does not determine which clock is wrong.
func ClockProblem(platform string, ahead time.Duration) string {
	if ahead.Abs() <= clockTolerance {
		return ""
	}
	what := "ahead of"
	if ahead > 0 {
		what = "behind"
	}
	return fmt.Sprintf("this machine's clock is %s %s that of %s: set both right (timedatectl, "+
		"NTP). Our times are in the recordings, and tokens are refused where the clocks differ "+
		"too much", ahead.Abs().Round(time.Second), what, platform)
}
