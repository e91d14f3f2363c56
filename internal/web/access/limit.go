package access

import (
	"net/netip"
	"sync"
	"time"
)

// Attempts that may fail: this many at once, and one more each time an interval has passed.
const (
	perSource      = 10
	perSourceEvery = 20 * time.Second
	overall        = 100
	overallEvery   = time.Second
	maxSources     = 4096
)

// bucket holds the attempts that are left.
type bucket struct {
	left float64
	at   time.Time
}

func (b *bucket) fill(now time.Time, most float64, every time.Duration) {
	b.left = min(most, b.left+float64(now.Sub(b.at))/float64(every))
	b.at = now
}

// limiter bounds failed attempts, by source and overall.
type limiter struct {
	mu      sync.Mutex // guards the rest
	sources map[string]*bucket
	all     bucket
}

func newLimiter() *limiter {
	return &limiter{
		sources: map[string]*bucket{}, all: bucket{overall, time.Now()},
	}
}

// take reports whether a source may try now, and counts the attempt.
func (l *limiter) take(source string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := time.Now()
	b := l.source(source, now)
	l.all.fill(now, overall, overallEvery)
	if b.left < 1 || l.all.left < 1 {
		return false
	}
	b.left--
	l.all.left--
	return true
}

// giveBack takes back an attempt that did not fail.
func (l *limiter) giveBack(source string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	b := l.source(source, time.Now())
	b.left = min(perSource, b.left+1)
	l.all.left = min(overall, l.all.left+1)
}

// source returns the filled bucket of a source. l.mu is held.
func (l *limiter) source(name string, now time.Time) *bucket {
	if b := l.sources[name]; b != nil {
		b.fill(now, perSource, perSourceEvery)
		return b
	}
	if len(l.sources) >= maxSources {
		for other, b := range l.sources {
			if b.fill(now, perSource, perSourceEvery); b.left == perSource {
				delete(l.sources, other)
			}
		}
		if len(l.sources) >= maxSources {
			name = "" // further sources share one bucket
			if b := l.sources[name]; b != nil {
				b.fill(now, perSource, perSourceEvery)
				return b
			}
		}
	}
	b := &bucket{perSource, now}
	l.sources[name] = b
	return b
}

// network is what attempts are counted by: an IPv4 address, or the /64 of an IPv6 address, which
// one host has to itself.
func network(host string) string {
	ip, err := netip.ParseAddr(host)
	if err != nil {
		return "unknown" // behind a proxy that writes something else
	}
	if ip = ip.Unmap().WithZone(""); ip.Is4() {
		return ip.String()
	}
	prefix, err := ip.Prefix(64)
	if err != nil {
		return "unknown"
	}
	return prefix.String()
}
