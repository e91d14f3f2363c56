package s3

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	smithy "github.com/aws/smithy-go"
	smithyhttp "github.com/aws/smithy-go/transport/http"

	"github.com/syncflow/textegress/internal/objstore"
	"github.com/syncflow/textegress/internal/redact"
)

// contentError is a local failure of an upload: the content could not be read.
type contentError struct{ err error }

func (e *contentError) Error() string { return "the content: " + e.err.Error() }
func (e *contentError) Unwrap() error { return e.err }

// errNotAStore reports that a successful response is not from a store, which sets an ETag for each
// object. Such a response must not be mistaken for an object with other content, or for a missing
// object.
var errNotAStore = errors.New("the answer is not that of an S3 store")

// unexplained reports whether err is a rejection without a reason, like every rejection of a HEAD
// request.
func unexplained(err error) bool {
	re, ok := errors.AsType[*smithyhttp.ResponseError](err)
	if !ok {
		return false
	}
	switch re.HTTPStatusCode() {
	case http.StatusBadRequest, http.StatusUnauthorized, http.StatusForbidden:
		return true
	}
	return false
}

func hasCode(err error, code string) bool {
	api, ok := errors.AsType[smithy.APIError](err)
	return ok && api.ErrorCode() == code
}

func hasStatus(err error, statuses ...int) bool {
	re, ok := errors.AsType[*smithyhttp.ResponseError](err)
	return ok && slices.Contains(statuses, re.HTTPStatusCode())
}

// fail converts err into an [objstore.Error] with cause and remedy. ctx is the context of the call
// and shows whether the caller ended it.
func (b *Bucket) fail(ctx context.Context, op, key string, err error) *objstore.Error {
	e := &objstore.Error{Op: op, Bucket: b.name, Key: key, Err: err}
	switch {
	case errors.Is(context.Cause(ctx), errStalled), errors.Is(err, errStalled):
		e.Err, e.Cause = errStalled, fmt.Sprintf("nothing was sent or received for %v",
			b.o.StallTimeout)
	case ctx.Err() != nil:
		// The SDK's error does not always wrap the context's error.
		e.Err, e.Cause = context.Cause(ctx), context.Cause(ctx).Error()
	case errors.Is(err, errNotAStore):
		e.Err, e.Cause = errNotAStore, errNotAStore.Error()
		e.Remedy = "check ENDPOINT, and whether a proxy or the login page of a network answers " +
			"in its place"
	case errors.Is(err, errNoETag):
		e.Err, e.Cause = errNoETag, errNoETag.Error()
		e.Remedy = "let proxies between here and the store pass the header ETag"
	case errors.Is(err, errListEndless), errors.Is(err, errListCut), errors.Is(err, errListForeign):
		e.Err, e.Cause = err, err.Error()
		e.Remedy = "check proxies and gateways between here and the store, or ask its operator"
	default:
		b.classify(e, err)
	}
	e.Cause = redact.Text(e.Cause, key, b.o.SecretKey, b.o.AccessKey)
	return e
}

func (b *Bucket) classify(e *objstore.Error, err error) {
	status := 0
	if re, ok := errors.AsType[*smithyhttp.ResponseError](err); ok {
		status = re.HTTPStatusCode()
		if re.Response != nil {
			defer hints(e, status, re.Response.Header)
		}
	}
	if api, ok := errors.AsType[smithy.APIError](err); ok {
		e.Cause = api.ErrorCode()
		if m := api.ErrorMessage(); m != "" && m != api.ErrorCode() {
			e.Cause += ": " + m
		}
		if status != 0 {
			e.Cause = fmt.Sprintf("HTTP %d, %s", status, e.Cause)
		}
		classifyAnswer(e, api.ErrorCode(), status)
		return
	}
	if status != 0 && status/100 != 2 {
		e.Cause = fmt.Sprintf("HTTP %d", status)
		classifyAnswer(e, "", status)
		return
	}
	if c, ok := errors.AsType[*contentError](err); ok {
		e.Cause = "read the content: " + redact.WithoutPath(c.err)
		return
	}
	if ue, ok := errors.AsType[*url.Error](err); ok {
		err = ue.Err // without the URL, which contains the key
	}
	e.Cause = err.Error()
	classifyTransport(e, err)
}

