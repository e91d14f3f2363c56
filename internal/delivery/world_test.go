package delivery_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/fstest"
	"testing/synctest"
	"time"

	"github.com/livekit/protocol/livekit"
	"google.golang.org/protobuf/proto"

	"github.com/syncflow/textegress"
	"github.com/syncflow/textegress/internal/backoff"
	"github.com/syncflow/textegress/internal/delivery"
	"github.com/syncflow/textegress/internal/durable"
	"github.com/syncflow/textegress/internal/objstore"
	"github.com/syncflow/textegress/internal/objstore/objtest"
	"github.com/syncflow/textegress/internal/redact"
	"github.com/syncflow/textegress/internal/render"
	"github.com/syncflow/textegress/internal/spool"
	"github.com/syncflow/textegress/segment"
)

// world is a data directory and buckets that outlive the processes working on them.
type world struct {
	pseudonyms bool // of the recordings that are made

	t        *testing.T
	dir      string
	opts     delivery.Options
	buckets  map[string]*objtest.Memory
	projects projects
	noBucket map[string]bool
	wrap     func(objstore.Bucket) objstore.Bucket // of every bucket, may be nil

	sp   *spool.Spool
	up   *delivery.Dispatcher
	stop func()

	verifiedBy string // "stat" where the store computes checksums, else "open"

	mu      sync.Mutex
	logs    bytes.Buffer
	correct map[string]string // "<project> <key>" to SHA-256, of objects that were right once
	// verified holds "<project> <key>" of objects whose verification was seen to succeed, by
	// whichever process.
	verified map[string]bool
}

// projects are the settings of all projects.
type projects struct {
	bucket     func(project string) (objstore.Bucket, error)
	keys       func(project string) *render.Keys                // nil: there are none
	pseudonyms func(info spool.Info) (redact.Pseudonyms, error) // nil: there are none
}

func oneBucket(b objstore.Bucket) func(string) (objstore.Bucket, error) {
	return func(string) (objstore.Bucket, error) { return b, nil }
}

func (p *projects) Bucket(id string) (objstore.Bucket, error) { return p.bucket(id) }

func (p *projects) Keys(id string) *render.Keys {
	if p.keys == nil {
		return nil
	}
	return p.keys(id)
}

func (p *projects) Pseudonyms(info spool.Info) (redact.Pseudonyms, error) {
	if p.pseudonyms == nil {
		return nil, errors.New("no pseudonyms")
	}
	return p.pseudonyms(info)
}

func newWorld(t *testing.T, checksums bool, projects ...string) *world {
	w := &world{
		t: t, dir: filepath.Join(t.TempDir(), "data"), buckets: map[string]*objtest.Memory{},
		noBucket: map[string]bool{}, correct: map[string]string{}, verified: map[string]bool{},
	}
	w.opts.Retention = -1
	w.verifiedBy = "open"
	if checksums {
		w.verifiedBy = "stat"
	}
	for _, p := range projects {
		w.buckets[p] = objtest.NewMemory(p, checksums)
	}
	w.boot()
	t.Cleanup(w.shutDown)
	return w
}

// noSync leaves out what only a power failure would need: these tests end processes, not power.
type noSync struct{ durable.OS }

type noSyncFile struct{ durable.File }

func (noSyncFile) Sync() error { return nil }

func (noSync) SyncDir(string, string) error { return nil }

func (f noSync) Create(op, name string) (durable.File, error) {
	file, err := f.OS.Create(op, name)
	return noSyncFile{file}, err
}

func (f noSync) OpenWrite(op, name string) (durable.File, error) {
	file, err := f.OS.OpenWrite(op, name)
	return noSyncFile{file}, err
}

// boot begins a process; without run it does nothing yet.
func (w *world) boot() {
	sp, err := spool.Open(w.dir, spool.Options{FS: noSync{}})
	if err != nil {
		w.t.Fatal(err)
	}
	w.useSpool(sp)
}

// useSpool makes the dispatcher of a process.
func (w *world) useSpool(sp *spool.Spool) {
	w.sp = sp
	o := w.opts
	o.Spool = sp
	o.Logger = slog.New(slog.NewTextHandler(&lockedWriter{w}, nil))
	o.Projects = &w.projects
	w.projects.bucket = func(p string) (objstore.Bucket, error) {
		if b := w.buckets[p]; b != nil && !w.noBucket[p] {
			if w.wrap != nil {
				return w.wrap(b), nil
			}
			return b, nil
		}
		return nil, fmt.Errorf("project %s is not configured", p)
	}
	w.up = delivery.New(o)
}

type lockedWriter struct{ w *world }

func (l *lockedWriter) Write(p []byte) (int, error) {
	l.w.mu.Lock()
	defer l.w.mu.Unlock()
	return l.w.logs.Write(p)
}

func (w *world) run() {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := w.up.Run(ctx); !errors.Is(err, context.Canceled) {
			w.t.Errorf("Run = %v", err)
		}
	}()
	w.stop = func() { cancel(); <-done }
}

