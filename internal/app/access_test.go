package app_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/http/cookiejar"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/bcrypt"

	"github.com/syncflow/textegress/internal/web"
)

// users writes a file of users with these names, each with its name as the password.
func (w *world) users(names ...string) string {
	w.t.Helper()
	var text strings.Builder
	for _, name := range names {
		hash, err := bcrypt.GenerateFromPassword([]byte(name), bcrypt.MinCost)
		if err != nil {
			w.t.Fatal(err)
		}
		text.WriteString(name + ":" + string(hash) + "\n")
	}
	path := filepath.Join(w.dir, "users")
	if err := os.WriteFile(path, []byte(text.String()), 0o600); err != nil {
		w.t.Fatal(err)
	}
	return path
}

// certificate writes a certificate for 127.0.0.1 and its key, and returns a client that trusts it.
func (w *world) certificate() (cert, key string, client *http.Client) {
	w.t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		w.t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &private.PublicKey, private)
	if err != nil {
		w.t.Fatal(err)
	}
	encoded, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		w.t.Fatal(err)
	}
	cert, key = filepath.Join(w.dir, "cert.pem"), filepath.Join(w.dir, "key.pem")
	certPEM := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	keyPEM := pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: encoded})
	for path, text := range map[string][]byte{cert: certPEM, key: keyPEM} {
		if err := os.WriteFile(path, text, 0o600); err != nil {
			w.t.Fatal(err)
		}
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(certPEM)
	return cert, key, &http.Client{Timeout: 30 * time.Second, Transport: &http.Transport{
		DisableKeepAlives: true, TLSClientConfig: &tls.Config{RootCAs: roots},
	}}
}

// askAs asks as a user, "" for none, and returns status and body.
func (w *world) askAs(client *http.Client, url, user string) (int, string) {
	w.t.Helper()
	req, err := http.NewRequestWithContext(w.t.Context(), http.MethodGet, url, nil)
	if err != nil {
		w.t.Fatal(err)
	}
	if user != "" {
		req.SetBasicAuth(user, user)
	}
	resp, err := client.Do(req)
	if err != nil {
		w.t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		w.t.Fatal(err)
	}
	return resp.StatusCode, string(body)
}

// TestBeyondThisMachine: without TLS and logins only what needs neither is served, and the service
// says why.
func TestBeyondThisMachine(t *testing.T) {
	w := newWorld(t)
	w.env(w.directory(0, projectA, "out"), "HTTP_ADDR=0.0.0.0:0")
	w.start()
	_, port, err := net.SplitHostPort(w.app.Addr())
	if err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]int{
		"/": 403, "/status.json": 403, "/api/v1/status": 403, "/login": 403, "/none": 403,
		"/healthz": 200, "/metrics": 200,
		"/twirp/textegress.DataEgress/ListDataEgress": 404, // by GET; its own answer
	} {
		code, body := w.askAs(http.DefaultClient, "http://127.0.0.1:"+port+path, "")
		if code != want || code == 403 && !strings.Contains(body, "HTTP_TLS_CERT_FILE") {
			t.Errorf("%s: %d %s, want %d", path, code, body, want)
		}
	}
	http.DefaultClient.CloseIdleConnections()
	_, err = web.Dial(filepath.Join(w.dir, "textegress-data")).Page(t.Context())
	if err == nil || !strings.Contains(err.Error(), "HTTP_TLS_CERT_FILE") {
		t.Errorf("a link to a page that is not served: %v", err)
	}
}

