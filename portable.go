package textegress

import (
	"crypto/sha256"
	"encoding/hex"
	"strings"
	"unicode/utf8"
)

// maxComponent is the maximum length in bytes of a path component on common file systems.
const maxComponent = 255

// PortableKey returns the path of an object in a directory whose file system cannot hold every
// name, such as NTFS, exFAT and Windows shares (docs/FORMAT.md, Names on other file systems). It
// depends on the key alone; most keys are their own portable form. To find an object in a
// directory, try the key first, then its portable form; see [OpenObject].
//
// Each component is escaped separately: the characters " * : < > ? | \ become %XX, as does a dot or
// space at the end, and the first character of a name that Windows takes for a device (NUL,
// com1.txt). A "%" followed by two hex digits becomes %25, so that the escaping can be undone. A
// result of more than 255 bytes is cut: it ends in "~", 12 hex digits of the SHA-256 of the
// component, and the extension.
func PortableKey(key string) string {
	components := strings.Split(key, "/")
	for i, c := range components {
		components[i] = portableName(c)
	}
	return strings.Join(components, "/")
}

func portableName(c string) string {
	var b strings.Builder
	device := isDevice(c)
	for i := range len(c) {
		ch := c[i]
		switch {
		case strings.IndexByte(`"*:<>?|\`, ch) >= 0,
			i == 0 && device,
			i == len(c)-1 && (ch == '.' || ch == ' '),
			ch == '%' && i+2 < len(c) && isHex(c[i+1]) && isHex(c[i+2]):
			b.WriteByte('%')
			b.WriteByte(upperHex[ch>>4])
			b.WriteByte(upperHex[ch&15])
		default:
			b.WriteByte(ch)
		}
	}
	e := b.String()
	ext := extension(e)
	base := e[:len(e)-len(ext)]
	if len(e) <= maxComponent && (len(e) < maxComponent-maxExtension || !looksCut(base)) {
		return e
	}
	n := maxComponent - cutMarkLen - len(ext)
	for n > 0 && n < len(base) && (!utf8.RuneStart(base[n]) || inEscape(base, n)) {
		n--
	}
	sum := sha256.Sum256([]byte(c))
	return base[:min(n, len(base))] + "~" + hex.EncodeToString(sum[:cutDigits/2]) + ext
}

const maxExtension = 16

// extension returns the last dot of a name and the text after it, if that is short ASCII.
func extension(name string) string {
	i := strings.LastIndexByte(name, '.')
	if i <= 0 || len(name)-i > maxExtension || strings.ContainsFunc(name[i+1:], func(r rune) bool {
		return (r < '0' || r > '9') && (r < 'A' || r > 'Z') && (r < 'a' || r > 'z')
	}) {
		return ""
	}
	return name[i:]
}

// inEscape reports whether cutting before byte n would cut a %XX.
func inEscape(s string, n int) bool { return s[n-1] == '%' || n > 1 && s[n-2] == '%' }

func isHex(c byte) bool {
	return c >= '0' && c <= '9' || c >= 'A' && c <= 'F' || c >= 'a' && c <= 'f'
}

// isDevice reports whether Windows treats a name as a device, whatever its extension:
// https://learn.microsoft.com/windows/win32/fileio/naming-a-file
func isDevice(c string) bool {
	base, _, _ := strings.Cut(c, ".")
	base = strings.ToUpper(strings.TrimRight(base, " "))
	switch base {
	case "CON", "PRN", "AUX", "NUL", "CONIN$", "CONOUT$":
		return true
	}
	port, ok := strings.CutPrefix(base, "COM")
	if !ok {
		port, ok = strings.CutPrefix(base, "LPT")
	}
	return ok && (len(port) == 1 && port[0] >= '0' && port[0] <= '9' || port == "¹" ||
		port == "²" || port == "³")
}
