package stack

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
)

// Options configures a stack. The zero value gives a whole stack with one project in a temporary
// directory.
type Options struct {
	// Dir is the directory for the state of all servers. Empty: a temporary directory that Stop
	// removes. A stack restarted in the same directory keeps its projects, sessions, queues and
	// objects, on other ports.
	Dir string
	// Projects is the number of SyncFlow projects of the tests' user; default 1. Each has a bucket.
	Projects int
	// TLS makes the recorder's configuration use RabbitMQ over TLS. The plain listener always
	// exists.
	TLS bool
	// Proxies starts a proxy in front of each server, for use by recorders; see Stack.Proxies.
	Proxies bool
	// NoRabbitMQ and NoS3 leave a server out. RabbitMQ takes most of the start time.
	NoRabbitMQ, NoS3 bool
	// NoSyncFlow leaves SyncFlow and its RabbitMQ out: recorders are configured for the LiveKit
	// server alone.
	NoSyncFlow bool
	// Nodes is the number of LiveKit nodes; default 1. Several share a Redis server; without one
	// installed, Start returns ErrNoRedis.
	Nodes int
	// Webhooks makes LiveKit send webhooks to a proxy; see Stack.Webhooks.
	Webhooks bool
	// Gate starts a proxy in front of LiveKit for recorders without SyncFlow; see Stack.Gate.
	Gate bool

	LiveKit LiveKitOptions
	// SyncFlow is the stand-in's limits. The zero value has those of the real API, which stalls
	// with four running sessions and stops responding with five. See [Crowd].
	SyncFlow SyncFlowLimits
	// RabbitMQConf is appended to rabbitmq.conf.
	RabbitMQConf []string
}

// Stack is a running set of servers.
type Stack struct {
	Dir      string
	LiveKit  *LiveKit   // the first of Nodes
	Nodes    []*LiveKit // all nodes
	Redis    *Redis     // nil with one node
	RabbitMQ *RabbitMQ  // nil with NoRabbitMQ or NoSyncFlow
	S3       *S3        // nil with NoS3
	SyncFlow *SyncFlow  // nil with NoSyncFlow
	Proxies  *Proxies   // nil without Options.Proxies
	Webhooks *Webhooks  // nil without Options.Webhooks
	Gate     *Gate      // nil without Options.Gate

	opt   Options
	ports *portBlock
	temp  bool
}

// Start starts a stack and waits until all servers are ready, about four seconds with RabbitMQ. It
// builds missing programs. If anything fails, nothing is left running.
func Start(ctx context.Context, o Options) (*Stack, error) {
	o.Projects, o.Nodes = orDefault(o.Projects, 1), orDefault(o.Nodes, 1)
	o.NoRabbitMQ = o.NoRabbitMQ || o.NoSyncFlow
	ports, err := takePortBlock()
	if err != nil {
		return nil, err
	}
	s := &Stack{Dir: o.Dir, opt: o, ports: ports}
	if s.Dir == "" {
		if s.Dir, err = os.MkdirTemp("", "textegress-stack-"); err != nil {
			ports.release()
			return nil, err
		}
		s.temp = true
	}
	if s.Dir, err = filepath.Abs(s.Dir); err == nil {
		err = s.start(ctx)
	}
	if err != nil {
		return nil, errors.Join(err, s.Stop(ctx))
	}
	return s, nil
}

func (s *Stack) start(ctx context.Context) error {
	apiPort, err := s.ports.tcp()
	if err != nil {
		return err
	}
	for _, d := range []string{"livekit", "rabbitmq", "s3", "syncflow"} {
		if err := os.MkdirAll(filepath.Join(s.Dir, d), 0o755); err != nil {
			return err
		}
	}
	if s.opt.Webhooks {
		if s.Webhooks, err = startWebhooks(s.ports); err != nil {
			return err
		}
		s.opt.LiveKit.Webhooks = append(s.opt.LiveKit.Webhooks, s.Webhooks.URL)
	}
	var wg sync.WaitGroup
	var errLK, errMQ, errS3 error
	wg.Go(func() { errLK = s.startNodes(ctx) })
	if !s.opt.NoRabbitMQ {
		wg.Go(func() {
			s.RabbitMQ, errMQ = startRabbitMQ(ctx, RabbitMQOptions{
				Dir: filepath.Join(s.Dir, "rabbitmq"), AuthURL: fmt.Sprintf("http://127.0.0.1:%d",
					apiPort), TLS: s.opt.TLS, ExtraConf: s.opt.RabbitMQConf,
			}, s.ports)
		})
	}
	if !s.opt.NoS3 {
		wg.Go(func() {
			s.S3, errS3 = startS3(ctx, S3Options{Dir: filepath.Join(s.Dir, "s3")},
				s.ports)
		})
	}
	wg.Wait()
	if err := errors.Join(errLK, errMQ, errS3); err != nil {
		return err
	}
	if s.opt.Gate {
		if s.Gate, err = startGate(s.LiveKit, s.ports); err != nil {
			return err
		}
	}
	if s.opt.Proxies {
		if err := s.startProxies(apiPort); err != nil {
			return err
		}
	}
	if s.opt.NoSyncFlow {
		if s.S3 == nil {
			return nil
		}
		return s.S3.CreateBucket(ctx, LiveKitBucket)
	}
	s.SyncFlow, err = startSyncFlow(ctx, filepath.Join(s.Dir, "syncflow"), apiPort, s.LiveKit,
		s.signalURL(), s.RabbitMQ, s.S3, s.opt)
	if err != nil || s.S3 == nil {
		return err
	}
	for _, p := range s.SyncFlow.Projects {
		if err := s.S3.CreateBucket(ctx, p.Bucket); err != nil {
			return err
		}
	}
	return nil
}

