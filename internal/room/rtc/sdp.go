package rtc

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"

	"github.com/pion/ice/v4"
	"github.com/pion/sdp/v3"
)

// maxMessage is the maximum message size that we announce. It is so large that LiveKit need not
// consider a limit.
const maxMessage = 1<<30 - 1

// description contains the fixed values of our offers.
type description struct {
	session     uint64 // session id of the origin line
	fingerprint string // SHA-256 fingerprint of our certificate
}

func newDescription(fingerprint string) description {
	return description{session: rand.Uint64() >> 2, fingerprint: fingerprint}
}

// offer returns an offer with one data section and nothing else (RFC 8841).
func (d description) offer(version uint64, ufrag, pwd string, candidates []string,
	all bool,
) (string, error) {
	m := &sdp.MediaDescription{
		MediaName: sdp.MediaName{
			Media: "application", Port: sdp.RangedPort{Value: 9},
			Protos: []string{"UDP", "DTLS", "SCTP"}, Formats: []string{"webrtc-datachannel"},
		},
		ConnectionInformation: &sdp.ConnectionInformation{
			NetworkType: "IN", AddressType: "IP4",
			Address: &sdp.Address{Address: "0.0.0.0"},
		},
	}
	m.WithValueAttribute("setup", "actpass").WithValueAttribute("mid",
		sdpMid).WithPropertyAttribute("sendrecv").
		WithValueAttribute("sctp-port", "5000").WithValueAttribute("max-message-size",
		strconv.Itoa(maxMessage)).
		WithValueAttribute("ice-ufrag", ufrag).WithValueAttribute("ice-pwd", pwd)
	for _, c := range candidates {
		m.WithValueAttribute("candidate", c)
	}
	if all {
		m.WithPropertyAttribute("end-of-candidates")
	}
	s := &sdp.SessionDescription{
		Origin: sdp.Origin{
			Username: "-", SessionID: d.session, SessionVersion: version, NetworkType: "IN",
			AddressType: "IP4", UnicastAddress: "0.0.0.0",
		},
		SessionName: "-", TimeDescriptions: []sdp.TimeDescription{{}},
	}
	s.WithValueAttribute("fingerprint", "sha-256 "+d.fingerprint).WithValueAttribute("group",
		"BUNDLE "+sdpMid).WithMedia(m)
	b, err := s.Marshal()
	return string(b), err
}

// sdpMid is the name of the data section.
const sdpMid = "0"

// answer contains the required values of the server's answer.
type answer struct {
	ufrag, pwd   string
	fingerprints [][2]string // hash function, value
	dtlsServer   bool        // the server is the DTLS server, and we start the handshake
	candidates   []string
}

// parseAnswer parses an answer. Attributes may be in the data section or, for all sections, at the
// session level.
func parseAnswer(text string) (answer, error) {
	var s sdp.SessionDescription
	if err := s.UnmarshalString(text); err != nil {
		// the error contains the line, which may be the password
		return answer{}, errors.New("it is not SDP")
	}
	i := slices.IndexFunc(s.MediaDescriptions,
		func(m *sdp.MediaDescription) bool { return m.MediaName.Media == "application" })
	if i < 0 || s.MediaDescriptions[i].MediaName.Port.Value == 0 {
		return answer{}, errors.New("it has no data section")
	}
	m := s.MediaDescriptions[i]
	get := func(name string) string {
		if v, ok := m.Attribute(name); ok {
			return v
		}
		v, _ := s.Attribute(name)
		return v
	}
	a := answer{ufrag: get("ice-ufrag"), pwd: get("ice-pwd"), dtlsServer: get("setup") == "passive"}
	for _, at := range slices.Concat(s.Attributes, m.Attributes) {
		switch at.Key {
		case "fingerprint":
			hash, value, _ := strings.Cut(at.Value, " ")
			a.fingerprints = append(a.fingerprints, [2]string{hash, value})
		case "candidate":
			a.candidates = append(a.candidates, at.Value)
		}
	}
	switch {
	case a.ufrag == "" || a.pwd == "":
		return answer{}, errors.New("it has no ICE credentials")
	case len(a.fingerprints) == 0:
		return answer{}, errors.New("it has no fingerprint")
	}
	return a, nil
}

// candidateInit is a candidate in signalling: the RTCIceCandidateInit of WebRTC, in JSON.
type candidateInit struct {
	Candidate     string  `json:"candidate"`
	SDPMid        *string `json:"sdpMid"`
	SDPMLineIndex *uint16 `json:"sdpMLineIndex"`
	Ufrag         *string `json:"usernameFragment"`
}

func initOf(c string, ufrag string) candidateInit {
	mid, line := sdpMid, uint16(0)
	return candidateInit{
		Candidate: "candidate:" + c, SDPMid: &mid, SDPMLineIndex: &line,
		Ufrag: &ufrag,
	}
}

// errOtherCandidate rejects a candidate that is not for this connection: a candidate for RTCP, or
// of an earlier ICE session.
var errOtherCandidate = errors.New("not for this connection")

// parseCandidate parses a candidate of the ICE session with the given ufrag.
func parseCandidate(text, ufrag string) (ice.Candidate, error) {
	c, err := ice.UnmarshalCandidate(strings.TrimPrefix(text, "candidate:"))
	if err != nil {
		return nil, fmt.Errorf("a candidate: %w", err)
	}
	if u, ok := c.GetExtension("ufrag"); ok && u.Value != ufrag ||
		c.Component() != ice.ComponentRTP {
		return nil, errOtherCandidate
	}
	return c, nil
}
