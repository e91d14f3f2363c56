// Package notify reports the progress of recordings to web receivers: it sends completion webhooks
// in the format and with the signature of LiveKit's own egress webhooks.
//
// The state files of the recordings determine the events, at any time and after any crash. For each
// recording and receiver:
//
//  1. an event is due once a state file exists: see [step];
//  2. its file is written durably to <data>/webhooks, with the bytes that will be sent;
//  3. it is sent until the receiver accepts it, or until its age exceeds the receiver's limit;
//  4. the file is renamed durably, so that the event is neither created nor sent again.
//
// The guarantees: a receiver gets every event at least once, each time with the same id and body,
// unless the log and a metric report that the event was given up. The events of a recording arrive
// in order: each is sent only after the previous one was accepted or given up. The event of the end
// is sent only after every object was verified in the bucket. An event contains nothing about
// participants. Requests to one receiver do not delay other receivers.
package notify

import (
	"context"
	"log/slog"
	"net/http"
	"path/filepath"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/syncflow/textegress/internal/durable"
	"github.com/syncflow/textegress/internal/livekit"
	"github.com/syncflow/textegress/internal/pattern"
	"github.com/syncflow/textegress/internal/spool"
)

// DefaultMaxAge is the age at which an event is given up.
const DefaultMaxAge = 7 * 24 * time.Hour

// Subscription is a receiver of events.
type Subscription struct {
	URL    string
	Key    livekit.Key // signs the requests
	Events []string    // the Event… constants; empty: all but [EventMessage]
	// Topics are the topics of the messages that are sent; empty: all.
	Topics []pattern.Pattern
	MaxAge time.Duration // age at which an event is given up; 0: [DefaultMaxAge]
}

// Project holds the settings of one project.
type Project struct {
	Name string // for operators, such as "project 0"
	// Key signs the events that a request to the API subscribed to.
	Key           livekit.Key
	Subscriptions []Subscription
}

// Options of [New].
type Options struct {
	Spool *spool.Spool
	Lines Lines // nil: no messages are sent
	// Projects returns the current settings of all configured projects, by id. It is called at
	// every scan and must not block. The notifier does not modify the result.
	Projects func() map[string]Project
	// AllowPrivate allows receivers whose addresses are not public.
	AllowPrivate bool
	// Hosts are the hosts that requests to the API may name, see [CheckURL].
	Hosts []string
	// Settled is called when no more messages of a recording are sent to a receiver; nil: nothing
	// is. [Notifier.HoldsData] may have changed.
	Settled func()
	// Rescan is the interval of scans without a [Notifier.Wake]; 0: 30 s.
	Rescan     time.Duration
	FS         durable.FS   // nil: the operating system's
	Logger     *slog.Logger // nil: silent
	Registerer prometheus.Registerer
}

// Notifier writes and sends events. Create it with [New].
type Notifier struct {
	o       Options
	log     *slog.Logger
	store   store
	client  *http.Client
	metrics *metrics
	wake    chan struct{}
	done    chan struct{} // a request has ended; capacity 1

	known map[string]string // projects of the receivers on disk, by receiver; used by Run only

	saving sync.Mutex // held while a cursor is written

	mu         sync.Mutex // guards the fields below and those of receivers; never held over I/O
	scanned    bool       // a scan of all recordings has ended
	recordings map[string]*recording
	receivers  map[string]*receiver
}

// recording is the known state of one recording. Only Run uses it, except finished and
// fed, which Notifier.mu guards.
type recording struct {
	joined   bool
	roomSID  string
	finished bool // every event is written

	uploadedNS int64 // when it was delivered; 0: unknown
	fed        bool  // a feed exists for every receiver of messages
}

// New returns a notifier. It does nothing before [Notifier.Run].
func New(o Options) *Notifier {
	if o.Rescan <= 0 {
		o.Rescan = 30 * time.Second
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Settled == nil {
		o.Settled = func() {}
	}
	if o.FS == nil {
		o.FS = durable.OS{}
	}
	n := &Notifier{
		o: o, log: o.Logger.With("component", "webhooks"),
		store:      store{o.FS, filepath.Join(o.Spool.Dir(), dirName)},
		client:     newClient(o.AllowPrivate),
		wake:       make(chan struct{}, 1),
		done:       make(chan struct{}, 1),
		recordings: map[string]*recording{}, receivers: map[string]*receiver{},
	}
	n.metrics = newMetrics(o.Registerer, n)
	return n
}

// Wake causes a scan because the state of a recording or the settings have changed. A missed call
// only delays events to the next scan.
func (n *Notifier) Wake() { signal(n.wake) }

func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// joinPoll is the scan interval while a recorder has not joined its room: the join writes no state
// file.
const joinPoll = 2 * time.Second

// Run writes and sends events until ctx ends, waits for the requests in progress, and returns the
// cause. A failure of the disk does not end it.
func (n *Notifier) Run(ctx context.Context) error {
	var requests sync.WaitGroup
	defer requests.Wait()
	loaded, again := false, true
	var nextScan time.Time
	for {
		if !loaded {
			loaded = n.load()
		}
		if loaded && (again || !time.Now().Before(nextScan)) {
			nextScan = time.Now().Add(n.scan())
			n.runFeeds(ctx, &requests)
		}
		again = false
		wait := joinPoll
		if loaded {
			wait = min(n.dispatch(ctx, &requests), max(0, time.Until(nextScan)))
		}
		t := time.NewTimer(wait)
		select {
		case <-ctx.Done():
			t.Stop()
			return context.Cause(ctx)
		case <-n.wake:
			again = true
		case <-n.done:
		case <-t.C:
		}
		t.Stop()
	}
}

// Holds reports whether the state files of a recording are still needed: an event that follows from
// them is not written yet, or one is waiting for its receiver. Events wait no longer than the
// receiver's MaxAge.
func (n *Notifier) Holds(rec *spool.Recording) bool {
	info := rec.Info()
	project, configured := n.o.Projects()[info.ProjectID]
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, r := range n.receivers {
		if r.queues[info.EgressID] != nil && len(r.queues[info.EgressID].pending) > 0 {
			return true
		}
		if r.feeds[info.EgressID] != nil && (r.linked != nil || !configured) {
			return true
		}
	}
	if !configured || len(project.Subscriptions)+len(requested(info)) == 0 {
		return false
	}
	known := n.recordings[info.EgressID]
	return !n.scanned || known == nil || !known.finished
}