// TestLoginsWithTLS: users are read again at a reload, certificates too, and a file that cannot be
// used changes nothing.
func TestLoginsWithTLS(t *testing.T) {
	w := newWorld(t)
	cert, key, client := w.certificate()
	w.env(w.directory(0, projectA, "out"), "HTTP_ADDR=0.0.0.0:0", "HTTP_TLS_CERT_FILE="+cert,
		"HTTP_TLS_KEY_FILE="+key, "HTTP_USERS_FILE="+w.users("alice", "bob"))
	w.start()
	_, port, err := net.SplitHostPort(w.app.Addr())
	if err != nil {
		t.Fatal(err)
	}
	url := "https://127.0.0.1:" + port
	expect := func(what string, client *http.Client, want map[string]int) {
		t.Helper()
		for user, status := range want {
			if code, body := w.askAs(client, url+"/status.json", user); code != status {
				t.Errorf("%s: %q gets %d %s, want %d", what, user, code, body, status)
			}
		}
		if code, _ := w.askAs(client, url+"/healthz", ""); code != 200 {
			t.Errorf("%s: health %d", what, code)
		}
	}
	expect("at first", client, map[string]int{"": 401, "alice": 200, "bob": 200, "carol": 401})

	w.users("bob", "carol")
	if err := w.app.Reload(); err != nil {
		t.Fatal(err)
	}
	expect("other users", client, map[string]int{"alice": 401, "bob": 200, "carol": 200})

	_, _, renewed := w.certificate()
	if err := os.WriteFile(filepath.Join(w.dir, "users"), []byte("alice:alice"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := w.app.Reload(); err != nil {
		t.Fatal(err)
	}
	expect("a file of users that cannot be used", renewed, map[string]int{"bob": 200, "alice": 401})
	status, err := web.Dial(filepath.Join(w.dir, "textegress-data")).Status(t.Context())
	if err != nil || status.LastReload == nil ||
		!strings.Contains(status.LastReload.Error, "HTTP_USERS_FILE: line 1") ||
		strings.Contains(status.LastReload.Error, "alice") {
		t.Errorf("last_reload: %+v, %v", status.LastReload, err)
	}
}

// TestPageLink: the link of the control socket logs a browser in, once.
func TestPageLink(t *testing.T) {
	w := newWorld(t)
	w.env(w.directory(0, projectA, "out"))
	w.start()
	page := "http://" + w.app.Addr() + "/login?link="
	link, err := web.Dial(filepath.Join(w.dir, "textegress-data")).Page(t.Context())
	if err != nil || !strings.HasPrefix(link, page) {
		t.Fatalf("%q, %v", link, err)
	}
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	browser := &http.Client{
		Jar: jar, Timeout: 30 * time.Second, Transport: &http.Transport{DisableKeepAlives: true},
	}
	if code, body := w.askAs(browser, link, ""); code != 200 || !strings.Contains(body, "Logged in") {
		t.Errorf("the link: %d %s", code, body)
	}
	if code, _ := w.askAs(browser, link, ""); code != 401 {
		t.Errorf("the link again: %d", code)
	}
	if strings.Contains(w.logged(), strings.SplitAfter(link, "link=")[1]) {
		t.Error("the log contains the link")
	}
}

// TestCertificateThatCannotBeUsed: the service records, health is served, the page is closed.
func TestCertificateThatCannotBeUsed(t *testing.T) {
	w := newWorld(t)
	w.env(w.directory(0, projectA, "out"), "HTTP_TLS_CERT_FILE=/nowhere/cert.pem",
		"HTTP_TLS_KEY_FILE=/nowhere/key.pem")
	w.start()
	client := &http.Client{Timeout: 30 * time.Second, Transport: &http.Transport{
		DisableKeepAlives: true,
		TLSClientConfig:   &tls.Config{InsecureSkipVerify: true}, //nolint:gosec // that is the test
	}}
	if code, _ := w.askAs(client, "https://"+w.app.Addr()+"/healthz", ""); code != 200 {
		t.Errorf("health: %d", code)
	}
	code, body := w.askAs(client, "https://"+w.app.Addr()+"/status.json", "")
	if code != 403 || !strings.Contains(body, "HTTP_TLS_CERT_FILE") {
		t.Errorf("status: %d %s", code, body)
	}
}
