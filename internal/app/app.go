// Package app composes the service from its parts.
package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"github.com/syncflow/textegress/internal/api"
	"github.com/syncflow/textegress/internal/config"
	"github.com/syncflow/textegress/internal/controller"
	"github.com/syncflow/textegress/internal/delivery"
	"github.com/syncflow/textegress/internal/diskguard"
	"github.com/syncflow/textegress/internal/erasure"
	"github.com/syncflow/textegress/internal/follow"
	"github.com/syncflow/textegress/internal/notify"
	"github.com/syncflow/textegress/internal/project"
	"github.com/syncflow/textegress/internal/pseudonym"
	"github.com/syncflow/textegress/internal/recorder"
	"github.com/syncflow/textegress/internal/room"
	"github.com/syncflow/textegress/internal/session"
	"github.com/syncflow/textegress/internal/source/rabbitmq"
	"github.com/syncflow/textegress/internal/source/webhook"
	"github.com/syncflow/textegress/internal/spool"
	"github.com/syncflow/textegress/internal/syncflow"
	"github.com/syncflow/textegress/internal/web"
	"github.com/syncflow/textegress/internal/web/access"
	"github.com/syncflow/textegress/internal/web/page"
	"github.com/syncflow/textegress/internal/web/rest"
)

// Options configure the service.
type Options struct {
	Config  *config.Config
	Logger  *slog.Logger
	Version string

	// Load reads the settings again, for [App.Reload]; nil: the settings cannot be reloaded.
	Load func() (*config.Config, error)
	// LogLevel is the level of Logger; nil: a reload cannot change it.
	LogLevel *slog.LevelVar

	// Room replaces the LiveKit client and Source the listener at the broker, for tests.
	Room   recorder.Room
	Source func(rabbitmq.Options) session.Source
}

// App is the whole service. One process can run several, each on its own data directory. Create it
// with [New], then call [App.Run] once, or [App.Close].
type App struct {
	o          Options
	log        *slog.Logger
	started    time.Time
	instance   string
	spool      *spool.Spool
	dispatcher *delivery.Dispatcher

	eraser   *erasure.Eraser
	notifier *notify.Notifier

	pseudonyms *pseudonym.Store
	packets    packetCounts // for the API
	follows    *follow.Hub
	overview   *overviewService

	diskMu   sync.Mutex // guards diskRate
	diskRate diskRate

	registry *prometheus.Registry // every metric of the service
	web      *web.Server
	doors    *access.Doors
	// of the HTTP server; nil: it does not use TLS
	certificates *access.Certificates

	shared shared

	listening chan struct{} // closed when addr is set
	addr      string        // of the HTTP server

	cleanups []cleanup // run in reverse order by stop, or by New when it fails

	reloading  sync.Mutex // held during a reload
	rehearsing sync.Mutex // held during a rehearsal

	mu         sync.RWMutex // guards the fields up to the next blank line; never held over I/O
	config     *config.Config
	projects   []*managedProject
	intake     context.Context // of the controllers; nil before start and when stopping
	lastReload *web.ReloadStatus

	stopIntake  context.CancelFunc // ends the controllers; set by start
	controllers sync.WaitGroup
	stopUploads context.CancelFunc
	uploads     sync.WaitGroup
}

type cleanup struct {
	name string
	do   func(context.Context) error
}

// managedProject is one project of the configuration, running or broken. App.mu guards it.
type managedProject struct {
	project.Project

	initial *config.Config         // the settings that it was set up with
	ctl     *controller.Controller // nil: broken
	broken  string                 // the problem of its configuration
	roster  rosterState
}

