package decode

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/pbkdf2"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/livekit/protocol/livekit"
	"google.golang.org/protobuf/proto"

	"github.com/syncflow/textegress"
)

// The parameters of LiveKit's end-to-end encryption with a shared key (client-sdk-js,
// src/e2ee/utils.ts; server-sdk-go, e2ee/keyprovider.go): AES in Galois/Counter Mode without
// additional data. PBKDF2 derives the key from a passphrase. Raw bytes are the key itself in the Go
// SDK, and input to HKDF in the JavaScript SDK.
const (
	keySalt       = "LKFrameEncryptionKey"
	keyIterations = 100_000
	hkdfInfoSize  = 128 // zero bytes
	maxKeys       = 64
)

// Keys holds the shared keys of a project's encrypted rooms. Decryption tries every key on a
// packet, regardless of the sender's key index. The authentication tag identifies the right key, so
// a wrong key never yields garbage.
type Keys struct{ blocks []cipher.Block }

// NewKeys returns the keys in a text: one key per line, in any order. A line is a passphrase, or
// "hex:" or "base64:" and a raw key. Empty lines are ignored. If the text contains invalid UTF-8,
// or control characters other than tabs and line ends, all of it is one raw key. The error contains
// no part of the text.
func NewKeys(text []byte) (*Keys, error) {
	k := &Keys{}
	if !isText(text) {
		return k, k.addRaw(text)
	}
	var named []string
	for line := range strings.Lines(string(text)) {
		if line = strings.TrimRight(line, "\r\n"); line != "" {
			named = append(named, line)
		}
	}
	switch {
	case len(named) == 0:
		return nil, errors.New("there is no key")
	case len(named) > maxKeys:
		return nil, fmt.Errorf("there are %d keys, at most %d are possible", len(named), maxKeys)
	}
	for i, line := range named {
		if err := k.addLine(line); err != nil {
			return nil, fmt.Errorf("key %d: %w", i+1, err)
		}
	}
	return k, nil
}

func isText(b []byte) bool {
	return utf8.Valid(b) && bytes.IndexFunc(b, func(r rune) bool {
		return unicode.IsControl(r) &&
			r != '\n' && r != '\r' && r != '\t'
	}) < 0
}

func (k *Keys) addLine(line string) error {
	if s, ok := strings.CutPrefix(line, "hex:"); ok {
		b, err := hex.DecodeString(s)
		if err != nil {
			return errors.New("what follows hex: is not hexadecimal")
		}
		return k.addRaw(b)
	}
	if s, ok := strings.CutPrefix(line, "base64:"); ok {
		b, err := base64.StdEncoding.DecodeString(s)
		if err != nil {
			return errors.New("what follows base64: is not base64")
		}
		return k.addRaw(b)
	}
	derived, err := pbkdf2.Key(sha256.New, line, []byte(keySalt), keyIterations, 32)
	if err != nil {
		return fmt.Errorf("derive: %w", err)
	}
	// Keys of 128 bits are the default of the SDKs. They are prefixes of the keys of 256 bits.
	return k.add(derived[:16], derived)
}

func (k *Keys) addRaw(b []byte) error {
	if len(b) < 16 || len(b) > 1024 {
		return fmt.Errorf("a raw key has 16 to 1024 bytes, this has %d", len(b))
	}
	derived, err := hkdf.Key(sha256.New, b, []byte(keySalt), string(make([]byte, hkdfInfoSize)), 32)
	if err != nil {
		return fmt.Errorf("derive: %w", err)
	}
	if len(b) == 16 || len(b) == 32 {
		if err := k.add(b); err != nil {
			return err
		}
	}
	return k.add(derived[:16], derived)
}

func (k *Keys) add(keys ...[]byte) error {
	for _, key := range keys {
		b, err := aes.NewCipher(key)
		if err != nil {
			return err
		}
		k.blocks = append(k.blocks, b)
	}
	return nil
}

