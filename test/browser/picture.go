package browser

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"os"
)

// mark is what a picture says about the source of what it shows.
func mark(source []byte) []byte {
	return fmt.Appendf(nil, "Source\x00sha256 %x", sha256.Sum256(source))
}

// Mark writes into a picture (PNG) of which source it is.
func Mark(file string, source []byte) error {
	picture, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	text := mark(source)
	chunk := binary.BigEndian.AppendUint32(nil, uint32(len(text)))
	chunk = append(append(chunk, "tEXt"...), text...)
	chunk = binary.BigEndian.AppendUint32(chunk, crc32.ChecksumIEEE(chunk[4:]))
	const end = 12 // bytes of the last chunk
	n := len(picture) - end
	return os.WriteFile(file, append(append(picture[:n:n], chunk...), picture[n:]...), 0o644)
}

// Marked reports whether a picture is of a source.
func Marked(file string, source []byte) (bool, error) {
	picture, err := os.ReadFile(file)
	return bytes.Contains(picture, mark(source)), err
}
