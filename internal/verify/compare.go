package verify

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/syncflow/textegress"
	"github.com/syncflow/textegress/internal/render"
)

// Derive renders the same objects as [render.Build], without the raw segments, and discards them.
// It returns the manifest, which lists the views, so a delivery can be compared with its raw
// segments. It leaves keepFree bytes free on the file system of its scratch file.
func Derive(ctx context.Context, src render.Source, o render.Options,
	keepFree int64) (textegress.Manifest,
	error,
) {
	o.WithoutRaw = true
	o.Pseudonyms = nil // a delivery under pseudonyms cannot be compared with raw segments
	return render.Build(ctx, src, o, render.NewDiscardSink(keepFree))
}

// Compare returns the differences between a manifest and derived, which [Derive] returned for the
// raw segments of the same delivery. There is one text for each differing key of the manifest and
// each differing part of the completeness statement and the counts. If both manifests are by the
// same exporter version, the texts cover the views too. No text contains an identity.
//
// If the recording was exported with a key for its encrypted packets (see [Keyed]), only the parts
// that do not depend on the key are compared. If the two manifests are by different exporter
// versions, the views and the parts about streams are not compared: versions derive them
// differently from the same segments.
func Compare(stated, derived textegress.Manifest) []string {
	var out []string
	keyed := Keyed(stated, derived)
	if keyed {
		stated, derived = withoutKey(stated), withoutKey(derived)
	}
	otherVersion := stated.Exporter != derived.Exporter
	if otherVersion {
		stated, derived = withoutStreams(stated), withoutStreams(derived)
	}
	for _, part := range []struct {
		name            string
		stated, derived any
	}{{"", rest(stated), rest(derived)}, {
		"completeness.", stated.Completeness,
		derived.Completeness,
	}, {"counts.", stated.Counts, derived.Counts}} {
		for _, key := range differing(part.stated, part.derived) {
			out = append(out, fmt.Sprintf("manifest.json: %s%s differs from the raw segments",
				part.name, key))
		}
	}
	if keyed || otherVersion {
		return out
	}
	views := map[string]textegress.Object{}
	for _, o := range derived.Objects {
		views[o.Key] = o
	}
	unlike := 0
	for _, o := range stated.Objects {
		if strings.HasPrefix(o.Key, textegress.RawDir) {
			continue
		}
		d, ok := views[o.Key]
		delete(views, o.Key)
		switch {
		case (o.Key == textegress.EventsName || o.Key == textegress.MetadataName ||
			o.Key == textegress.ReportName) && (d.SHA256 != o.SHA256 || d.Size != o.Size):
			out = append(out, o.Key+": differs from the raw segments")
		case !ok || d.SHA256 != o.SHA256 || d.Size != o.Size:
			unlike++
		}
	}
	if unlike > 0 {
		out = append(out, fmt.Sprintf("%d text views or files differ from the raw segments",
			unlike))
	}
	if missing := len(views); missing > 0 {
		out = append(out, fmt.Sprintf("%d text views or files derived from the raw segments are "+
			"not in the manifest", missing))
	}
	return out
}

// rest returns a manifest without counts, completeness and objects, and without exporter and
// revision, which cannot be derived.
func rest(m textegress.Manifest) textegress.Manifest {
	m.Counts, m.Completeness, m.Objects = textegress.Counts{}, textegress.Completeness{}, nil
	m.FormatVersion, m.Exporter, m.Revision = 0, "", 0
	return m
}

// Keyed reports whether stated was made with a key and derived without it.
func Keyed(stated, derived textegress.Manifest) bool {
	return stated.Counts.DecryptedPackets != nil && derived.Counts.DecryptedPackets == nil
}

// withoutKey returns the parts of a manifest that do not depend on a key.
func withoutKey(m textegress.Manifest) textegress.Manifest {
	m.Counts = textegress.Counts{Packets: m.Counts.Packets, Bytes: m.Counts.Bytes}
	c := &m.Completeness
	c.UndecryptablePackets, c.UndecodablePackets, c.Streams = 0, 0, textegress.Streams{}
	c.Connections = slices.Clone(c.Connections)
	for i := range c.Connections {
		e := &c.Connections[i]
		e.Undecryptable, e.Undecodable, e.StreamsComplete, e.StreamsIncomplete = 0, 0, 0, 0
	}
	return m
}

// withoutStreams returns the parts of a manifest that all versions of the exporter derive alike.
func withoutStreams(m textegress.Manifest) textegress.Manifest {
	m.Counts.ByKind = maps.Clone(m.Counts.ByKind)
	for _, k := range []textegress.Kind{textegress.KindTextStream, textegress.KindByteStream} {
		m.Counts.Messages -= m.Counts.ByKind[k]
		delete(m.Counts.ByKind, k)
	}
	c := &m.Completeness
	c.Streams = textegress.Streams{}
	c.Connections = slices.Clone(c.Connections)
	for i := range c.Connections {
		c.Connections[i].StreamsComplete, c.Connections[i].StreamsIncomplete = 0, 0
	}
	return m
}

// differing returns the JSON keys in which two values of one struct type differ.
func differing(a, b any) []string {
	x, y := fields(a), fields(b)
	keys := maps.Clone(x)
	maps.Copy(keys, y)
	var out []string
	for _, key := range slices.Sorted(maps.Keys(keys)) {
		if x[key] != y[key] {
			out = append(out, key)
		}
	}
	return out
}

func fields(v any) map[string]string {
	var m map[string]json.RawMessage
	b, err := json.Marshal(v)
	if err == nil {
		err = json.Unmarshal(b, &m)
	}
	out := map[string]string{}
	for k, v := range m {
		if s := string(v); s != "null" && s != "[]" { // an empty list is written as either
			out[k] = s
		}
	}
	if err != nil {
		out["(not comparable)"] = err.Error()
	}
	return out
}