// shutDown ends the process. What it knew is lost.
func (w *world) shutDown() {
	if w.stop != nil {
		w.stop()
		w.stop = nil
	}
	if w.sp == nil {
		return
	}
	if err := w.sp.Close(); err != nil {
		w.t.Errorf("close the spool: %v", err)
	}
	w.sp = nil
}

func (w *world) restart() {
	w.shutDown()
	w.boot()
	w.run()
}

// record makes a sealed recording of one participant.
func (w *world) record(project, id string) *spool.Recording {
	w.t.Helper()
	var packets []*livekit.DataPacket
	for i := range 5 {
		packets = append(packets,
			said("secret-alice", "PA_1", fmt.Sprintf("message %d of %s", i, id)))
	}
	return w.recordPackets(spool.Info{
		EgressID: id, SessionID: "s-" + id, RoomName: "class 1", ProjectID: project,
		ProjectName: "P", Part: 1,
		KeyPrefix: textegress.Prefix("P", project, "class 1", "", id), Pseudonyms: w.pseudonyms,
	}, packets...)
}

func said(identity, sid, text string) *livekit.DataPacket {
	return &livekit.DataPacket{
		ParticipantIdentity: identity, ParticipantSid: sid,
		Value: &livekit.DataPacket_User{User: &livekit.UserPacket{Payload: []byte(text)}},
	}
}

// recordPackets makes a sealed recording of the packets.
func (w *world) recordPackets(info spool.Info, packets ...*livekit.DataPacket) *spool.Recording {
	w.t.Helper()
	rec, err := w.sp.Create(info)
	if err != nil {
		w.t.Fatal(err)
	}
	wr, err := rec.Writer()
	if err != nil {
		w.t.Fatal(err)
	}
	for _, p := range packets {
		b, err := proto.Marshal(p)
		if err != nil {
			w.t.Fatal(err)
		}
		if err := wr.Append(segment.Frame{
			Type: segment.FramePacket, Channel: 1, Epoch: 1,
			UnixNS: time.Now().UnixNano(), Payload: b,
		}); err != nil {
			w.t.Fatal(err)
		}
	}
	if err := wr.Seal(spool.Sealed{
		Status: textegress.StatusComplete,
		Reason: "room_deleted",
	}); err != nil {
		w.t.Fatal(err)
	}
	return rec
}

func (w *world) rec(id string) *spool.Recording {
	w.t.Helper()
	r, ok := w.sp.Recording(id)
	if !ok {
		w.t.Fatalf("recording %s is gone", id)
	}
	return r
}

// foreign is what somebody else put under our keys.
const foreign = "something else"

func sum(b []byte) string {
	s := sha256.Sum256(b)
	return hex.EncodeToString(s[:])
}

// check is the invariant that holds between any two steps, whatever fails.
func (w *world) check() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, rec := range w.sp.Recordings() {
		project := rec.Info().ProjectID
		if w.buckets[project] == nil {
			continue
		}
		stored := w.buckets[project].Objects()
		frozen, isFrozen, err := loadFrozen(rec)
		if err != nil {
			w.t.Errorf("%s: %v", rec.ID(), err)
			continue
		}
		announced := map[string]bool{}
		for _, f := range frozen {
			for _, o := range f.Objects {
				announced[f.Prefix+o.Key] = true
			}
		}
		for key, data := range stored {
			if !announced[key] && strings.HasPrefix(key, rec.Info().KeyPrefix) &&
				string(data) != foreign {
				w.t.Errorf("%s was stored and is in nothing that was frozen (frozen: %v)", key,
					isFrozen)
			}
		}
		// What was right once stays as it is.
		for _, f := range frozen {
			for i, o := range f.Objects {
				key := project + " " + f.Prefix + o.Key
				data, there := stored[f.Prefix+o.Key]
				if there && sum(data) == o.SHA256 {
					w.correct[key] = o.SHA256
				} else if was := w.correct[key]; was != "" {
					w.t.Errorf("%s was right and is %q now", key, data)
				}
				// The manifest comes last.
				if i == len(f.Objects)-1 && there && sum(data) == o.SHA256 {
					for _, o := range f.Objects {
						if sum(stored[f.Prefix+o.Key]) != o.SHA256 {
							w.t.Errorf("the manifest is there, %s is not right", f.Prefix+o.Key)
						}
					}
				}
			}
		}
		// In this order: it may be written first, delivered, and removed, meanwhile.
		open := rec.State() == spool.StateOpen
		segments, globErr := filepath.Glob(filepath.Join(rec.Dir(), "*.seg"))
		_, uploaded, err := rec.Uploaded()
		if err != nil {
			w.t.Error(err)
		}
		if uploaded {
			f := frozen[len(frozen)-1]
			for _, o := range f.Objects {
				if sum(stored[f.Prefix+o.Key]) != o.SHA256 {
					w.t.Errorf("uploaded.json is there, %s is not right", f.Prefix+o.Key)
				}
			}
		} else if globErr != nil || len(segments) == 0 && !open {
			w.t.Errorf("%s is not delivered and its segments are gone (%v)", rec.ID(), globErr)
		}
	}
}