var (
	regionForm = regexp.MustCompile(`^[a-z0-9-]{1,64}$`)
	hostForm   = regexp.MustCompile(`^[A-Za-z0-9.:\[\]-]{1,300}$`)
)

// hints sets the retry delay and the remedy from the headers of a response.
func hints(e *objstore.Error, status int, h http.Header) {
	e.RetryAfter = retryAfter(h.Get("Retry-After"))
	region := h.Get("X-Amz-Bucket-Region")
	if (status/100 == 3 || status == http.StatusBadRequest) && regionForm.MatchString(region) {
		e.Remedy = "the bucket is in the region " + region + ": set REGION, and ENDPOINT if it " +
			"names another region"
	} else if u, err := url.Parse(h.Get("Location")); status/100 == 3 && err == nil &&
		hostForm.MatchString(u.Host) {
		e.Remedy = "the store redirects to " + u.Scheme + "://" + u.Host +
			": set ENDPOINT, or REGION, accordingly"
	}
}

// retryAfter parses the header Retry-After: seconds or a date.
func retryAfter(v string) time.Duration {
	if n, err := strconv.ParseUint(v, 10, 20); err == nil {
		return time.Duration(n) * time.Second
	}
	if t, err := http.ParseTime(v); err == nil {
		return max(0, time.Until(t))
	}
	return 0
}

const badSignature = "check SECRET_KEY of the project's S3 settings; if it is right, a proxy or " +
	"front end changes the request on its way: " +
	"it must leave method, host, path, query and the x-amz-* headers as they are"

// permanentCodes maps error codes of S3 and its clones after which the same request fails again to
// the remedy for the operator. Other codes are classified by their HTTP status.
// https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html#ErrorCodeList
var permanentCodes = map[string]string{
	"AccessDenied": "allow this access key s3:PutObject and s3:GetObject " +
		"on the objects and s3:ListBucket on the bucket",
	"Forbidden": "allow this access key s3:PutObject and s3:GetObject " +
		"on the objects and s3:ListBucket on the bucket",
	"AllAccessDisabled":  "ask the operator of the store",
	"AccountProblem":     "ask the operator of the store",
	"InvalidAccessKeyId": "check ACCESS_KEY of the project's S3 settings",
	// code of versitygw
	"XAdminUserNotFound":                 "check ACCESS_KEY of the project's S3 settings",
	"SignatureDoesNotMatch":              badSignature,
	"InvalidToken":                       "check the project's S3 credentials",
	"ExpiredToken":                       "check the project's S3 credentials",
	"NoSuchBucket":                       "create the bucket or correct BUCKET_NAME",
	"InvalidBucketName":                  "correct BUCKET_NAME",
	"PermanentRedirect":                  "set REGION or ENDPOINT to where the bucket is",
	"AuthorizationHeaderMalformed":       "set REGION to the bucket's",
	"IllegalLocationConstraintException": "set REGION to the bucket's",
	"KeyTooLongError":                    "",
	"EntityTooLarge":                     "",
	"NotImplemented": "if the store does not know checksum headers, turn " +
		"them off in the project's S3 settings",
	"InvalidRequest": "if the store does not know checksum headers, turn " +
		"them off in the project's S3 settings",
	"InvalidArgument": "if the store does not know checksum headers, turn " +
		"them off in the project's S3 settings",
	"QuotaExceeded": "make room in the store",
	"MethodNotAllowed": "check ENDPOINT: this is probably not the S3 port " +
		"of the store",
	"InvalidObjectState": "",
}