// startNodes starts the LiveKit nodes, each with its share of the UDP ports, and the Redis server
// that several of them need.
func (s *Stack) startNodes(ctx context.Context) (err error) {
	o := s.opt.LiveKit
	if s.opt.Nodes == 1 {
		s.LiveKit, err = startLiveKit(ctx, o, filepath.Join(s.Dir, "livekit"), s.ports)
		s.Nodes = []*LiveKit{s.LiveKit}
		return err
	}
	if s.Redis, err = startRedis(ctx, filepath.Join(s.Dir, "redis"), s.ports); err != nil {
		return err
	}
	o.Redis = s.Redis.Addr
	first, last := s.ports.udpRange()
	share := (last - first + 1) / s.opt.Nodes
	for i := range s.opt.Nodes {
		o.UDPRange = [2]int{first + i*share, first + (i+1)*share - 1}
		l, err := startLiveKit(ctx, o, filepath.Join(s.Dir, fmt.Sprintf("livekit-%d", i+1)),
			s.ports)
		if err != nil {
			return err
		}
		s.Nodes = append(s.Nodes, l)
	}
	s.LiveKit = s.Nodes[0]
	return nil
}

func (s *Stack) startProxies(apiPort int) (err error) {
	s.Proxies = &Proxies{}
	if !s.opt.NoSyncFlow {
		if s.Proxies.SyncFlow, err = startProxy("SyncFlow", fmt.Sprintf("127.0.0.1:%d", apiPort),
			s.ports); err != nil {
			return err
		}
	}
	if s.Proxies.LiveKit, err = startProxy("LiveKit", s.LiveKit.URL, s.ports); err != nil {
		return err
	}
	if s.RabbitMQ != nil {
		if s.Proxies.RabbitMQ, err = startProxy("RabbitMQ",
			fmt.Sprintf("127.0.0.1:%d", s.brokerPort()), s.ports); err != nil {
			return err
		}
	}
	if s.S3 != nil {
		s.Proxies.S3, err = startProxy("S3", s.S3.Endpoint, s.ports)
	}
	return err
}

// signalURL returns the LiveKit URL that SyncFlow gives to participants, or that a recorder without
// SyncFlow is configured with.
func (s *Stack) signalURL() string {
	if s.Gate != nil {
		return s.Gate.URL
	}
	if s.Proxies != nil {
		return "ws://" + s.Proxies.LiveKit.Addr
	}
	return s.LiveKit.URL
}

func (s *Stack) brokerPort() int {
	if s.opt.TLS {
		return s.RabbitMQ.TLSPort
	}
	return s.RabbitMQ.Port
}

// Stop ends all servers; it kills SyncFlow. With a temporary directory, it kills all of them, which
// is faster, and removes the directory.
func (s *Stack) Stop(ctx context.Context) error {
	var all []*Process
	var errs []error
	if s.SyncFlow != nil { // its state is on disk, and a stop would wait for its clients
		errs = append(errs, s.SyncFlow.Kill())
	}
	if s.S3 != nil {
		all = append(all, s.S3.Process)
	}
	if s.RabbitMQ != nil {
		all = append(all, s.RabbitMQ.Process)
	}
	for _, p := range all {
		if s.temp {
			errs = append(errs, p.Kill())
		} else {
			errs = append(errs, p.Stop(ctx))
		}
	}
	if s.RabbitMQ != nil {
		errs = append(errs, s.RabbitMQ.epmd.Kill())
	}
	if s.Gate != nil {
		errs = append(errs, s.Gate.Close())
	}
	for _, l := range s.Nodes {
		if l != nil {
			errs = append(errs, l.Close())
		}
	}
	if s.Redis != nil {
		errs = append(errs, s.Redis.Kill())
	}
	if s.Webhooks != nil {
		errs = append(errs, s.Webhooks.Close())
	}
	if s.temp {
		errs = append(errs, os.RemoveAll(s.Dir))
	}
	if s.Proxies != nil {
		for _, p := range s.Proxies.All() {
			p.Close()
		}
	}
	s.ports.release()
	return errors.Join(errs...)
}
