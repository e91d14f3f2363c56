package access

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"strings"
	"testing"
	"time"
)

// pair returns a certificate for 127.0.0.1 and its key, as PEM.
func pair(t *testing.T, name string, until time.Time) (cert, key string) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name},
		NotBefore: until.Add(-time.Hour), NotAfter: until,
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &private.PublicKey, private)
	if err != nil {
		t.Fatal(err)
	}
	encoded, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})),
		string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: encoded}))
}

// TestCertificates: a renewal takes effect with the next connection; what cannot be used does not.
func TestCertificates(t *testing.T) {
	cert, key := pair(t, "first", time.Now().Add(time.Hour))
	certFile, keyFile := file(t, cert), file(t, key)
	c := NewCertificates(certFile, keyFile)
	served := func() string {
		t.Helper()
		current, err := c.Config().GetCertificate(nil)
		if err != nil {
			t.Fatal(err)
		}
		leaf, err := x509.ParseCertificate(current.Certificate[0])
		if err != nil {
			t.Fatal(err)
		}
		return leaf.Subject.CommonName
	}
	write := func(path, content string) {
		t.Helper()
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := c.Load(); err != nil || served() != "first" || c.Problem() != nil {
		t.Fatalf("first: %v", err)
	}
	nextCert, nextKey := pair(t, "second", time.Now().Add(time.Hour))
	write(certFile, nextCert) // the key is still to come
	if err := c.Load(); err == nil || served() != "first" || c.Problem() != nil {
		t.Errorf("half of a renewal: %v, served %s", err, served())
	}
	write(keyFile, nextKey)
	if err := c.Load(); err != nil || served() != "second" {
		t.Errorf("the renewal: %v, served %s", err, served())
	}
	if err := os.Remove(keyFile); err != nil {
		t.Fatal(err)
	}
	if err := c.Load(); err == nil || !strings.Contains(err.Error(), "HTTP_TLS_KEY_FILE") ||
		strings.Contains(err.Error(), keyFile) || served() != "second" {
		t.Errorf("no key: %v, served %s", err, served())
	}
	if c.Config().MinVersion < tls.VersionTLS12 {
		t.Error("TLS before 1.2")
	}
}

// TestCertificatesThatCannotBeUsed: at the start the server has another one, so that health is
// served, and the doors are closed.
func TestCertificatesThatCannotBeUsed(t *testing.T) {
	expired, key := pair(t, "expired", time.Now().Add(-time.Minute))
	for name, files := range map[string][2]string{
		"missing": {"/nowhere/cert", "/nowhere/key"},
		"no PEM":  {file(t, "x"), file(t, "y")},
		"expired": {file(t, expired), file(t, key)},
	} {
		c := NewCertificates(files[0], files[1])
		if err := c.Load(); err == nil || !strings.Contains(err.Error(), "HTTP_TLS_CERT_FILE") {
			t.Errorf("%s: %v", name, err)
		}
		current, err := c.Config().GetCertificate(nil)
		if err != nil || current == nil {
			t.Fatalf("%s: no certificate: %v", name, err)
		}
		_, h := open(t, options{
			Options: Options{Certificates: c}, users: true, at: anywhere,
		})
		resp := ask(t, h, request{authorization: basic("alice", "alice's word")})
		if body := text(t, resp); resp.StatusCode != 403 || !strings.Contains(body, "SIGHUP") {
			t.Errorf("%s: %s %s", name, resp.Status, body)
		}
	}
}
