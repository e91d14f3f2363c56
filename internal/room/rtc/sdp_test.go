package rtc

import (
	"crypto/x509"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pion/webrtc/v4"
)

// An offer is one that a WebRTC server understands, and says what we want of it.
func TestOffer(t *testing.T) {
	text, err := newDescription("AA:BB").offer(3, "frag", "secretsecretsecretsecret",
		[]string{"1 1 udp 2130706431 192.0.2.1 5000 typ host"}, true)
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range []string{
		"m=application 9 UDP/DTLS/SCTP webrtc-datachannel", "a=group:BUNDLE 0", "a=mid:0",
		"a=setup:actpass", "a=ice-ufrag:frag", "a=end-of-candidates",
		"a=fingerprint:sha-256 AA:BB", "a=candidate:1 1 udp 2130706431 192.0.2.1 5000 typ host",
		"a=sctp-port:5000",
	} {
		if !slices.Contains(strings.Split(text, "\r\n"), line) {
			t.Errorf("no line %q in\n%s", line, text)
		}
	}
	if strings.Count(text, "m=") != 1 {
		t.Errorf("more than a data section:\n%s", text)
	}
	o := webrtc.SessionDescription{Type: webrtc.SDPTypeOffer, SDP: text}
	if _, err := o.Unmarshal(); err != nil {
		t.Error(err)
	}
}

const answerText = "v=0\r\no=- 1 1 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\na=fingerprint:sha-256 " +
	"CC:DD\r\na=ice-lite\r\n" +
	"m=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\nc=IN IP4 " +
	"0.0.0.0\r\na=setup:active\r\na=mid:0\r\na=ice-ufrag:u\r\na=ice-pwd:p\r\n" +
	"a=candidate:1 1 udp 1 192.0.2.7 7 typ host\r\n"

func TestParseAnswer(t *testing.T) {
	a, err := parseAnswer(answerText)
	if err != nil {
		t.Fatal(err)
	}
	if a.ufrag != "u" || a.pwd != "p" || a.dtlsServer || len(a.candidates) != 1 ||
		len(a.fingerprints) != 1 || a.fingerprints[0] != [2]string{"sha-256", "CC:DD"} {
		t.Errorf("got %+v", a)
	}
	if a, err := parseAnswer(strings.Replace(answerText, "setup:active", "setup:passive",
		1)); err != nil || !a.dtlsServer {
		t.Errorf("passive: %+v, %v", a, err)
	}
	for change, want := range map[[2]string]string{
		{"v=0", "v=secret"}:                     "not SDP",
		{"m=application 9", "m=audio 9"}:        "data section",
		{"m=application 9", "m=application 0"}:  "data section",
		{"a=ice-pwd:p\r\n", ""}:                 "credentials",
		{"a=fingerprint:sha-256 CC:DD\r\n", ""}: "fingerprint",
	} {
		_, err := parseAnswer(strings.Replace(answerText, change[0], change[1], 1))
		if err == nil || !strings.Contains(err.Error(), want) ||
			strings.Contains(err.Error(), "secret") {
			t.Errorf("%q: %v, want something about %q", change[1], err, want)
		}
	}
}

// Candidates of RTCP or of an ICE session before are not ours.
func TestParseCandidate(t *testing.T) {
	for text, ok := range map[string]bool{
		"candidate:1 1 udp 2130706431 192.0.2.1 5000 typ host":           true,
		"1 1 udp 2130706431 192.0.2.1 5000 typ host ufrag now":           true,
		"candidate:1 1 udp 2130706431 192.0.2.1 5000 typ host ufrag old": false,
		"candidate:1 2 udp 2130706431 192.0.2.1 5000 typ host":           false,
		"candidate:nonsense": false,
	} {
		if _, err := parseCandidate(text, "now"); (err == nil) != ok {
			t.Errorf("%q: %v", text, err)
		}
	}
}

// A recorder runs for years; servers refuse certificates that are out of date, or not yet in it by
// their clock.
func TestCertificateLasts(t *testing.T) {
	c, err := newCertificate()
	if err != nil {
		t.Fatal(err)
	}
	leaf := c.cert.Leaf
	if leaf.NotBefore.After(time.Now().Add(-time.Hour)) ||
		leaf.NotAfter.Before(time.Now().AddDate(10, 0, 0)) {
		t.Errorf("valid from %v to %v", leaf.NotBefore, leaf.NotAfter)
	}
	other, err := newCertificate()
	if err != nil {
		t.Fatal(err)
	}
	a := answer{fingerprints: [][2]string{
		{"sha-1024", "x"},
		{"sha-256", strings.ToLower(c.fingerprint)},
	}}
	if err := a.verify(c.cert.Certificate); err != nil {
		t.Error(err)
	}
	if a.verify(other.cert.Certificate) == nil || a.verify(nil) == nil ||
		a.verify([][]byte{{1}}) == nil {
		t.Error("any certificate will do")
	}
	if _, err := x509.ParseCertificate(c.cert.Certificate[0]); err != nil {
		t.Error(err)
	}
}
