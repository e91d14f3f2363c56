package rtc

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"strings"

	"github.com/pion/datachannel"
	"github.com/pion/dtls/v3"
	"github.com/pion/dtls/v3/pkg/crypto/fingerprint"
	"github.com/pion/sctp"
)

// mtu is the size of our SCTP packets, as in browsers. With the headers of DTLS, UDP and IP, it
// fits every path.
const mtu = 1200

// connect establishes the connection that the answer describes: ICE, DTLS over ICE, SCTP over DTLS,
// and our channels. It returns when the channels have ended.
func (c *Conn) connect(a answer) {
	if err := c.establish(a); err != nil && c.ctx.Err() == nil {
		c.fail(err.Error())
	}
}

func (c *Conn) establish(a answer) error {
	path, err := c.agent.Dial(c.ctx, a.ufrag, a.pwd)
	if err != nil {
		return errors.New("ICE failed") // pion's error adds nothing
	}
	c.dtls.out.Store(path)
	c.mu.Lock()
	c.path = path
	if c.turn {
		c.readRelayed()
	}
	c.mu.Unlock()
	secure, err := c.handshake(a)
	if err != nil {
		return fmt.Errorf("DTLS: %w", err)
	}
	// closing DTLS is the only way to interrupt sctp
	stop := context.AfterFunc(c.ctx, func() { _ = secure.Close() })
	var below net.Conn = secure
	if c.dtls.arrivals != nil {
		below = arrivalConn{secure, c.dtls.arrivals}
	}
	assoc, err := sctp.ClientWithOptions(sctp.WithNetConn(below), sctp.WithLoggerFactory(noLog{}),
		sctp.WithMTU(mtu),
		sctp.WithMaxReceiveBufferSize(receiveBuffer), sctp.WithEnableZeroChecksum(true))
	if err != nil {
		_ = secure.Close()
		return fmt.Errorf("SCTP: %w", err)
	}
	c.mu.Lock()
	if c.closing || !stop() {
		c.mu.Unlock()
		_ = assoc.Close() // also closes the layers below
		return c.ctx.Err()
	}
	c.secure, c.assoc = secure, assoc
	c.mu.Unlock()
	ours, err := c.openChannels(assoc, a.dtlsServer)
	if err != nil {
		return fmt.Errorf("data channels: %w", err)
	}
	c.accept(assoc, ours)
	return nil
}

// handshake establishes the DTLS connection. The server chooses which side starts.
func (c *Conn) handshake(a answer) (*dtls.Conn, error) {
	options := []dtls.Option{
		// verify checks the fingerprint instead
		dtls.WithCertificates(c.certificate.cert), dtls.WithLoggerFactory(noLog{}),
		dtls.WithInsecureSkipVerify(true),
		dtls.WithVerifyPeerCertificate(func(raw [][]byte, _ [][]*x509.Certificate) error {
			return a.verify(raw)
		}),
		// SRTP profiles are for media, which we do not have, but a server that uses pion ends a
		// connection without them.
		dtls.WithSRTPProtectionProfiles(dtls.SRTP_AEAD_AES_256_GCM, dtls.SRTP_AEAD_AES_128_GCM,
			dtls.SRTP_AES128_CM_HMAC_SHA1_80),
	}
	var conn *dtls.Conn
	var err error
	if a.dtlsServer {
		var o []dtls.ClientOption
		for _, x := range options {
			o = append(o, x)
		}
		conn, err = dtls.ClientWithOptions(c.dtls, placeholderAddr, o...)
	} else {
		// The cookie exchange is skipped: it would verify the server's address, which ICE has just
		// done.
		o := []dtls.ServerOption{
			dtls.WithClientAuth(dtls.RequireAnyClientCert),
			dtls.WithInsecureSkipVerifyHello(true),
		}
		for _, x := range options {
			o = append(o, x)
		}
		conn, err = dtls.ServerWithOptions(c.dtls, placeholderAddr, o...)
	}
	if err != nil {
		return nil, err
	}
	if err := conn.HandshakeContext(c.ctx); err != nil {
		_ = conn.Close()
		return nil, err
	}
	return conn, nil
}

// verify compares the server's certificate with the fingerprints in its answer, which arrived over
// the websocket.
func (a answer) verify(raw [][]byte) error {
	if len(raw) == 0 {
		return errors.New("the server has no certificate")
	}
	cert, err := x509.ParseCertificate(raw[0])
	if err != nil {
		return err
	}
	for _, f := range a.fingerprints {
		hash, err := fingerprint.HashFromString(f[0])
		if err != nil {
			continue
		}
		if v, err := fingerprint.Fingerprint(cert, hash); err == nil && strings.EqualFold(v, f[1]) {
			return nil
		}
	}
	return errors.New("the server's certificate is not the one of its answer")
}

// openChannels opens the channels on which the server sends. A server without data tracks leaves
// the third unused. We open the channels because the server sends with the reliability that the
// opener declares. As declared here, not even lossy packets are lost between the server and us.
// Packets of data tracks are not lost on the way either, but a 1.13 server drops those that it
// cannot send immediately (livekit-server, NewDataChannelWriterUnreliable;
// datachannel_data_track_target_latency).
func (c *Conn) openChannels(assoc *sctp.Association, even bool) ([]*datachannel.DataChannel,
	error,
) {
	id := uint16(1) // the DTLS server uses odd stream ids (RFC 8832, section 6)
	if even {
		id = 0
	}
	var all []*datachannel.DataChannel
	for _, ch := range []Channel{Reliable, Lossy, DataTrack} {
		dc, err := datachannel.Dial(assoc, id, &datachannel.Config{
			ChannelType: datachannel.ChannelTypeReliable,
			Priority:    datachannel.ChannelPriorityNormal, Label: ch.String(),
			LoggerFactory: noLog{},
		})
		if err != nil {
			return nil, err
		}
		c.attach(ch, id, dc)
		c.mu.Lock()
		c.own[ch] = dc
		c.mu.Unlock()
		all = append(all, dc)
		id += 2
	}
	return all, nil
}

// accept reads all channels that the server opens, even unknown ones, because unread data would
// fill the receive window, which all channels share.
func (c *Conn) accept(assoc *sctp.Association, ours []*datachannel.DataChannel) {
	for {
		dc, err := datachannel.Accept(assoc, &datachannel.Config{LoggerFactory: noLog{}}, ours...)
		if err != nil {
			return
		}
		known := false
		for _, o := range ours {
			known = known || o.StreamIdentifier() == dc.StreamIdentifier()
		}
		if !known {
			c.attach(channelOf(dc.Config.Label), dc.StreamIdentifier(), dc)
		}
	}
}
