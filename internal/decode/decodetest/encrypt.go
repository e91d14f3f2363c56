// Package decodetest provides packets for tests, encrypted as LiveKit's SDKs encrypt them.
package decodetest

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/pbkdf2"
	"crypto/sha256"
	"sync"

	"github.com/livekit/protocol/livekit"
	"google.golang.org/protobuf/proto"
)

// derived holds the keys made so far, as passphrase string to key []byte: deriving one takes a
// while.
var derived sync.Map

// Encrypt encrypts a packet as LiveKit's SDKs do with a passphrase: AES-128-GCM with a key derived
// by PBKDF2, whose salt and number of iterations are those of livekit-client. The initialization
// vector consists of the byte iv. Encrypt is safe for concurrent use.
func Encrypt(passphrase string, iv byte,
	inner *livekit.EncryptedPacketPayload,
) *livekit.DataPacket {
	key, ok := derived.Load(passphrase)
	if !ok {
		key, _ = derived.LoadOrStore(passphrase, must(pbkdf2.Key(sha256.New, passphrase,
			[]byte("LKFrameEncryptionKey"), 100_000, 16)))
	}
	gcm := must(cipher.NewGCM(must(aes.NewCipher(key.([]byte)))))
	nonce := bytes.Repeat([]byte{iv}, gcm.NonceSize())
	return &livekit.DataPacket{Value: &livekit.DataPacket_EncryptedPacket{
		EncryptedPacket: &livekit.EncryptedPacket{
			EncryptionType: livekit.Encryption_GCM, Iv: nonce,
			EncryptedValue: gcm.Seal(nil, nonce, must(proto.Marshal(inner)), nil),
		},
	}}
}

// must panics where a test could go no further.
func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}
