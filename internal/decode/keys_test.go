package decode_test

import (
	"encoding/hex"
	"strings"
	"testing"

	"github.com/livekit/protocol/livekit"

	"github.com/syncflow/textegress"
	"github.com/syncflow/textegress/internal/decode"
	"github.com/syncflow/textegress/internal/decode/decodetest"
)

// What a browser makes of a user packet with the payload "hi", encrypted with the calls that
// client-sdk-js makes (WebCrypto: PBKDF2 of the passphrase "correct horse", HKDF of the bytes 0 to
// 31, or those as the key itself) and the initialization vector 1, 2 … 12.
const (
	ofPassphrase    = "fb2cba5a3b305e560e373885176d4ad4a79d3b630cf0"
	ofPassphrase256 = "2e5c558cd7a6ad8c4e8e562aa780bbb28f1c497fb578"
	ofBytes         = "dbbd9a280989671deca20e01dd0d3fa4c4dba0ed89b6"
	ofBytes256      = "47181e565bd5226932acfb64c5667f56592757021f0b"
	ofKey           = "0c017a245b9cbe06bf917bf926c45ff608a39227ae50"
	ofKey256        = "0fee48d784fd6f60698e7f2d0696837bf0b94ecc1eed"
	bytes0to31      = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f"
)

func unhex(s string) []byte {
	b, err := hex.DecodeString(s)
	if err != nil {
		panic(err)
	}
	return b
}

func sealed(ciphertext []byte, iv ...byte) *livekit.DataPacket {
	if iv == nil {
		iv = []byte{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12}
	}
	return &livekit.DataPacket{
		ParticipantIdentity: "alice", ParticipantSid: "PA_alice",
		Value: &livekit.DataPacket_EncryptedPacket{EncryptedPacket: &livekit.EncryptedPacket{
			EncryptionType: livekit.Encryption_GCM, Iv: iv, KeyIndex: 3, EncryptedValue: ciphertext,
		}},
	}
}

func TestKeys(t *testing.T) {
	all := "another one\r\n\n" + "correct horse\n" + "hex:" + bytes0to31 + "\nhex:" +
		bytes0to31[:32]
	for name, tc := range map[string]struct {
		keys   string // "": there are none
		packet *livekit.DataPacket
		reason string // "": it is decrypted
	}{
		"a passphrase":             {"correct horse", sealed(unhex(ofPassphrase)), ""},
		"a passphrase, long key":   {"correct horse", sealed(unhex(ofPassphrase256)), ""},
		"a passphrase from a file": {"correct horse\r\n", sealed(unhex(ofPassphrase)), ""},
		"bytes": {
			string(unhex(bytes0to31)), sealed(unhex(ofBytes)),
			"",
		},
		"bytes, long key": {
			string(unhex(bytes0to31)), sealed(unhex(ofBytes256)),
			"",
		},
		"a key": {
			string(unhex(bytes0to31)[:16]), sealed(unhex(ofKey)),
			"",
		},
		"a long key": {
			string(unhex(bytes0to31)), sealed(unhex(ofKey256)),
			"",
		},
		"a key in hexadecimal": {"hex:" + bytes0to31[:32], sealed(unhex(ofKey)), ""},
		"a key in base64": {
			"base64:AAECAwQFBgcICQoLDA0ODw==",
			sealed(unhex(ofKey)), "",
		},
		"one of several, the passphrase": {all, sealed(unhex(ofPassphrase)), ""},
		"one of several, the bytes":      {all, sealed(unhex(ofBytes)), ""},
		"one of several, the key":        {all, sealed(unhex(ofKey)), ""},
		"no key": {
			"", sealed(unhex(ofPassphrase)),
			textegress.EncryptedNoKey,
		},
		"another passphrase": {
			"correct horse ", sealed(unhex(ofPassphrase)),
			textegress.EncryptedWrongKey,
		},
		"a damaged packet": {
			"correct horse",
			sealed(append([]byte{0}, unhex(ofPassphrase)...)), textegress.EncryptedWrongKey,
		},
		"another initialization vector": {
			"correct horse", sealed(unhex(ofPassphrase), 1, 2, 3),
			textegress.EncryptedWrongKey,
		},
		"no initialization vector": {
			"correct horse",
			sealed(unhex(ofPassphrase), []byte{}...), textegress.EncryptedMalformed,
		},
		"shorter than the tag": {
			"correct horse", sealed([]byte{1, 2, 3}),
			textegress.EncryptedMalformed,
		},
		"nothing": {
			"correct horse", sealed(nil),
			textegress.EncryptedMalformed,
		},
		"a huge initialization vector": {
			"correct horse",
			sealed(unhex(ofPassphrase), make([]byte, 60_000)...), textegress.EncryptedWrongKey,
		},
		"a key of nothing but a passphrase": {
			"hex", sealed(unhex(ofPassphrase)),
			textegress.EncryptedWrongKey,
		},
	} {
		t.Run(name, func(t *testing.T) {
			if name == "no initialization vector" {
				tc.packet.GetEncryptedPacket().Iv = nil
			}
			var o decode.Options
			if tc.keys != "" {
				var err error
				if o.Keys, err = decode.NewKeys([]byte(tc.keys)); err != nil {
					t.Fatal(err)
				}
			}
			f := frame(t, 1, tc.packet)
			payload := string(f.Payload)
			got := lines(t, o, f)
			if len(got) != 1 || got[0].Undecodable {
				t.Fatalf("lines %+v", got)
			}
			m := got[0].Message
			if e := m.Encryption; e == nil || e.Type != "gcm" || e.KeyIndex != 3 ||
				e.Reason != tc.reason || e.Decrypted != (tc.reason == "") {
				t.Fatalf("encryption %+v, want %q", e, tc.reason)
			}
			if m.Identity != "alice" || m.ParticipantSID != "PA_alice" {
				t.Errorf("sender %q, %q", m.Identity, m.ParticipantSID)
			}
			if tc.reason == "" {
				if m.Kind != textegress.KindData || m.Text == nil || *m.Text != "hi" ||
					m.Field != 0 {
					t.Errorf("got %+v", m)
				}
			} else if m.Kind != textegress.KindEncrypted || string(m.Base64) != payload ||
				m.Text != nil || m.Field != 18 {
				t.Errorf("got %+v", m)
			}
		})
	}
}

