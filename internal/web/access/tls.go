package access

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"sync"
	"time"
)

// Certificates are the certificate and the key of the server, which can be renewed while it runs.
type Certificates struct {
	certFile, keyFile string

	mu      sync.RWMutex // guards the rest
	current *tls.Certificate
	problem error // nil once the files were read
}

// NewCertificates returns the certificates of two PEM files, which [Certificates.Load] reads.
func NewCertificates(certFile, keyFile string) *Certificates {
	return &Certificates{
		certFile: certFile, keyFile: keyFile, problem: errors.New("the files were not read"),
	}
}

// Load reads the files again. If they cannot be used, the certificate stays as it was. A service
// that starts with files that cannot be used has a certificate of its own making, which nobody
// trusts: recording does not depend on the page, and health checks seldom look at certificates.
func (c *Certificates) Load() error {
	pair, err := tls.LoadX509KeyPair(c.certFile, c.keyFile)
	if err == nil && pair.Leaf != nil && time.Now().After(pair.Leaf.NotAfter) {
		err = fmt.Errorf("it expired at %s", pair.Leaf.NotAfter.UTC().Format(time.RFC3339))
	}
	if pe, ok := errors.AsType[*fs.PathError](err); ok {
		name := "HTTP_TLS_CERT_FILE"
		if pe.Path == c.keyFile && c.keyFile != c.certFile {
			name = "HTTP_TLS_KEY_FILE"
		}
		err = fmt.Errorf("%s cannot be read: %w", name, pe.Err)
	} else if err != nil {
		err = fmt.Errorf("HTTP_TLS_CERT_FILE, HTTP_TLS_KEY_FILE: %w", err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if err == nil {
		c.current, c.problem = &pair, nil
		return nil
	}
	if c.current == nil {
		c.problem = err
		own, ownErr := selfSigned()
		if ownErr != nil {
			return errors.Join(err, ownErr)
		}
		c.current = own
	}
	return err
}

// Problem says why the files could never be used, nil if they could.
func (c *Certificates) Problem() error {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return c.problem
}

// Config is the configuration of a server with the current certificate.
func (c *Certificates) Config() *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS12,
		NextProtos: []string{"http/1.1"},
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
			c.mu.RLock()
			defer c.mu.RUnlock()
			return c.current, nil
		},
	}
}

func selfSigned() (*tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("make a certificate: %w", err)
	}
	now := time.Now()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(now.UnixNano()),
		Subject:      pkix.Name{CommonName: "textegress without a certificate"},
		NotBefore:    now.Add(-time.Hour), NotAfter: now.AddDate(1, 0, 0),
		KeyUsage:    x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		return nil, fmt.Errorf("make a certificate: %w", err)
	}
	return &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, nil
}