// open decrypts e and moves its content into p. k may be nil. last is the index of the key that
// last succeeded.
func (k *Keys) open(e *livekit.EncryptedPacket, p *livekit.DataPacket,
	last *int,
) *textegress.EncryptionInfo {
	info := &textegress.EncryptionInfo{
		Type:     strings.ToLower(e.GetEncryptionType().String()),
		KeyIndex: e.GetKeyIndex(),
	}
	if k == nil {
		info.Reason = textegress.EncryptedNoKey
		return info
	}
	plain, reason := k.decrypt(e.GetIv(), e.GetEncryptedValue(), last)
	if reason != "" {
		info.Reason = reason
		return info
	}
	var inner livekit.EncryptedPacketPayload
	if proto.Unmarshal(plain, &inner) != nil || !setValue(p, &inner) {
		info.Reason = textegress.EncryptedMalformed
		return info
	}
	info.Decrypted = true
	return info
}

func (k *Keys) decrypt(iv, sealed []byte, last *int) (plain []byte, reason string) {
	if len(iv) == 0 || len(sealed) < 16 {
		return nil, textegress.EncryptedMalformed
	}
	for n := range k.blocks {
		i := (*last + n) % len(k.blocks)
		gcm, err := cipher.NewGCMWithNonceSize(k.blocks[i], len(iv))
		if err != nil {
			return nil, textegress.EncryptedMalformed
		}
		if plain, err := gcm.Open(nil, iv, sealed, nil); err == nil {
			*last = i
			return plain, ""
		}
	}
	return nil, textegress.EncryptedWrongKey
}

// setValue moves decrypted content to its place in an unencrypted packet. It returns false for an
// unknown case.
func setValue(p *livekit.DataPacket, inner *livekit.EncryptedPacketPayload) bool {
	switch v := inner.Value.(type) {
	case *livekit.EncryptedPacketPayload_User:
		p.Value = &livekit.DataPacket_User{User: v.User}
	case *livekit.EncryptedPacketPayload_ChatMessage:
		p.Value = &livekit.DataPacket_ChatMessage{ChatMessage: v.ChatMessage}
	case *livekit.EncryptedPacketPayload_RpcRequest:
		p.Value = &livekit.DataPacket_RpcRequest{RpcRequest: v.RpcRequest}
	case *livekit.EncryptedPacketPayload_RpcAck:
		p.Value = &livekit.DataPacket_RpcAck{RpcAck: v.RpcAck}
	case *livekit.EncryptedPacketPayload_RpcResponse:
		p.Value = &livekit.DataPacket_RpcResponse{RpcResponse: v.RpcResponse}
	case *livekit.EncryptedPacketPayload_StreamHeader:
		p.Value = &livekit.DataPacket_StreamHeader{StreamHeader: v.StreamHeader}
	case *livekit.EncryptedPacketPayload_StreamChunk:
		p.Value = &livekit.DataPacket_StreamChunk{StreamChunk: v.StreamChunk}
	case *livekit.EncryptedPacketPayload_StreamTrailer:
		p.Value = &livekit.DataPacket_StreamTrailer{StreamTrailer: v.StreamTrailer}
	default:
		return false
	}
	return true
}

// Name distinguishes these keys from others: 8 hex digits, "" if there are no keys. It reveals
// nothing of the keys beyond what allows to test a guess at all of them.
func (k *Keys) Name() string {
	if k == nil || len(k.blocks) == 0 {
		return ""
	}
	h := sha256.New()
	for _, b := range k.blocks {
		sum := make([]byte, b.BlockSize())
		b.Encrypt(sum, sum)
		h.Write(sum)
	}
	return hex.EncodeToString(h.Sum(nil)[:4])
}

// Merge returns the keys of k and other; either may be nil.
func (k *Keys) Merge(other *Keys) *Keys {
	switch {
	case k == nil:
		return other
	case other == nil:
		return k
	}
	return &Keys{blocks: slices.Concat(k.blocks, other.blocks)}
}
