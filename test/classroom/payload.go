package classroom

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"hash"
	"io"
	"math/rand/v2"
	"strings"
)

// Content is a kind of payload. All but Empty contain the sender's identity and the message's
// number, so that every payload of a class is different.
type Content int

// The kinds of payload.
const (
	JSON Content = iota // an action log in the form that known learning environments write
	Text                // several lines, as typed into SyncFlow's dashboard
	// valid UTF-8 that careless writers handle wrongly: line ends, bars, quotes, NUL, right-to-left
	// text, a byte order mark
	Hard
	Binary // not valid UTF-8
	Long   // 14 KiB of text, near the maximum that LiveKit recommends
	Empty
)

// Payload returns the payload of a message; r supplies the random details.
func Payload(c Content, identity string, n int, r *rand.Rand) []byte {
	tag := fmt.Sprintf("%s#%d", identity, n)
	switch c {
	case JSON:
		b, _ := json.Marshal(map[string]any{ // strings and numbers always marshal
			"user": identity, "n": n, "action": pick(r, "open", "click", "answer", "move"),
			"view":    pick(r, "map", "lab", "notebook"),
			"payload": sentence(r, 3+r.IntN(12)),
		})
		return b
	case Text:
		lines := []string{tag}
		for range 1 + r.IntN(4) {
			lines = append(lines, sentence(r, 2+r.IntN(9)))
		}
		return []byte(strings.Join(lines, pick(r, "\n", "\r\n")))
	case Hard:
		return []byte(tag + pick(r, "\n", "\r\nx\r", "|a|b\n|", "\x00\x01\x7f",
			"\ufeff\u202etxt.exe\u202c", "👩‍🏫 naïve 日本語\u2028\u2029", `"\u0000"\n{"n":1}`,
			"\n\n\n"))
	case Binary:
		b := binary.BigEndian.AppendUint64([]byte{0xff, 0xfe, 0x00}, uint64(n))
		b = append(b, identity...)
		for range r.IntN(200) {
			b = append(b, byte(r.UintN(256)))
		}
		return b
	case Long:
		return []byte(tag + " " +
			strings.ToValidUTF8(strings.Repeat(sentence(r, 7)+"\n", 1100)[:14<<10], ""))
	default:
		return []byte{}
	}
}

// random returns an endless stream of bytes that depends only on i.
func random(i int) io.Reader { return rand.NewChaCha8([32]byte{7, byte(i), byte(i >> 8)}) }

// Sum computes the SHA-256 of the bytes written to it.
type Sum struct{ hash.Hash }

// NewSum returns an empty Sum.
func NewSum() Sum { return Sum{sha256.New()} }

// Hex returns the sum in hex.
func (s Sum) Hex() string { return hex.EncodeToString(s.Sum(nil)) }

func pick(r *rand.Rand, from ...string) string { return from[r.IntN(len(from))] }

func sentence(r *rand.Rand, words int) string {
	l := make([]string, words)
	for i := range l {
		l[i] = pick(r, "the", "plant", "water", "grows", "because", "light", "I", "think", "soil",
			"we", "should", "measure", "again", "why", "größer", "水")
	}
	return strings.Join(l, " ")
}
