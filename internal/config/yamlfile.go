package config

import (
	"errors"
	"fmt"
	"io"
	"regexp"
	"strings"

	"go.yaml.in/yaml/v3"
)

// yamlTarget takes what a YAML document contains.
type yamlTarget interface {
	set(name, text, source string)
	report(Problem)
	warn(text string)
	setTopS3(source string)
}

// flattenYAML converts a YAML document to settings under their environment names. Every unknown key
// is a problem. origin is the name of the document in messages ("textegress.yaml",
// "TEXTEGRESS_CONFIG_BODY").
func flattenYAML(text []byte, origin string, target yamlTarget) {
	report := target.report
	dec := yaml.NewDecoder(strings.NewReader(string(text)))
	var doc yaml.Node
	if err := dec.Decode(&doc); err != nil {
		if !errors.Is(err, io.EOF) { // an empty document sets nothing
			report(Problem{
				Source: origin, Wrong: "is not YAML: " + yamlSyntax(err),
				Remedy: "check indentation and quotes there",
			})
		}
		return
	}
	var more yaml.Node
	if err := dec.Decode(&more); !errors.Is(err, io.EOF) {
		report(Problem{
			Source: origin, Wrong: "has more than one YAML document",
			Remedy: "remove the ---",
		})
	}
	w := yamlWalk{origin, target, map[string]bool{}}
	if len(doc.Content) == 1 && doc.Content[0].Tag != "!!null" {
		w.mapping(doc.Content[0], block{})
	}
}

// yamlSyntax returns a YAML error with its line number only, because the rest can quote the
// document.
func yamlSyntax(err error) string {
	if m := regexp.MustCompile(`line \d+`).FindString(err.Error()); m != "" {
		return "syntax error near " + m
	}
	return "syntax error"
}

type yamlWalk struct {
	origin string
	yamlTarget
	seen map[string]bool // environment names that the document sets
}

// block is a mapping of settings.
type block struct {
	prefix string            // of the environment names: PROJECTS__0__ or LIVEKIT_, for example
	names  map[string]string // names of LiveKit's configuration files, with ours
}

// The names in LiveKit's configuration files that differ from ours.
var (
	liveKitNames = map[string]string{"ws_url": "url"}
	s3Names      = map[string]string{
		"secret": "secret_key", "secret_file": "secret_key_file", "bucket": "bucket_name",
		"force_path_style": "path_style",
	}
)

// key returns the block as a key for messages.
func (b block) key() string { return strings.TrimRight(b.prefix, "_") }

// isProject reports whether the block is a whole project.
func (b block) isProject() bool {
	rest, ok := strings.CutPrefix(b.prefix, projectPrefix)
	return ok && strings.Count(rest, "__") == 1
}

// nested returns the block that a key of b contains, if it does.
func (b block) nested(key string) (block, bool) {
	switch {
	case b.prefix == "" && key == "livekit":
		return block{topLevelPrefix, liveKitNames}, true
	case b.prefix == "" && key == "s3": // of the project that the block livekit makes
		return block{projectPrefix + "0__S3_CONFIG__", s3Names}, true
	case !b.isProject():
		return block{}, false
	case key == "livekit":
		return block{b.prefix + "LIVEKIT__", liveKitNames}, true
	case key == "s3_config":
		return block{b.prefix + "S3_CONFIG__", nil}, true
	case key == "s3":
		return block{b.prefix + "S3_CONFIG__", s3Names}, true
	}
	return block{}, false
}

// contains reports whether a key of b has settings of its own.
func (b block) contains(key string) bool {
	_, ok := b.nested(key)
	return ok || b.prefix == "" && key == "projects" || b.isProject() && key == "webhooks"
}

func (w yamlWalk) at(n *yaml.Node) string { return fmt.Sprintf("%s line %d", w.origin, n.Line) }

// mapping walks a mapping. The schema bounds the depth, because only known keys are nested, so
// neither deep nesting nor aliases cause unbounded recursion.
func (w yamlWalk) mapping(n *yaml.Node, b block) {
	n = alias(n)
	if n.Kind != yaml.MappingNode {
		w.report(Problem{
			Key: b.key(), Source: w.at(n),
			Wrong: "is not a mapping", Remedy: "write name: value pairs",
		})
		return
	}
	seen := map[string]bool{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		k, v := n.Content[i], alias(n.Content[i+1])
		if k.Kind != yaml.ScalarNode || k.Value != strings.ToLower(k.Value) {
			w.unknown(k, b)
			continue
		}
		if seen[k.Value] {
			w.twice(b.prefix+strings.ToUpper(k.Value), k)
			continue
		}
		seen[k.Value] = true
		w.entry(k, v, b)
	}
}

// entry walks one entry of a mapping.
func (w yamlWalk) entry(k, v *yaml.Node, b block) {
	if inner, ok := b.nested(k.Value); ok {
		if b.prefix == "" && k.Value == "s3" {
			w.setTopS3(w.at(k))
		}
		w.mapping(v, inner)
		return
	}
	key := k.Value
	if ours, ok := b.names[key]; ok {
		key = ours
	}
	name := b.prefix + strings.ToUpper(key)
	found, known := lookup(name)
	switch {
	case key == "projects" && b.contains(key):
		w.list(v, "PROJECTS", "project", projectPrefix)
	case key == "webhooks" && b.contains(key):
		w.list(v, name, "webhook", name+"__")
	case b.prefix == "" && key == "redis":
		w.warn(fmt.Sprintf("redis (%s) has no effect: textegress needs no Redis.", w.at(k)))
	case !known || strings.Contains(key, "__"):
		w.unknown(k, b)
	case w.seen[name]:
		w.twice(name, k)
	default:
		w.seen[name] = true
		w.value(found, k, v)
	}
}