// loadFrozen returns all revisions, as they are on disk.
func loadFrozen(rec *spool.Recording) (all []delivery.Plan, ok bool, err error) {
	for r := 1; ; r++ {
		name := "export.json"
		if r > 1 {
			name = fmt.Sprintf("export-r%d.json", r)
		}
		data, err := os.ReadFile(filepath.Join(rec.Dir(), name))
		if errors.Is(err, fs.ErrNotExist) {
			return all, len(all) > 0, nil
		}
		if err != nil {
			return nil, false, err
		}
		var f delivery.Plan
		if err := json.Unmarshal(data, &f); err != nil {
			return nil, false, fmt.Errorf("%s: %w", name, err)
		}
		all = append(all, f)
	}
}

// delivered checks that a recording is in its bucket as its manifest says, in the given revision.
func (w *world) delivered(id string, revision int) {
	w.t.Helper()
	rec := w.rec(id)
	if s := rec.State(); s != spool.StateUploaded && s != spool.StateRemoved {
		w.t.Fatalf("%s is %s\n%s", id, s, w.log())
	}
	frozen, _, err := delivery.LoadPlan(rec)
	if err != nil || frozen.Revision != revision {
		w.t.Errorf("revision %d, %v; want %d", frozen.Revision, err, revision)
	}
	fsys := fstest.MapFS{}
	for key, data := range w.buckets[rec.Info().ProjectID].Objects() {
		if name, ok := strings.CutPrefix(key, frozen.Prefix); ok {
			fsys[name] = &fstest.MapFile{Data: data}
		}
	}
	r, err := textegress.Open(fsys)
	if err != nil {
		w.t.Fatal(err)
	}
	if err := r.Verify(context.Background(), nil); err != nil {
		w.t.Errorf("Verify: %v", err)
	}
	n := 0
	for m, err := range r.Messages() {
		if err != nil {
			w.t.Fatal(err)
		}
		if m.Kind == textegress.KindData {
			if want := fmt.Sprintf("message %d of %s", n, id); *m.Text != want {
				w.t.Errorf("%q, want %q", *m.Text, want)
			}
			n++
		}
	}
	if n != 5 {
		w.t.Errorf("%d messages", n)
	}
	if _, err := os.Stat(rec.StagingDir()); err == nil {
		w.t.Error("the staging directory was left behind")
	}
}

func (w *world) log() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.logs.String()
}

// watch checks the invariant before each call of a bucket, and lets f decide about the call.
func (w *world) watch(f func(op, key string) *objtest.Fault) {
	for project, b := range w.buckets {
		b.SetFault(func(op, key string) *objtest.Fault {
			w.check()
			var fault *objtest.Fault
			if f != nil {
				fault = f(op, key)
			}
			w.verification(project, op, key, fault)
			return fault
		})
	}
}

// verification notes what the process learns from a call, and that it does not write again what it
// knows to be right.
func (w *world) verification(project, op, key string, fault *objtest.Fault) {
	w.mu.Lock()
	defer w.mu.Unlock()
	id := project + " " + key
	if op == "upload" && w.verified[id] {
		w.t.Errorf("%s was verified and is uploaded again", key)
	}
	data, there := w.buckets[project].Objects()[key]
	if fault == nil && there && op == w.verifiedBy && sum(data) == w.correct[id] {
		w.verified[id] = true
	}
}

// settle lets time pass, inside a bubble.
func settle(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

var transient = &objstore.Error{Cause: "HTTP 500, InternalError"}

// faults are all ways in which a call fails.
var faults = map[string]objtest.Fault{
	"500": {Err: transient},
	"403": {Err: &objstore.Error{Cause: "HTTP 403, AccessDenied", Permanent: true}},
	"timeout": {
		Err:  &objstore.Error{Cause: "nothing was sent or received for 2m0s"},
		Wait: slowly,
	},
	"redirect":  {Err: &objstore.Error{Cause: "HTTP 301, PermanentRedirect", Permanent: true}},
	"no bucket": {Err: &objstore.Error{Cause: "HTTP 404, NoSuchBucket", Permanent: true}},
	"clock":     {Err: &objstore.Error{Cause: "HTTP 403, RequestTimeTooSkewed"}},
	"throttled": {Err: &objstore.Error{Cause: "HTTP 503, SlowDown", RetryAfter: 20 * time.Second}},
	"mid-body":  {Err: &objstore.Error{Cause: "connection reset by peer"}, MidBody: true},
	"truncated": {Damage: func(b []byte) []byte { return b[:len(b)/2] }},
	"altered": {Damage: func(b []byte) []byte {
		return append(bytes.Clone(b[:max(len(b)-1, 0)]),
			'X')
	}},
}

func slowly(ctx context.Context) error {
	return backoff.Sleep(ctx, 2*time.Minute)
}

// untilItEnds is a call that hangs for as long as its context lets it.
func untilItEnds(ctx context.Context) error {
	<-ctx.Done()
	return ctx.Err()
}

func keys(m map[string][]byte) []string {
	var k []string
	for key := range m {
		k = append(k, key)
	}
	slices.Sort(k)
	return k
}
