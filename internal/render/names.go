package render

import (
	"crypto/sha256"
	"encoding/hex"

	"github.com/syncflow/textegress/internal/fsname"
)

// names is a set of keys in use. Two keys of a recording never differ only in case or normal form,
// because some file systems treat such names as equal.
type names struct {
	exact  map[string]bool
	folded map[string]bool
}

func newNames() *names { return &names{exact: map[string]bool{}, folded: map[string]bool{}} }

// has reports whether exactly this key is in use.
func (n *names) has(key string) bool { return n.exact[key] }

// taken reports whether this key, or one that differs only in case or normal form, is in use.
func (n *names) taken(key string) bool { return n.folded[fsname.Fold(key)] }

func (n *names) take(key string) { n.exact[key], n.folded[fsname.Fold(key)] = true, true }

func (n *names) len() int { return len(n.exact) }

// hashMark returns a mark that distinguishes a key from one that differs only in case or normal
// form: "~" and 12 hex digits of the key's SHA-256, as in [textegress.EscapeName].
func hashMark(key string) string {
	sum := sha256.Sum256([]byte(key))
	return "~" + hex.EncodeToString(sum[:6])
}
