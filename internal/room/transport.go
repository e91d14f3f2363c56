package room

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"strings"

	"github.com/pion/datachannel"
	"github.com/pion/dtls/v3"
	"github.com/pion/dtls/v3/pkg/crypto/fingerprint"
	"github.com/pion/sctp"
)

// mtu is the size of the SCTP packets we send, as in browsers: with DTLS, UDP and IP around it fits
// every path.
const mtu = 1200

// connect brings the connection up over the answer's path: ICE, DTLS on it, SCTP on that, and our
// channels. It ends when the channels have ended.
func (p *peer) connect(a answer) {
	if err := p.establish(a); err != nil && p.ctx.Err() == nil {
		p.fail(err.Error())
	}
}

func (p *peer) establish(a answer) error {
	path, err := p.agent.Dial(p.ctx, a.ufrag, a.pwd)
	if err != nil {
		return errors.New("ICE failed") // pion's words have nothing to add
	}
	p.data.out.Store(path)
	p.mu.Lock()
	p.path = path
	if p.relays {
		p.readRelay()
	}
	p.mu.Unlock()
	secure, err := p.handshake(a)
	if err != nil {
		return fmt.Errorf("DTLS: %w", err)
	}
	// sctp has no other way to be interrupted
	stop := context.AfterFunc(p.ctx, func() { _ = secure.Close() })
	assoc, err := sctp.ClientWithOptions(sctp.WithNetConn(secure), sctp.WithLoggerFactory(noLog{}),
		sctp.WithMTU(mtu),
		sctp.WithMaxReceiveBufferSize(receiveBuffer), sctp.WithEnableZeroChecksum(true))
	if err != nil {
		_ = secure.Close()
		return fmt.Errorf("SCTP: %w", err)
	}
	p.mu.Lock()
	if p.closing || !stop() {
		p.mu.Unlock()
		_ = assoc.Close() // and what is below it
		return p.ctx.Err()
	}
	p.secure, p.assoc = secure, assoc
	p.mu.Unlock()
	ours, err := p.openChannels(assoc, a.dtlsServer)
	if err != nil {
		return fmt.Errorf("data channels: %w", err)
	}
	p.accept(assoc, ours)
	return nil
}

// handshake makes the secure connection. Which side begins is the server's choice.
func (p *peer) handshake(a answer) (*dtls.Conn, error) {
	options := []dtls.Option{
		// the fingerprint is what counts
		dtls.WithCertificates(p.certificate.cert), dtls.WithLoggerFactory(noLog{}),
		dtls.WithInsecureSkipVerify(true),
		dtls.WithVerifyPeerCertificate(func(raw [][]byte, _ [][]*x509.Certificate) error {
			return a.verify(raw)
		}),
		// For media, which we have none of; but a server on pion ends a connection without them.
		dtls.WithSRTPProtectionProfiles(dtls.SRTP_AEAD_AES_256_GCM, dtls.SRTP_AEAD_AES_128_GCM,
			dtls.SRTP_AES128_CM_HMAC_SHA1_80),
	}
	var c *dtls.Conn
	var err error
	if a.dtlsServer {
		var o []dtls.ClientOption
		for _, x := range options {
			o = append(o, x)
		}
		c, err = dtls.ClientWithOptions(p.data, theServer, o...)
	} else {
		// The cookie exchange would prove that the server has its address, which ICE has just done.
		o := []dtls.ServerOption{
			dtls.WithClientAuth(dtls.RequireAnyClientCert),
			dtls.WithInsecureSkipVerifyHello(true),
		}
		for _, x := range options {
			o = append(o, x)
		}
		c, err = dtls.ServerWithOptions(p.data, theServer, o...)
	}
	if err != nil {
		return nil, err
	}
	if err := c.HandshakeContext(p.ctx); err != nil {
		_ = c.Close()
		return nil, err
	}
	return c, nil
}

// verify compares the server's certificate to what its answer, which came over the websocket, says
// of it.
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

// readRelay passes on what TURN servers relay to us. p.mu is held, and the path is there.
func (p *peer) readRelay() {
	p.relayed.Do(func() {
		path := p.path
		p.tasks.Go(func() {
			b := make([]byte, maxDatagram)
			for {
				n, err := path.Read(b)
				if err != nil {
					return
				}
				p.data.put(b[:n])
			}
		})
	})
}

// openChannels creates the channels on which the server sends; one without data tracks leaves the
// third unused. It must be us who do it: the server sends with the reliability that the opener
// declared, and declared like this not even lossy packets are lost between the server and us.
// Packets of data tracks are not lost on the way, but a server of 1.13 drops what it cannot send at
// once (livekit-server, NewDataChannelWriterUnreliable; datachannel_data_track_target_latency).
func (p *peer) openChannels(assoc *sctp.Association, even bool) ([]*datachannel.DataChannel,
	error,
) {
	id := uint16(1) // the DTLS server's are odd (RFC 8832, section 6)
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
		p.attach(ch, dc)
		all = append(all, dc)
		id += 2
	}
	return all, nil
}

// accept reads what channels the server opens, whatever they are: unread data would fill the
// receive window, which all share.
func (p *peer) accept(assoc *sctp.Association, ours []*datachannel.DataChannel) {
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
			p.attach(channelOf(dc.Config.Label), dc)
		}
	}
}
