package notify

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
)

// TestPublic: the addresses to which events may be sent.
func TestPublic(t *testing.T) {
	for addr, want := range map[string]bool{
		"93.184.216.34": true, "2606:2800:220:1:248:1893:25c8:1946": true, "1.1.1.1": true,
		"127.0.0.1": false, "127.8.8.8": false, "::1": false, // loopback
		"169.254.169.254": false, "fe80::1": false, "fe80::1%eth0": false, // link-local
		"10.0.0.1": false, "172.16.0.1": false, "172.31.255.255": false, "192.168.1.1": false,
		"fd00:ec2::254": false, "fc00::1": false, // private
		"172.32.0.1": true, "100.64.0.1": false, "100.100.100.200": false, "100.128.0.1": true,
		"0.0.0.0": false, "0.1.2.3": false, "::": false, // unspecified
		"224.0.0.1": false, "239.1.2.3": false, "ff02::1": false, // multicast
		"255.255.255.255": false, "240.0.0.1": false, "198.18.0.1": false, "192.0.0.8": false,
		"::ffff:10.0.0.1": false, "::ffff:93.184.216.34": false, "::10.0.0.1": false, // embedded
		"64:ff9b::a00:1": false, "2002:a00:1::1": false, "2001:0:1::1": false, "fec0::1": false,
	} {
		if got := public(netip.MustParseAddr(addr)); got != want {
			t.Errorf("%s: %v", addr, got)
		}
		if err := onlyPublic("tcp", net.JoinHostPort(addr, "443"), nil); (err == nil) != want {
			t.Errorf("%s: %v", addr, err)
		}
	}
	if err := onlyPublic("tcp", "somewhere", nil); !errors.Is(err, ErrAddress) {
		t.Errorf("%v", err)
	}
}

// TestClient: the address is checked when the connection is made, for names too, and redirects are
// not followed.
func TestClient(t *testing.T) {
	reached := 0
	mux := http.NewServeMux()
	mux.HandleFunc("/redirect", func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, "/", http.StatusTemporaryRedirect)
	})
	mux.HandleFunc("/", func(http.ResponseWriter, *http.Request) { reached++ })
	server := httptest.NewServer(mux)
	defer server.Close()
	_, port, err := net.SplitHostPort(server.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	body := []byte(`{}`)
	for _, host := range []string{
		"127.0.0.1", "localhost", "[::ffff:127.0.0.1]", "0.0.0.0", "127.1",
	} {
		l := link{Subscription: Subscription{
			URL: "http://u:hunter2@" + host + ":" + port + "/?token=sesame", Key: key,
		}}
		_, _, err := (&Notifier{client: newClient(false)}).send(t.Context(), l, body)
		if err == nil || reached > 0 {
			t.Fatalf("%s: sent, %v", host, err)
		}
		text := errorText(err, l.URL)
		if host != "127.1" && !errors.Is(err, ErrAddress) {
			t.Errorf("%s: %v", host, err)
		}
		for _, secret := range []string{"sesame", "hunter2"} {
			if strings.Contains(text, secret) {
				t.Errorf("%s", text)
			}
		}
	}
	n := &Notifier{client: newClient(true)}
	for path, code := range map[string]int{"/": 200, "/redirect": 307} {
		l := link{Subscription: Subscription{URL: server.URL + path, Key: key}}
		got, _, err := n.send(context.Background(), l, body)
		if got != code || (err == nil) != (code == 200) {
			t.Errorf("%s: %d, %v", path, got, err)
		}
	}
	if reached != 1 {
		t.Errorf("reached %d times", reached)
	}
}

// TestCheckURL: the URLs that a request to the API may name.
func TestCheckURL(t *testing.T) {
	hosts := []string{
		"hooks.example.org", "api.example.org:8443", "[2001:db8::1]:80", "2001:db8::2",
	}
	for url, want := range map[string]bool{
		"https://hooks.example.org/x?y=z":       true,
		"http://HOOKS.example.org.":             true,
		"https://hooks.example.org:443":         true,
		"https://hooks.example.org:8443":        true,
		"https://api.example.org:8444":          false,
		"https://api.example.org:8443/x":        true,
		"https://api.example.org/x":             false,
		"http://[2001:db8::1]/":                 true,
		"https://[2001:db8::1]/":                false,
		"https://[2001:db8::2]/":                true,
		"https://evil.example.org":              false,
		"https://hooks.example.org.evil.org":    false,
		"https://hooks.example.org@evil.org":    false,
		"https://u:hunter2@hooks.example.org":   false,
		"https://evil.org/hooks.example.org":    false,
		"ftp://hooks.example.org":               false,
		"hooks.example.org":                     false,
		"https://":                              false,
		"https://hooks.example.org:hunter2/x":   false,
		"https://hooks.example.org%2f.evil.org": false,
		"":                                      false,
	} {
		err := CheckURL(url, hosts)
		if (err == nil) != want {
			t.Errorf("%s: %v", url, err)
		}
		if err != nil && strings.Contains(err.Error(), "hunter2") {
			t.Error(err)
		}
	}
	if CheckURL("https://hooks.example.org", nil) == nil {
		t.Error("allowed without a list")
	}
}
