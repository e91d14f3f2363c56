package stack

import (
	"encoding/json"
	"fmt"
	"net/url"
	"strings"
	"sync"

	"github.com/Shopify/toxiproxy/v2"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"
)

// Proxies are TCP proxies in front of the servers. With Options.Proxies, a recorder's configuration
// and SyncFlow's responses contain their addresses. They run in this process. Without a toxic they
// forward everything.
type Proxies struct {
	SyncFlow, RabbitMQ, S3 *Proxy
	LiveKit                *Proxy // signalling only; the data goes over UDP, not through the proxy
}

// All returns the existing proxies.
func (p *Proxies) All() []*Proxy {
	var all []*Proxy
	for _, x := range []*Proxy{p.SyncFlow, p.RabbitMQ, p.S3, p.LiveKit} {
		if x != nil {
			all = append(all, x)
		}
	}
	return all
}

// Proxy is a TCP proxy in front of one server.
type Proxy struct {
	Name string
	Addr string // 127.0.0.1:port

	mu     sync.Mutex
	p      *toxiproxy.Proxy
	toxics int
}

// Toxic is a disturbance of connections; see the list of toxics in github.com/Shopify/toxiproxy.
type Toxic struct {
	// Type is latency, bandwidth, slow_close, timeout, reset_peer, slicer or limit_data.
	Type string
	// Upstream selects the traffic to the server instead of that from it.
	Upstream bool
	// Attributes are the parameters of the type: latency and jitter in ms, rate in KB/s, delay in
	// ms, timeout in ms, …
	Attributes map[string]int64
}

func (t Toxic) String() string {
	where := "downstream"
	if t.Upstream {
		where = "upstream"
	}
	b, _ := json.Marshal(t.Attributes) // numbers always marshal
	return fmt.Sprintf("%s %s %s", t.Type, where, b)
}

// Add disturbs new and existing connections until Clear.
func (p *Proxy) Add(t Toxic) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.toxics++
	stream := "downstream"
	if t.Upstream {
		stream = "upstream"
	}
	b, err := json.Marshal(map[string]any{
		"name": fmt.Sprint(p.toxics), "type": t.Type, "stream": stream, "toxicity": 1,
		"attributes": t.Attributes,
	})
	if err != nil {
		return err
	}
	if _, err := p.p.Toxics.AddToxicJson(strings.NewReader(string(b))); err != nil {
		return fmt.Errorf("stack: %s before %s: %w", t, p.Name, err)
	}
	return nil
}

// Clear undoes all calls of Add and Close. It ends connections that a toxic left half-open, as one
// of the sides would do after a real network outage.
func (p *Proxy) Clear() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	// A stopped proxy has no connections, so removing a toxic cannot block on the peer of a link.
	p.p.Stop()
	old := p.p
	p.p = toxiproxy.NewProxy(proxyServer(), p.Name, p.Addr, old.Upstream)
	return p.p.Start()
}

// Close ends all connections and refuses new ones until Clear.
func (p *Proxy) Close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.p.Stop()
}

// proxyServer is the API server that toxiproxy's proxies require; it serves nothing.
var proxyServer = sync.OnceValue(func() *toxiproxy.ApiServer {
	return toxiproxy.NewServer(toxiproxy.NewMetricsContainer(prometheus.NewRegistry()),
		zerolog.Nop())
})

// startProxy starts a proxy for an address (host:port, or a URL with one).
func startProxy(name, upstream string, ports *portBlock) (*Proxy, error) {
	if u, err := url.Parse(upstream); err == nil && u.Host != "" {
		upstream = u.Host
	}
	port, err := ports.tcp()
	if err != nil {
		return nil, err
	}
	addr := fmt.Sprintf("127.0.0.1:%d", port)
	p := &Proxy{Name: name, Addr: addr, p: toxiproxy.NewProxy(proxyServer(), name, addr, upstream)}
	if err := p.p.Start(); err != nil {
		return nil, fmt.Errorf("stack: a proxy before %s: %w", name, err)
	}
	return p, nil
}