// New opens the data directory, which recovers its recordings, and creates the parts of the
// service. Listening, recording and delivery start with [App.Run].
func New(o Options) (_ *App, err error) {
	a := &App{
		o: o, log: o.Logger, started: time.Now(), config: o.Config,
		listening: make(chan struct{}),
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, a.cleanUp(context.Background()))
		}
	}()
	reg := prometheus.NewRegistry()
	a.registry = reg
	reg.MustRegister(collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))

	// The parts are created from the disk outwards; cleanups run in the reverse order.
	c := o.Config
	a.spool, err = spool.Open(c.DataDir, spool.Options{
		SyncInterval: c.SyncInterval, SegmentSize: c.SegmentSize, SegmentAge: c.SegmentAge,
		DiskMinFree: c.DiskMinFree,
		Logger:      o.Logger, Registerer: reg,
	})
	if err != nil {
		return nil, fmt.Errorf("open DATA_DIR: %w", err)
	}
	a.onCleanup("close the spool", func(context.Context) error { return a.spool.Close() })
	if a.instance = c.Instance; a.instance == "" {
		if a.instance, err = a.spool.Instance(); err != nil {
			return nil, fmt.Errorf("name this instance: %w", err)
		}
	}
	a.shared = shared{
		project: project.Options{
			Instance: a.instance, DataDir: a.spool.Dir(), Gate: new(syncflow.Gate),
			NewSource: o.Source, Webhooks: webhook.NewEndpoint(a.log), Logger: a.log,
			SyncFlowMetrics: syncflow.NewMetrics(reg), RabbitMQMetrics: rabbitmq.NewMetrics(reg),
		},
		room: o.Room, controller: controller.NewMetrics(reg), recorder: recorder.NewMetrics(reg),
	}
	if a.shared.room == nil {
		client, err := room.NewClient(room.Options{Logger: o.Logger, RelayOnly: c.RelayOnly})
		if err != nil {
			return nil, fmt.Errorf("set up WebRTC: %w", err)
		}
		a.shared.room = &throttledRoom{client: client, slots: make(chan struct{}, maxJoins)}
	}
	a.pseudonyms = pseudonym.Open(c.DataDir)
	a.setUpProjects()
	reg.MustRegister(newRosterMetrics(a))
	a.dispatcher = delivery.New(delivery.Options{
		Spool:     a.spool,
		Projects:  liveProjects{a},
		Retention: c.Retention, Logger: o.Logger,
		Registerer: reg,
		Hold:       func(rec *spool.Recording) bool { return a.notifier.Holds(rec) },
		HoldData:   func(rec *spool.Recording) bool { return a.notifier.HoldsData(rec) },
		Delivered:  a.wakeNotifier,
	})
	a.eraser = erasure.New(erasure.Options{
		Spool: a.spool, Projects: liveProjects{a}, Dispatcher: a.dispatcher,
		ForgetPseudonym: a.pseudonyms.Erase, KeepFree: diskguard.Reserved(c.DiskMinFree),
		Logger: o.Logger,
	})
	a.follows = follow.New(follow.Options{
		Spool: a.spool, Decode: follow.Decode(liveProjects{a}), Logger: o.Logger,
	})
	a.onCleanup("stop following", func(context.Context) error { return a.follows.Close() })
	a.notifier = notify.New(notify.Options{
		Spool: a.spool, Lines: pushLines{a.follows}, Projects: a.subscriptions,
		AllowPrivate: c.WebhookAllowPrivate, Hosts: c.WebhookHosts, Logger: o.Logger,
		Registerer: reg, Settled: a.dispatcher.Wake,
	})
	a.overview = &overviewService{App: a}
	a.setUpDoors(c)
	options := web.Options{
		Service: a, Gatherer: a.registry, Logger: o.Logger, Doors: a.doors,
		PageHost: pageHost(c.HTTP),
		Page:     page.New(page.Options{Service: a.overview, Logger: o.Logger}),
		API:      rest.New(rest.Options{Service: a.overview, Logger: o.Logger}),
		Routes: map[string]http.Handler{
			"POST /livekit/webhook": a.shared.project.Webhooks,
			"/twirp/": api.New(api.Options{
				Service: apiService{a}, Projects: a.apiProjects, Logger: o.Logger,
			}),
		},
	}
	if a.certificates != nil {
		options.TLS = a.certificates.Config()
	}
	a.web = web.New(options)
	return a, nil
}

// listen opens the HTTP port and the control socket and serves requests on them.
func (a *App) listen() error {
	c := a.o.Config
	l, err := net.Listen("tcp", c.HTTPAddr)
	if err != nil {
		return fmt.Errorf("HTTP_ADDR: %w", err)
	}
	a.serve("HTTP", a.web.HTTP(l, c.HTTPAddr))
	control, err := web.ListenControl(c.DataDir)
	if err != nil {
		return fmt.Errorf("control socket: %w", err)
	}
	a.serve("control", a.web.Control(control))
	if reason := a.doors.ClosedReason(); reason != "" {
		a.log.Warn("page, API and status are closed", "reason", reason)
	}
	a.addr = l.Addr().String()
	close(a.listening)
	return nil
}

// maxJoins bounds how many rooms are joined at the same time. A join is short; the bound prevents
// hundreds of handshakes after a restart of LiveKit from starving each other until all time out.
const maxJoins = 24

