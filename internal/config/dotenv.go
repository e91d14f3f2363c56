package config

import (
	"regexp"
	"strings"
)

// This package has its own parser of `.env` files, because its errors must name the line and must
// not quote the file. Go libraries put the rest of the file, secrets included, into the error text,
// and silently turn `pa$word` into `pa`.
//
// The dialect is the common subset of the predecessor's parser and Docker Compose's env_file, with
// some tolerance:
//
//	KEY=value            white space around key and value does not count
//	export KEY=value     the word export is ignored
//	KEY='as it is'       nothing is interpreted, may span lines
//	KEY="a \"b\" \n c"   \" \\ \$ \n \r \t are interpreted, may span lines
//	KEY=value # comment  a comment begins at a # at the line's start or after white space
//	KEY=${OTHER}/x       substituted in unquoted and in "double quoted" values
//
// Line ends may be LF or CRLF. A byte order mark is ignored.

// envLine is one assignment of a `.env` file.
type envLine struct {
	key, value string
	line       int // 1-based, where the assignment begins
}

// envFault is a syntax error in a `.env` file. It never quotes a value.
type envFault struct {
	line          int
	key           string // "" if it cannot be parsed
	wrong, remedy string
}

var (
	envKey = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_.-]*$`)
	envRef = regexp.MustCompile(`\$(?:\{([A-Za-z_][A-Za-z0-9_]*)\}|([A-Za-z_][A-Za-z0-9_]*))`)
)

// parseDotenv reads the text of a `.env` file. It continues after a fault, to report all of them.
// lookup returns environment variables for substitution; they take precedence over earlier lines of
// the file, as in the predecessor.
func parseDotenv(text string, lookup func(string) (string, bool)) ([]envLine, []envFault) {
	text = strings.TrimPrefix(text, "\ufeff")
	text = strings.ReplaceAll(text, "\r\n", "\n")
	var out []envLine
	var faults []envFault
	seen := map[string]string{}
	resolve := func(name string) (string, bool) {
		if v, ok := lookup(name); ok {
			return v, true
		}
		v, ok := seen[name]
		return v, ok
	}
	for n := 1; text != ""; {
		line, rest, _ := strings.Cut(text, "\n")
		begin := n
		text = rest
		n++
		s := strings.TrimSpace(line)
		if s == "" || s[0] == '#' {
			continue
		}
		if after, ok := strings.CutPrefix(s, "export"); ok &&
			strings.TrimLeft(after, " \t") != after {
			s = strings.TrimLeft(after, " \t")
		}
		key, raw, ok := strings.Cut(s, "=")
		key = strings.TrimSpace(key)
		if !ok {
			faults = append(faults, envFault{
				line: begin, wrong: "has no =",
				remedy: "write KEY=value, or begin a comment with #",
			})
			continue
		}
		if !envKey.MatchString(key) {
			faults = append(faults, envFault{
				line: begin, wrong: "the name before the = is not a variable name",
				remedy: "use letters, digits and underscores",
			})
			continue
		}
		raw = strings.TrimSpace(raw)
		var value string
		var fault string
		if raw != "" && (raw[0] == '"' || raw[0] == '\'') {
			// A quoted value may continue on the following lines, which must not be trimmed.
			_, untrimmed, _ := strings.Cut(line, "=")
			untrimmed = strings.TrimLeft(untrimmed, " \t")
			var used int
			value, used, fault = quoted(untrimmed, text, resolve)
			for range used {
				_, text, _ = strings.Cut(text, "\n")
				n++
			}
		} else {
			value, fault = substitute(uncomment(raw), resolve)
		}
		if fault != "" {
			faults = append(faults, envFault{
				line: begin, key: key, wrong: fault,
				remedy: "put a value with $, quotes or # into single quotes",
			})
			continue
		}
		out = append(out, envLine{key, value, begin})
		if _, dup := seen[key]; !dup {
			seen[key] = value
		}
	}
	return out, faults
}

// uncomment removes a trailing comment from an unquoted value. A # inside a word belongs to the
// value.
func uncomment(s string) string {
	for i := range len(s) {
		if s[i] == '#' && (i == 0 || s[i-1] == ' ' || s[i-1] == '\t') {
			return strings.TrimSpace(s[:i])
		}
	}
	return s
}

// substitute replaces $NAME and ${NAME}. An unknown name is a fault, not an empty string, because
// it is most often part of a password with a dollar sign.
func substitute(s string, resolve func(string) (string, bool)) (value, fault string) {
	value = envRef.ReplaceAllStringFunc(s, func(m string) string {
		name := strings.Trim(m, "${}")
		v, ok := resolve(name)
		if !ok {
			fault = "contains a $ that begins the name of a variable which is not set"
		}
		return v
	})
	return value, fault
}

// quoted reads a quoted value that begins with first[0] and may continue in more. used is the
// number of lines of more that belong to it.
func quoted(first, more string, resolve func(string) (string, bool)) (value string, used int,
	fault string,
) {
	const unclosed = "has no closing quote"
	quote := first[0]
	var b strings.Builder   // the value so far
	var lit strings.Builder // a run of double-quoted text in which $NAME is still to be replaced
	flush := func() {
		v, f := substitute(lit.String(), resolve)
		if f != "" {
			fault = f
		}
		b.WriteString(v)
		lit.Reset()
	}
	line := first[1:]
	for {
		for i := 0; i < len(line); i++ {
			c := line[i]
			switch {
			case c == quote:
				flush()
				tail := strings.TrimSpace(line[i+1:])
				switch {
				case tail == "" || tail[0] == '#':
					return b.String(), used, fault
				case used > 0: // this quote opens another value: the previous one was not closed
					return "", 0, unclosed
				}
				return "", 0, "has text after the closing quote"
			case quote == '"' && c == '\\' && i+1 < len(line):
				i++
				flush()
				switch line[i] {
				case 'n':
					b.WriteByte('\n')
				case 'r':
					b.WriteByte('\r')
				case 't':
					b.WriteByte('\t')
				case '"', '\\', '$', '\'', ' ':
					b.WriteByte(line[i])
				default:
					b.WriteByte('\\')
					b.WriteByte(line[i])
				}
			case quote == '"':
				lit.WriteByte(c)
			default:
				b.WriteByte(c)
			}
		}
		if more == "" {
			// Only the first line is skipped. Otherwise a missing quote would hide every later
			// fault.
			return "", 0, unclosed
		}
		line, more, _ = strings.Cut(more, "\n")
		used++
		if quote == '"' {
			lit.WriteByte('\n')
		} else {
			b.WriteByte('\n')
		}
	}
}
