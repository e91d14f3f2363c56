package config

import (
	"errors"
	"fmt"
	"io"
	"regexp"
	"strings"

	"go.yaml.in/yaml/v3"
)

// flattenYAML converts a YAML document to settings under their environment names. Every unknown key
// is a problem. origin is the name of the document in messages ("textegress.yaml",
// "TEXTEGRESS_CONFIG_BODY").
func flattenYAML(text []byte, origin string, set func(key, value, source string),
	report func(Problem),
) {
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
	w := yamlWalk{origin, set, report}
	if len(doc.Content) == 1 && doc.Content[0].Tag != "!!null" {
		w.mapping(doc.Content[0], "")
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
	set    func(key, value, source string)
	report func(Problem)
}

func (w yamlWalk) at(n *yaml.Node) string { return fmt.Sprintf("%s line %d", w.origin, n.Line) }

// mapping walks a mapping whose keys get prefix (an environment name ending in __, or ""). The
// schema bounds the depth: only projects, s3_config and livekit are nested, so neither deep nesting
// nor aliases cause unbounded recursion.
func (w yamlWalk) mapping(n *yaml.Node, prefix string) {
	n = alias(n)
	if n.Kind != yaml.MappingNode {
		w.report(Problem{
			Key: strings.TrimSuffix(prefix, "__"), Source: w.at(n),
			Wrong: "is not a mapping", Remedy: "write name: value pairs",
		})
		return
	}
	seen := map[string]bool{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		k, v := n.Content[i], alias(n.Content[i+1])
		name := prefix + strings.ToUpper(k.Value)
		if k.Kind != yaml.ScalarNode || k.Value != strings.ToLower(k.Value) {
			w.unknown(k, prefix)
			continue
		}
		if seen[name] {
			w.report(Problem{
				Key: name, Source: w.at(k), Wrong: "is set twice in one mapping",
				Remedy: "remove one of them",
			})
			continue
		}
		seen[name] = true
		_, indexed, _ := lookup(name)
		switch {
		case name == "PROJECTS":
			w.projects(v)
		case indexed && strings.Count(name, "__") == 2 &&
			(strings.HasSuffix(name, "__S3_CONFIG") || strings.HasSuffix(name, "__LIVEKIT")):
			w.mapping(v, name+"__")
		case !isKnown(name) || strings.Contains(k.Value, "__") ||
			strings.HasPrefix(name, ownPrefix):
			w.unknown(k, prefix)
		case v.Kind != yaml.ScalarNode:
			w.report(Problem{
				Key: name, Source: w.at(v), Wrong: "is not a single value",
				Remedy: "write one value after the colon",
			})
		case v.Tag == "!!null":
			w.set(name, "", w.at(k))
		default:
			w.set(name, v.Value, w.at(k))
		}
	}
}

func (w yamlWalk) projects(n *yaml.Node) {
	if n.Tag == "!!null" {
		return
	}
	if n.Kind != yaml.SequenceNode {
		w.report(Problem{
			Key: "PROJECTS", Source: w.at(n), Wrong: "is not a list",
			Remedy: "begin every project with a dash",
		})
		return
	}
	for i, p := range n.Content {
		w.mapping(p, fmt.Sprintf("%s%d__", projectPrefix, i))
	}
}

// unknown reports a key that is not a setting at its position.
func (w yamlWalk) unknown(k *yaml.Node, prefix string) {
	p := Problem{Key: prefix, Source: w.at(k), Wrong: fmt.Sprintf("there is no setting %s here",
		clip(k.Value)), Remedy: "remove it"}
	p.Key = strings.TrimSuffix(prefix, "__")
	if s := suggest(prefix + strings.ToUpper(k.Value)); strings.HasPrefix(s, prefix) {
		if rest := strings.ToLower(strings.TrimPrefix(s, prefix)); rest != "" &&
			!strings.Contains(rest, "__") {
			p.Remedy = fmt.Sprintf("did you mean %s?", rest)
		}
	} else if s != "" {
		p.Remedy = fmt.Sprintf("did you mean %s, at its own place?", strings.ToLower(s))
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
