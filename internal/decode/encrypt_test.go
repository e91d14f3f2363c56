package decode_test

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/pbkdf2"
	"crypto/sha256"

	"github.com/livekit/protocol/livekit"
	"google.golang.org/protobuf/proto"
)

// encrypt does what an SDK does with a passphrase.
func encrypt(passphrase string, inner *livekit.EncryptedPacketPayload) *livekit.DataPacket {
	key, err := pbkdf2.Key(sha256.New, passphrase, []byte("LKFrameEncryptionKey"), 100_000, 16)
	if err != nil {
		panic(err)
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		panic(err)
	}
	gcm, err := cipher.NewGCM(block)
	if err != nil {
		panic(err)
	}
	plain, err := proto.Marshal(inner)
	if err != nil {
		panic(err)
	}
	p := sealed(gcm.Seal(nil, []byte{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12}, plain, nil))
	p.ParticipantIdentity, p.ParticipantSid = "", ""
	return p
}