// transientCodes have a status of 4xx, but retrying the request can help.
var transientCodes = map[string]string{
	"RequestTimeout":              "",
	"IncompleteBody":              "",
	"BadDigest":                   "", // bytes were damaged in transit
	"XAmzContentSHA256Mismatch":   "",
	"XAmzContentChecksumMismatch": "",
	"InvalidDigest":               "",
	"NoSuchUpload":                "",
	"InvalidPart":                 "",
	"OperationAborted":            "",
	"ConditionalRequestConflict":  "",
	"SlowDown":                    "",
	"TooManyRequests":             "",
	"ThrottlingException":         "",
	"Throttling":                  "",
	"RequestLimitExceeded":        "",
	"BandwidthLimitExceeded":      "",
	"TemporaryRedirect":           "a new bucket is known everywhere only after some hours",
	"RequestTimeTooSkewed": "the clocks of this machine and of the store differ by more " +
		"than 15 minutes: set them right (NTP)",
	"RequestExpired": "the clocks of this machine and of the store differ: set them " +
		"right (NTP)",
}

func classifyAnswer(e *objstore.Error, code string, status int) {
	if remedy, ok := permanentCodes[code]; ok {
		e.Permanent, e.Remedy = true, remedy
		return
	}
	if remedy, ok := transientCodes[code]; ok {
		e.Remedy = remedy
		return
	}
	// not in the response of a broken server
	if (code == "NoSuchKey" || code == "NotFound") && status/100 == 4 {
		e.NotFound, e.Permanent, e.Cause, e.Remedy = true, true, "no such object", ""
		if e.Op == "list" || e.Op == "upload" {
			e.NotFound, e.Cause, e.Remedy = false, "not found", permanentCodes["NoSuchBucket"]
		}
		return
	}
	switch {
	case status == http.StatusNotFound && (e.Op == "stat" || e.Op == "open" || e.Op == "delete"):
		e.NotFound, e.Permanent, e.Cause = true, true, "no such object"
	case status == http.StatusNotFound:
		e.Permanent, e.Remedy = true, permanentCodes["NoSuchBucket"]
	case status == http.StatusForbidden, status == http.StatusUnauthorized:
		e.Permanent, e.Remedy = true, "check ACCESS_KEY and SECRET_KEY, and "+
			permanentCodes["AccessDenied"]
	case status == http.StatusTemporaryRedirect:
	case status/100 == 3:
		e.Permanent, e.Remedy = true, permanentCodes["PermanentRedirect"]
	case status == http.StatusRequestTimeout, status == http.StatusTooEarly,
		status == http.StatusTooManyRequests,
		status == http.StatusConflict, status == http.StatusMisdirectedRequest:
	case status == http.StatusNotImplemented:
		e.Permanent, e.Remedy = true, permanentCodes["NotImplemented"]
	case status/100 == 4:
		e.Permanent = true
	}
}

// classifyTransport classifies an error that is not a response of the store.
func classifyTransport(e *objstore.Error, err error) {
	if _, ok := errors.AsType[x509.UnknownAuthorityError](err); ok {
		e.Permanent, e.Remedy = true, "install the certificate of the store's authority on "+
			"this machine"
	}
	if _, ok := errors.AsType[x509.HostnameError](err); ok {
		e.Permanent, e.Remedy = true, "use a name in ENDPOINT that the store's certificate contains"
	}
	if _, ok := errors.AsType[x509.CertificateInvalidError](err); ok {
		e.Permanent, e.Remedy = true, "renew the store's certificate, or set this machine's "+
			"clock right"
	}
	if _, ok := errors.AsType[tls.RecordHeaderError](err); ok ||
		strings.Contains(err.Error(), "server gave HTTP response to HTTPS client") {
		e.Permanent, e.Remedy = true, "the store does not speak TLS on this port: begin ENDPOINT "+
			"with http://"
	}
	if dns, ok := errors.AsType[*net.DNSError](err); ok && dns.IsNotFound {
		// may be a network outage, so not permanent
		e.Remedy = "check ENDPOINT and this machine's name service"
	}
}
