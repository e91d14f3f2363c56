package s3

import (
	"context"
	"errors"
	"iter"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/syncflow/textegress/internal/objstore"
)

// maxEmptyPages bounds the consecutive empty pages of a list. A store may return empty pages while
// it skips deleted objects.
const maxEmptyPages = 1000

// Errors of an invalid list. Such a list proves nothing, in particular not the absence of an
// object.
var (
	errListEndless = errors.New("the list does not end: its pages name the same next page again, " +
		"nothing at all, or ever more")
	errListCut     = errors.New("a page of the list says that more follow and not where")
	errListForeign = errors.New("the list names a key that does not begin with the prefix that " +
		"was asked for")
)

// List implements [objstore.Bucket].
func (b *Bucket) List(ctx context.Context, prefix string) iter.Seq2[objstore.Attrs, error] {
	return func(yield func(objstore.Attrs, error) bool) {
		in := &s3.ListObjectsV2Input{Bucket: &b.o.Bucket, Prefix: &prefix}
		pages := pages{b: b, prefix: prefix}
		for {
			page, err := b.page(ctx, in, prefix)
			if err != nil {
				yield(objstore.Attrs{}, err)
				return
			}
			for _, o := range page.Contents {
				if err := pages.key(ctx, aws.ToString(o.Key)); err != nil {
					yield(objstore.Attrs{}, err)
					return
				}
				if !yield(objstore.Attrs{Key: *o.Key, Size: size(o.Size)}, nil) {
					return
				}
			}
			isList := page.Name != nil || page.IsTruncated != nil || page.KeyCount != nil ||
				page.MaxKeys != nil || len(page.Contents) > 0
			more, err := pages.next(ctx, isList, page.IsTruncated, len(page.Contents),
				page.NextContinuationToken)
			if err != nil {
				yield(objstore.Attrs{}, err)
			}
			if !more {
				return
			}
			in.ContinuationToken = page.NextContinuationToken
		}
	}
}

func (b *Bucket) page(ctx context.Context, in *s3.ListObjectsV2Input,
	prefix string,
) (*s3.ListObjectsV2Output, error) {
	ctx, w := watch(ctx, b.o.StallTimeout)
	defer w.stop()
	page, err := b.client.ListObjectsV2(ctx, in)
	if err != nil {
		return nil, b.fail(ctx, "list", prefix, err)
	}
	return page, nil
}

// pages follows the pages of one list.
type pages struct {
	b      *Bucket
	prefix string
	seen   map[string]bool // markers of earlier pages
	empty  int             // consecutive empty pages
}

// key checks a key in a page.
func (p *pages) key(ctx context.Context, key string) error {
	if key == "" || !strings.HasPrefix(key, p.prefix) {
		return p.b.fail(ctx, "list", p.prefix, errListForeign)
	}
	return nil
}

// next reports whether another page follows a page with n entries. markers give the start of the
// next page. A page that does not state whether it is truncated is the last if it has no marker of
// the next page.
func (p *pages) next(ctx context.Context, isList bool, truncated *bool, n int,
	markers ...*string,
) (bool, error) {
	var at strings.Builder
	for _, m := range markers {
		at.WriteString(aws.ToString(m))
		at.WriteByte(0)
	}
	begins := strings.Trim(at.String(), "\x00") != ""
	if p.empty++; n > 0 {
		p.empty = 0
	}
	switch {
	case !isList:
		return false, p.b.fail(ctx, "list", p.prefix, errNotAStore)
	case truncated != nil && !*truncated, truncated == nil && !begins:
		return false, nil
	case !begins:
		return false, p.b.fail(ctx, "list", p.prefix, errListCut)
	case p.seen[at.String()], p.empty > maxEmptyPages:
		return false, p.b.fail(ctx, "list", p.prefix, errListEndless)
	}
	if p.seen == nil {
		p.seen = map[string]bool{}
	}
	p.seen[at.String()] = true
	return true, nil
}
