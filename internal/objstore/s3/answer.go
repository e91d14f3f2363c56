package s3

import (
	"context"
	"errors"
	"io"
	"net/http"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsmiddleware "github.com/aws/aws-sdk-go-v2/aws/middleware"
	"github.com/aws/smithy-go/middleware"
	smithyhttp "github.com/aws/smithy-go/transport/http"
)

// Bounds of what is read of an answer before anything understands it. Only the content of an object
// has none.
const (
	maxHeader = 256 << 10 // of all header lines
	maxError  = 64 << 10  // of the body of a refusal, which has a code and a sentence
	// of the body of a success: a page of 1000 keys of 1024 escaped bytes takes 6 MB
	maxAnswer = 8 << 20
	// elements and attributes: a page of 1000 versions has 15,000; each costs the decoder 200 bytes
	maxNodes = 64 << 10
	maxDepth = 32 // of elements in one another; lists have 4
)

// client sends requests, follows no redirect and bounds the answers. A redirect is not followed
// because the signature is for one host: the request would be refused at another one with an error
// that hides the reason. The redirect itself says what is wrong.
type client struct{ http.RoundTripper }

// Do implements the SDK's HTTPClient.
func (c client) Do(r *http.Request) (*http.Response, error) {
	resp, err := c.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	switch success := resp.StatusCode/100 == 2; {
	case success && isObject(r.Context()):
	case success:
		resp.Body = &answerBody{ReadCloser: resp.Body, left: maxAnswer, end: errNotAStore}
	default:
		// What is cut off there is no error of its own: the status says enough.
		resp.Body = &answerBody{ReadCloser: resp.Body, left: maxError, end: io.EOF}
	}
	return resp, nil
}

type objectCall struct{}

// withObject marks a call whose answer is the content of an object.
func withObject(ctx context.Context) context.Context {
	return context.WithValue(ctx, objectCall{}, true)
}

func isObject(ctx context.Context) bool { return ctx.Value(objectCall{}) != nil }

// answerBody is the body of an answer in XML, as far as it can be the one of a store.
type answerBody struct {
	io.ReadCloser
	left int64 // bytes
	end  error // instead of what is beyond the bounds
	xml  xmlShape
	over bool
}

func (b *answerBody) Read(p []byte) (int, error) {
	if b.over {
		return 0, b.end
	}
	if b.left <= 0 {
		// One more byte tells a body that ends here from one that does not.
		if n, err := b.ReadCloser.Read(make([]byte, 1)); n == 0 {
			return 0, err
		}
		b.over = true
		return 0, b.end
	}
	n, err := b.ReadCloser.Read(p[:min(int64(len(p)), b.left)])
	b.left -= int64(n)
	if !b.xml.accept(p[:n]) {
		b.over = true
		return 0, b.end
	}
	return n, err
}

// xmlShape counts elements and attributes, and how deep they are in one another, before a decoder
// makes objects of them. It is right for well-formed XML; what it makes of anything else does not
// matter, for the decoder refuses that.
type xmlShape struct {
	state        xmlState
	quote        byte
	last         [2]byte // before the current one
	nodes, depth int
}

type xmlState int

const (
	inText xmlState = iota
	afterOpen
	inTag
	inValue
	inEndTag
	inDeclaration // <!…> and <?…>
	inComment
	inCDATA
)

func (x *xmlShape) accept(p []byte) bool {
	for _, c := range p {
		x.step(c)
		x.last = [2]byte{x.last[1], c}
		if x.nodes > maxNodes || x.depth > maxDepth {
			return false
		}
	}
	return true
}

func (x *xmlShape) step(c byte) {
	switch x.state {
	case inText:
		if c == '<' {
			x.state = afterOpen
		}
	case afterOpen:
		switch c {
		case '/':
			x.state = inEndTag
		case '!', '?':
			x.state = inDeclaration
		default:
			x.state = inTag
			x.nodes++
			x.depth++
		}
	case inTag:
		switch c {
		case '"', '\'':
			x.state, x.quote = inValue, c
			x.nodes++
		case '>':
			x.state = inText
			if x.last[1] == '/' {
				x.depth--
			}
		}
	case inValue:
		if c == x.quote {
			x.state = inTag
		}
	case inEndTag:
		if c == '>' {
			x.state = inText
			x.depth--
		}
	case inDeclaration:
		switch {
		case c == '>':
			x.state = inText
		case c == '-' && x.last == [2]byte{'!', '-'}:
			x.state = inComment
		case c == '[' && x.last == [2]byte{'<', '!'}:
			x.state = inCDATA
		}
	case inComment:
		if c == '>' && x.last == [2]byte{'-', '-'} {
			x.state = inText
		}
	case inCDATA:
		if c == '>' && x.last == [2]byte{']', ']'} {
			x.state = inText
		}
	}
}

// isStores reports whether a success was answered by a store: with the ETag that the answer should
// have, or where something on the way has removed that, with a header by which stores number their
// answers. The login page of a network has neither.
func isStores(etag *string, metadata middleware.Metadata) bool {
	if aws.ToString(etag) != "" {
		return true
	}
	resp, ok := awsmiddleware.GetRawResponse(metadata).(*smithyhttp.Response)
	if !ok {
		return false
	}
	for _, name := range []string{
		"X-Amz-Request-Id", "X-Amz-Id-2", "X-Amz-Checksum-Sha256",
		"X-Goog-Hash", "X-Guploader-Uploadid",
	} {
		if resp.Header.Get(name) != "" {
			return true
		}
	}
	return false
}

// isDeleted reports whether the answer to a deletion is a store's: stores answer 204, some 200 with
// their number.
func isDeleted(metadata middleware.Metadata) bool {
	resp, ok := awsmiddleware.GetRawResponse(metadata).(*smithyhttp.Response)
	return ok && resp.StatusCode == http.StatusNoContent || isStores(nil, metadata)
}

var errNoETag = errors.New("the answer has no ETag, which is needed to put the parts together")
