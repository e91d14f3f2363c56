package erasure

import (
	"context"
	"fmt"
	"regexp"
	"strings"

	"github.com/syncflow/textegress"
	"github.com/syncflow/textegress/internal/objstore/objfs"
	"github.com/syncflow/textegress/internal/spool"
)

// own identifies the objects below the place of a recording that belong to the recording. If the
// place is for one recording alone, all of them do. A manifest can also be in a folder with
// unrelated objects, because a copy was unpacked there or because an attacker wants those objects
// deleted. Then only the objects that its manifests name and those in the folders of its revisions
// belong to the recording.
type own struct {
	base    string
	alone   bool
	listed  map[string]bool // keys that the manifests name, relative to base
	others  []string        // places of other recordings below base
	foreign map[string]bool // objects found that do not belong to any recording
}

var inRevision = regexp.MustCompile(`^r[1-9][0-9]{0,8}/`)

// isManifest reports whether a key, relative to the place of a recording, is that of a revision's
// manifest.
func isManifest(key string) bool {
	return strings.TrimPrefix(key, inRevision.FindString(key)) == textegress.ManifestName
}

// own reads the manifests of a recording. Manifests of older revisions may be damaged. The objects
// that only a damaged manifest names are not deleted.
func (p Place) own(ctx context.Context, base string, revisions map[string][]int,
	info spool.Info,
) *own {
	o := &own{base: base, listed: map[string]bool{}, foreign: map[string]bool{}}
	place := regexp.MustCompile(`(^|/)text-egress/[^/]+/` +
		regexp.QuoteMeta(textegress.EscapeName(info.EgressID)) + `/$`)
	o.alone = place.MatchString(base)
	for other := range revisions {
		if other != base && strings.HasPrefix(other, base) {
			o.others = append(o.others, other)
		}
	}
	for _, revision := range revisions[base] {
		dir := strings.TrimPrefix(revisionPrefix(base, revision), base)
		o.list(dir + textegress.ManifestName)
		_, m, err := bindManifest(objfs.New(ctx, p.Bucket, base+dir))
		if err != nil {
			continue
		}
		for _, object := range m.Objects {
			o.list(dir + object.Key)
		}
	}
	return o
}

// list adds a key and its portable form, which is its name on file systems that cannot hold the
// key.
func (o *own) list(key string) { o.listed[key], o.listed[textegress.PortableKey(key)] = true, true }

// has reports whether the object with this key belongs to the recording.
func (o *own) has(key string) bool {
	rest := strings.TrimPrefix(key, o.base)
	if o.listed[rest] || o.listed[textegress.PortableKey(rest)] {
		return true
	}
	for _, other := range o.others {
		if strings.HasPrefix(key, other) {
			return false
		}
	}
	if o.alone || inRevision.MatchString(rest) {
		return true
	}
	o.foreign[key] = true
	return false
}

// report adds the foreign objects to the problems of the recording, unless the removal failed with
// err.
func (o *own) report(r *Recording, err error) error {
	if len(o.foreign) == 0 || err != nil {
		return err
	}
	r.Outcome = Incomplete
	r.Problems = append(r.Problems, fmt.Sprintf("%d objects beside the recording are in none of "+
		"its manifests; they were neither searched nor deleted. Only below "+
		"…/text-egress/<topic>/<egress id>/ does every object count as part of the recording",
		len(o.foreign)))
	return nil
}
