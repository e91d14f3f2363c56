package config

import "strings"

// names parses a comma-separated list of names. White space around an entry is ignored, a star at
// its end matches any ending, `""` is the empty name, and a backslash escapes a comma, a star, a
// quote, an exclamation mark or a backslash. The entries are returned unmodified. Errors do not
// quote the entry, which may be the name of a person.
func (f field) names() []string {
	if f.text == "" {
		return nil
	}
	var out []string
	for _, entry := range splitNames(f.text) {
		entry = strings.TrimSpace(entry)
		if wrong, remedy := faultOfName(entry); wrong != "" {
			f.wrong(wrong, remedy)
			return nil
		}
		out = append(out, entry)
	}
	return out
}

// rooms parses a comma-separated list of patterns of room names: entries as for names, with an
// exclamation mark before one that excludes. The patterns are returned unmodified, except for white
// space after the mark.
func (f field) rooms() []string {
	var out []string
	excludesOnly := true
	for _, entry := range splitNames(f.text) {
		mark, name := "", strings.TrimSpace(entry)
		if rest, ok := strings.CutPrefix(name, "!"); ok {
			mark, name = "!", strings.TrimSpace(rest)
		}
		if strings.HasPrefix(name, "!") {
			f.wrong("has two exclamation marks at the beginning of an entry",
				`write \! for one that is part of a name`)
			return nil
		}
		if wrong, remedy := faultOfName(name); wrong != "" {
			f.wrong(wrong, remedy)
			return nil
		}
		excludesOnly = excludesOnly && mark != "" && name != "*"
		out = append(out, mark+name)
	}
	if excludesOnly {
		f.wrong("excludes rooms and includes none", "write * as the last entry to record all "+
			"others, or !* to record only rooms whose metadata asks for it")
		return nil
	}
	return out
}

// splitNames splits at commas that are not escaped.
func splitNames(text string) []string {
	var out []string
	begin := 0
	for i := 0; i < len(text); i++ {
		switch text[i] {
		case '\\':
			i++
		case ',':
			out = append(out, text[begin:i])
			begin = i + 1
		}
	}
	return append(out, text[begin:])
}

func faultOfName(entry string) (wrong, remedy string) {
	if entry == "" {
		return "has an empty entry", `remove the superfluous comma, or write "" for the empty name`
	}
	for i := 0; i < len(entry); i++ {
		switch entry[i] {
		case '\\':
			if i++; i == len(entry) || !strings.ContainsRune(`,*"!\`, rune(entry[i])) {
				return "has a backslash without a meaning",
					`write \\ for a backslash that is part of a name`
			}
		case '*':
			if i != len(entry)-1 {
				return "has a star that is not at the end of an entry",
					`write \* for a star that is part of a name; patterns are beginnings of names only`
			}
		}
	}
	return "", ""
}