// throttledRoom adapts the LiveKit client to [recorder.Room] and bounds concurrent joins.
type throttledRoom struct {
	client *room.Client
	slots  chan struct{}
}

// Join implements [recorder.Room].
func (l *throttledRoom) Join(ctx context.Context, o room.JoinOptions) (recorder.Conn, error) {
	select {
	case l.slots <- struct{}{}:
		defer func() { <-l.slots }()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	conn, err := l.client.Join(ctx, o)
	if err != nil {
		return nil, err
	}
	return conn, nil
}

func (a *App) onCleanup(name string, do func(context.Context) error) {
	a.cleanups = append(a.cleanups, cleanup{name, do})
}

func (a *App) cleanUp(ctx context.Context) error {
	var errs []error
	for _, c := range slices.Backward(a.cleanups) {
		if err := c.do(ctx); err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", c.name, err))
		}
	}
	a.cleanups = nil
	return errors.Join(errs...)
}

// serve serves requests until the cleanup.
func (a *App) serve(name string, e *web.Endpoint) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := e.Run(); err != nil {
			a.log.Error("server ended", "server", name, "error", err)
		}
	}()
	a.onCleanup("stop "+name, func(ctx context.Context) error {
		ctx, cancel := context.WithTimeout(ctx, time.Second)
		defer cancel()
		err := e.Close(ctx)
		<-done
		return err
	})
}

// Addr waits until the HTTP server listens, and returns its address, useful with port 0.
func (a *App) Addr() string {
	<-a.listening
	return a.addr
}

// start starts recording and delivery.
func (a *App) start(ctx context.Context) {
	ctx = context.WithoutCancel(ctx)
	uctx, stop := context.WithCancel(ctx)
	a.stopUploads = stop
	a.uploads.Go(func() {
		if err := a.dispatcher.Run(uctx); err != nil && uctx.Err() == nil {
			a.log.Error("delivery ended", "error", err)
		}
	})
	a.uploads.Go(func() { a.settle(uctx) })
	a.uploads.Go(func() {
		if err := a.notifier.Run(uctx); err != nil && uctx.Err() == nil {
			a.log.Error("webhooks ended", "error", err)
		}
	})
	cctx, stop := context.WithCancel(ctx)
	a.stopIntake = stop
	a.mu.Lock()
	a.intake = cctx
	for _, p := range a.projects {
		a.run(p)
	}
	a.mu.Unlock()
	a.log.Info("textegress is running", "version", a.o.Version, "instance", a.instance, "http",
		a.addr,
		"data_dir", a.spool.Dir(), "projects", len(a.o.Config.Projects))
	for _, p := range a.snapshotProjects() {
		a.logServer(p)
	}
}

// Close releases the data directory of an App that is not running.
func (a *App) Close() error { return a.cleanUp(context.Background()) }

// stop ends the service in order: it accepts no more sessions, leaves the rooms, seals the
// recordings, and delivers sealed recordings until ctx ends. Undelivered recordings stay on disk
// for the next start.
func (a *App) stop(ctx context.Context) error {
	a.reloading.Lock() // wait for a reload in progress
	a.mu.Lock()
	a.intake = nil // a later reload starts no more projects
	a.mu.Unlock()
	a.reloading.Unlock()
	a.stopIntake()
	sealed := make(chan struct{})
	go func() { a.controllers.Wait(); close(sealed) }()
	select {
	case <-sealed:
		if err := a.dispatcher.Drain(ctx); err != nil {
			a.log.Warn("not everything could be delivered; the next start continues with it",
				"error", err)
		}
	case <-ctx.Done():
		a.log.Warn("not every recording could be sealed in time; the next start resumes them")
	}
	a.stopUploads()
	a.uploads.Wait()
	return a.cleanUp(context.WithoutCancel(ctx))
}

// Run listens, records and delivers until ctx ends, and then stops within the configured time. It
// returns nil after an orderly stop.
func (a *App) Run(ctx context.Context) error {
	if err := a.listen(); err != nil {
		return errors.Join(err, a.cleanUp(context.WithoutCancel(ctx)))
	}
	a.start(ctx)
	<-ctx.Done()
	a.mu.RLock()
	within := a.config.ShutdownTimeout
	a.mu.RUnlock()
	a.log.Info("stopping", "within", within)
	sctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), within)
	defer cancel()
	if err := a.stop(sctx); err != nil {
		return fmt.Errorf("stop: %w", err)
	}
	a.log.Info("stopped")
	return nil
}