// value sets a setting.
func (w yamlWalk) value(s setting, k, v *yaml.Node) {
	switch {
	case isTagged(v):
		w.tagged(s.name, v)
	case v.Kind == yaml.SequenceNode && s.kind == list:
		w.names(s.name, k, v)
	case v.Kind != yaml.ScalarNode:
		w.report(Problem{
			Key: s.name, Source: w.at(v), Wrong: "is not a single value",
			Remedy: "write one value after the colon",
		})
	case v.Tag == "!!null":
		w.set(s.name, "", w.at(k))
	default:
		w.set(s.name, v.Value, w.at(k))
	}
}

// names sets a list of names that is written as a YAML list. A comma in an entry is part of it.
func (w yamlWalk) names(name string, k, v *yaml.Node) {
	var entries []string
	for _, e := range v.Content {
		e = alias(e)
		switch {
		case isTagged(e):
			w.tagged(name, e)
			return
		case e.Kind != yaml.ScalarNode || e.Tag == "!!null":
			w.report(Problem{
				Key: name, Source: w.at(e), Wrong: "has an entry that is not a single value",
				Remedy: "write one name after each dash",
			})
			return
		case endsInEscape(e.Value): // it would escape the comma after the entry
			w.report(Problem{
				Key: name, Source: w.at(e), Wrong: "has an entry with a backslash at its end",
				Remedy: `write \\ for a backslash that is part of a name`,
			})
			return
		case e.Value == "":
			entries = append(entries, `""`)
		default:
			entries = append(entries, strings.Join(splitNames(e.Value), `\,`))
		}
	}
	if len(entries) == 0 { // it must not mean everything
		w.report(Problem{
			Key: name, Source: w.at(v), Wrong: "is an empty list",
			Remedy: "remove it, or write at least one entry",
		})
		return
	}
	w.set(name, strings.Join(entries, ","), w.at(k))
}

// endsInEscape reports whether a text ends in a backslash that is not itself escaped.
func endsInEscape(s string) bool { return (len(s)-len(strings.TrimRight(s, `\`)))%2 == 1 }

// isTagged reports whether a value begins with an exclamation mark that is not in quotes. YAML
// takes the word for a tag and the value for empty.
func isTagged(n *yaml.Node) bool {
	return strings.HasPrefix(n.Tag, "!") && !strings.HasPrefix(n.Tag, "!!")
}

func (w yamlWalk) tagged(name string, n *yaml.Node) {
	w.report(Problem{
		Key: name, Source: w.at(n), Wrong: "begins with an exclamation mark, which YAML takes for " +
			"a tag", Remedy: "put the value into quotes",
	})
}

func (w yamlWalk) twice(name string, k *yaml.Node) {
	w.report(Problem{
		Key: name, Source: w.at(k), Wrong: "is set twice in one document",
		Remedy: "remove one of them",
	})
}

// list walks a list of mappings. what is the word for one of them.
func (w yamlWalk) list(n *yaml.Node, key, what, prefix string) {
	if n.Tag == "!!null" {
		return
	}
	if n.Kind != yaml.SequenceNode {
		w.report(Problem{
			Key: key, Source: w.at(n), Wrong: "is not a list",
			Remedy: "begin every " + what + " with a dash",
		})
		return
	}
	for i, p := range n.Content {
		w.mapping(p, block{prefix: fmt.Sprintf("%s%d__", prefix, i)})
	}
}

// unknown reports a key that is not a setting at its position.
func (w yamlWalk) unknown(k *yaml.Node, b block) {
	p := Problem{
		Key: b.key(), Source: w.at(k), Wrong: fmt.Sprintf("there is no setting %s here",
			clip(k.Value)), Remedy: "remove it",
	}
	if s := suggest(b.prefix + strings.ToUpper(k.Value)); strings.HasPrefix(s, b.prefix) {
		if rest := strings.ToLower(strings.TrimPrefix(s, b.prefix)); rest != "" &&
			!strings.Contains(rest, "__") {
			p.Remedy = fmt.Sprintf("did you mean %s?", rest)
		}
	} else if s != "" {
		p.Remedy = fmt.Sprintf("did you mean %s, at its own place?", strings.ToLower(s))
	}
	for _, inner := range []string{"projects", "webhooks", "livekit", "s3_config"} {
		if distance(k.Value, inner) <= 2 && b.contains(inner) {
			p.Remedy = fmt.Sprintf("did you mean %s?", inner)
		}
	}
	w.report(p)
}

func alias(n *yaml.Node) *yaml.Node {
	for range 10 { // YAML has no alias of an alias; the bound is a safeguard
		if n.Kind != yaml.AliasNode || n.Alias == nil {
			break
		}
		n = n.Alias
	}
	return n
}