func TestNoKeys(t *testing.T) {
	for text, says := range map[string]string{
		"":                            "no key",
		"\n\r\n":                      "no key",
		"hex:00":                      "16 to 1024 bytes",
		"hex:secret":                  "not hexadecimal",
		"base64:secret!":              "not base64",
		"fine\nhex:secret":            "key 2",
		"\x00\x01":                    "16 to 1024 bytes",
		strings.Repeat("many\n", 100): "at most 64",
		strings.Repeat("\x00", 5000):  "16 to 1024 bytes",
	} {
		_, err := decode.NewKeys([]byte(text))
		if err == nil || !strings.Contains(err.Error(), says) ||
			strings.Contains(err.Error(), "secret") {
			t.Errorf("%.20q: %v", text, err)
		}
	}
}

// TestEncryptedSenderIsTheServers: what is inside was not seen by the server, so nobody can pose as
// another one with it.
func TestEncryptedSenderIsTheServers(t *testing.T) {
	keys, err := decode.NewKeys([]byte("s"))
	if err != nil {
		t.Fatal(err)
	}
	p := decodetest.Encrypt("s", 1, &livekit.EncryptedPacketPayload{Value: &livekit.EncryptedPacketPayload_User{
		User: &livekit.UserPacket{
			ParticipantIdentity: "mallory", ParticipantSid: "PA_m",
			Payload: []byte("x"),
		},
	}})
	p.ParticipantSid = "PA_hidden" // a hidden sender has no identity
	if got := lines(t, decode.Options{Keys: keys}, frame(t, 1, p))[0]; got.Identity != "" ||
		got.ParticipantSID != "PA_hidden" || *got.Text != "x" {
		t.Errorf("%+v", got.Message)
	}
}

// TestEncryptedStreams: a stream is put together of decrypted packets, and not if a part of it came
// in clear.
func TestEncryptedStreams(t *testing.T) {
	keys, err := decode.NewKeys([]byte("s"))
	if err != nil {
		t.Fatal(err)
	}
	h := decodetest.Encrypt("s", 1, &livekit.EncryptedPacketPayload{
		Value: &livekit.EncryptedPacketPayload_StreamHeader{StreamHeader: text("s",
			2).GetStreamHeader()},
	})
	c := decodetest.Encrypt("s", 1, &livekit.EncryptedPacketPayload{
		Value: &livekit.EncryptedPacketPayload_StreamChunk{StreamChunk: part("s", 0,
			"hi").GetStreamChunk()},
	})
	e := decodetest.Encrypt("s", 1, &livekit.EncryptedPacketPayload{
		Value: &livekit.EncryptedPacketPayload_StreamTrailer{StreamTrailer: trailer("s",
			"").GetStreamTrailer()},
	})
	got := lines(t, decode.Options{Keys: keys}, newTape(t).from("alice", h).from("alice",
		c).from("alice", e).frames...)
	if len(got) != 1 || !got[0].Stream.Complete || *got[0].Text != "hi" ||
		!got[0].Encryption.Decrypted {
		t.Errorf("%+v", got[0].Stream)
	}
	got = lines(t, decode.Options{Keys: keys}, newTape(t).from("alice", h).from("alice",
		part("s", 0, "ho")).from("alice", e).frames...)
	if len(got) != 1 || got[0].Stream.Incomplete != textegress.StreamEncryptionMixed {
		t.Errorf("%+v", got[0].Stream)
	}
	unknown := decodetest.Encrypt("s", 1, &livekit.EncryptedPacketPayload{})
	if got := lines(t, decode.Options{Keys: keys},
		frame(t, 1, unknown))[0]; got.Kind != textegress.KindEncrypted ||
		got.Encryption.Reason != textegress.EncryptedMalformed {
		t.Errorf("%+v", got.Message)
	}
}
