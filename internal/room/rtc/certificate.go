package rtc

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"math/big"
	"time"

	"github.com/pion/dtls/v3/pkg/crypto/fingerprint"
)

// certificate is our DTLS certificate. Servers verify it against the fingerprint in our offers.
type certificate struct {
	cert        tls.Certificate
	fingerprint string // SHA-256
}

// newCertificate makes a certificate that is valid for longer than any process runs, for servers
// that check its dates.
func newCertificate() (certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return certificate{}, err
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
	if err != nil {
		return certificate{}, err
	}
	t := x509.Certificate{
		SerialNumber: serial, NotBefore: time.Now().AddDate(0, 0, -1),
		NotAfter: time.Now().AddDate(20, 0, 0),
	}
	der, err := x509.CreateCertificate(rand.Reader, &t, &t, key.Public(), key)
	if err != nil {
		return certificate{}, err
	}
	parsed, err := x509.ParseCertificate(der)
	if err != nil {
		return certificate{}, err
	}
	f, err := fingerprint.Fingerprint(parsed, crypto.SHA256)
	if err != nil {
		return certificate{}, err
	}
	return certificate{
		tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: parsed},
		f,
	}, nil
}
