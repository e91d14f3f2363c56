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

// Bounds of a response before it is parsed. Only the content of an object is unbounded.
const (
	maxHeader = 256 << 10 // of all header lines
	maxError  = 64 << 10  // of the body of an error, which contains a code and a sentence
	// of the body of a success: a page of 1000 keys of 1024 escaped bytes takes 6 MB
	maxAnswer = 8 << 20
	// elements and attributes: a page of 1000 versions has 15,000; each costs the decoder 200 bytes
	maxNodes = 64 << 10
	maxDepth = 32 // nesting depth of elements; lists have 4
)

// client sends requests, follows no redirects and bounds the responses. It follows no redirects
// because the signature is for one host: another host would reject the request with an error that
// hides the reason. The redirect itself shows the problem.
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
		// Truncation is not an error here: the status is sufficient.
		resp.Body = &answerBody{ReadCloser: resp.Body, left: maxError, end: io.EOF}
	}
	return resp, nil
}

type objectCall struct{}

// withObject marks a call whose response is the content of an object.
func withObject(ctx context.Context) context.Context {
	return context.WithValue(ctx, objectCall{}, true)
}

func isObject(ctx context.Context) bool { return ctx.Value(objectCall{}) != nil }

// answerBody is the body of a response in XML. It ends at the bounds that no response of a store
// exceeds.
type answerBody struct {
	io.ReadCloser
	left int64 // bytes
	end  error // error returned beyond the bounds
	xml  xmlShape
	over bool
}

func (b *answerBody) Read(p []byte) (int, error) {
	if b.over {
		return 0, b.end
	}
	if b.left <= 0 {
		// One more byte shows whether the body ends here.
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

// xmlShape counts elements and attributes and their nesting depth before a decoder allocates
// objects for them. The counts are correct for well-formed XML. For other input they do not matter,
// because the decoder rejects it.
type xmlShape struct {
	state        xmlState
	quote        byte
	last         [2]byte // preceding two bytes
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

// isStores reports whether a successful response is from a store. It has the ETag expected in the
// response or, if an intermediary removed the ETag, another header that only stores send, such as a
// request id. The login page of a network has neither.
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

// isDeleted reports whether the response to a deletion is from a store. Stores respond with 204,
// and some with 200 and a request id.
func isDeleted(metadata middleware.Metadata) bool {
	resp, ok := awsmiddleware.GetRawResponse(metadata).(*smithyhttp.Response)
	return ok && resp.StatusCode == http.StatusNoContent || isStores(nil, metadata)
}

var errNoETag = errors.New("the answer has no ETag, which is needed to put the parts together")
