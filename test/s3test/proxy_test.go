package s3test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/url"
	"strings"
	"testing"
	"time"

	toxiproxy "github.com/Shopify/toxiproxy/v2"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"

	"github.com/syncflow/textegress/internal/objstore"
	"github.com/syncflow/textegress/internal/objstore/objtest"
	"github.com/syncflow/textegress/internal/objstore/s3"
)

// bad is a network between us and the real server.
type bad struct {
	t     *testing.T
	proxy *toxiproxy.Proxy
	url   string
}

func newBad(t *testing.T) *bad {
	t.Helper()
	u, err := url.Parse(servers.S3.Endpoint)
	if err != nil {
		t.Fatal(err)
	}
	server := toxiproxy.NewServer(toxiproxy.NewMetricsContainer(prometheus.NewRegistry()),
		zerolog.Nop())
	p := toxiproxy.NewProxy(server, t.Name(), "127.0.0.1:0", u.Host)
	if err := p.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Stop)
	if _, _, err := net.SplitHostPort(p.Listen); err != nil {
		t.Fatal(err)
	}
	return &bad{t: t, proxy: p, url: "http://" + p.Listen}
}

// toxic adds one: https://github.com/Shopify/toxiproxy#toxics names them and their attributes.
func (b *bad) toxic(kind, stream string, attributes map[string]any) {
	b.t.Helper()
	text, err := json.Marshal(map[string]any{
		"name": kind + stream, "type": kind, "stream": stream,
		"toxicity": 1, "attributes": attributes,
	})
	if err != nil {
		b.t.Fatal(err)
	}
	if _, err := b.proxy.Toxics.AddToxicJson(bytes.NewReader(text)); err != nil {
		b.t.Fatalf("%s: %v", text, err)
	}
}

func (b *bad) cure() { b.proxy.Toxics.ResetToxics(b.t.Context()) }

const stall = 5 * time.Second

func (b *bad) bucket() *s3.Bucket {
	o := options(b.t)
	o.Endpoint, o.StallTimeout = b.url, stall
	o.MultipartThreshold, o.PartSize = 6<<20, 5<<20
	return open(b.t, o)
}

// TestBrokenNetworks: each of them ends every operation with a transient error within a bounded
// time, and what was stored is never a part of an object. When the network works again, so does the
// bucket.
func TestBrokenNetworks(t *testing.T) {
	for _, tc := range []struct {
		name, kind, stream string
		attributes         map[string]any
	}{
		{"reset at once", "reset_peer", "downstream", map[string]any{"timeout": 0}},
		{"reset later", "reset_peer", "upstream", map[string]any{"timeout": 20}},
		{"black hole for what we send", "timeout", "upstream", map[string]any{"timeout": 0}},
		{"black hole for the answers", "timeout", "downstream", map[string]any{"timeout": 0}},
		{"closed after a while", "timeout", "downstream", map[string]any{"timeout": 100}},
		{
			"cut in the middle of the body", "limit_data", "upstream",
			map[string]any{"bytes": 100 << 10},
		},
		{
			"cut in the middle of the answer", "limit_data", "downstream",
			map[string]any{"bytes": 100},
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			n := newBad(t)
			b := n.bucket()
			small, large := objtest.Generated(128<<10, 1), objtest.Generated(7<<20, 2)
			if err := b.Upload(t.Context(), "room/there", small); err != nil {
				t.Fatal(err)
			}
			n.toxic(tc.kind, tc.stream, tc.attributes)
			check := func(op string, err error) {
				t.Helper()
				if err == nil {
					t.Errorf("%s succeeded", op)
				} else if e, _ := errors.AsType[*objstore.Error](err); e == nil || e.Permanent ||
					e.NotFound || errors.Is(err, objstore.ErrDiffers) {
					t.Errorf("%s = %v, want a transient error", op, err)
				} else if text := objstore.Redacted(err, ""); strings.Contains(text, "room/") {
					t.Errorf("%s: a key in %q", op, text)
				}
			}
			start := time.Now()
			check("Upload", b.Upload(t.Context(), "room/small", small))
			check("Upload in parts", b.Upload(t.Context(), "room/large", large))
			// there too little is sent to meet it
			if tc.kind != "limit_data" || tc.stream != "upstream" {
				_, err := b.Stat(t.Context(), "room/there")
				check("Stat", err)
			}
			if tc.kind != "limit_data" || tc.stream == "downstream" {
				check("Verify", objstore.Verify(t.Context(), b, "room/there", small.Size,
					small.SHA256))
				for _, err := range b.List(t.Context(), "room/") {
					check("List", err)
				}
			}
			t.Logf("noticed everything within %v", time.Since(start).Round(time.Millisecond))
			n.cure()
			for key, o := range map[string]objstore.Object{
				"room/small": small, "room/large": large,
				"room/there": small,
			} {
				err := objstore.Verify(t.Context(), b, key, o.Size, o.SHA256)
				if err != nil && !objstore.IsNotFound(err) {
					// One more: an idle connection may be one of the broken ones.
					err = objstore.Verify(t.Context(), b, key, o.Size, o.SHA256)
				}
				if objstore.IsNotFound(err) {
					if err = b.Upload(t.Context(), key, o); err == nil {
						err = objstore.Verify(t.Context(), b, key, o.Size, o.SHA256)
					}
				}
				if err != nil {
					t.Errorf("%s afterwards: %v", key, err)
				}
			}
		})
	}
}

// TestSlowNetworks: on a line on which something moves all the time, everything succeeds, however
// long it takes.
func TestSlowNetworks(t *testing.T) {
	for _, tc := range []struct {
		name  string
		tune  func(*bad)
		size  int64
		least time.Duration // that the upload must take, or the network was not slow
	}{
		{"latency", func(n *bad) {
			n.toxic("latency", "downstream", map[string]any{"latency": 300, "jitter": 100})
		}, 1 << 20, 200 * time.Millisecond},
		// longer than the stall timeout, most of it after the last byte was handed over
		{"narrow", func(n *bad) {
			n.toxic("bandwidth", "upstream", map[string]any{"rate": 128})
		}, 1 << 20, stall},
		{"narrow for what comes back", func(n *bad) {
			n.toxic("bandwidth", "downstream", map[string]any{"rate": 256})
		}, 1 << 20, 0},
		{"slow to close", func(n *bad) {
			n.toxic("slow_close", "downstream",
				map[string]any{"delay": 1000})
		}, 1 << 20, 0},
		{"in slices", func(n *bad) {
			n.toxic("slicer", "upstream",
				map[string]any{"average_size": 4096, "size_variation": 4000, "delay": 100})
		}, 1 << 20, 0},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			n := newBad(t)
			b := n.bucket()
			tc.tune(n)
			o := objtest.Generated(tc.size, 3)
			start := time.Now()
			if err := b.Upload(t.Context(), "k", o); err != nil {
				t.Fatalf("Upload = %v after %v", err, time.Since(start))
			}
			if d := time.Since(start); d < tc.least {
				t.Errorf("the upload took %v only", d)
			}
			r, err := b.Open(t.Context(), "k")
			if err != nil {
				t.Fatal(err)
			}
			if got := fmt.Sprint(sum(t, r)); got != o.SHA256 {
				t.Errorf("read back %s", got)
			}
			t.Logf("both ways in %v", time.Since(start).Round(time.Millisecond))
		})
	}
}
