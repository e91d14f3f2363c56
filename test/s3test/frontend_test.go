package s3test

import (
	"slices"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	awss3 "github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/syncflow/textegress/internal/objstore"
	"github.com/syncflow/textegress/internal/objstore/objtest"
)

func TestConformanceBehindAFrontEnd(t *testing.T) {
	for name, checksums := range map[string]bool{"with checksums": true, "without": false} {
		t.Run(name, func(t *testing.T) {
			front := objtest.FrontEnd(t, servers.S3.Endpoint)
			objtest.Run(t, func(t *testing.T) objstore.Bucket {
				o := options(t)
				o.Endpoint, o.Checksums = front, checksums
				return open(t, o)
			}, objtest.Options{Checksums: checksums, Large: 40 << 20})
		})
	}
}

func TestUnfinishedUploads(t *testing.T) {
	o := options(t)
	client := servers.S3.Client()
	begin := func(key string) {
		if _, err := client.CreateMultipartUpload(t.Context(),
			&awss3.CreateMultipartUploadInput{Bucket: &o.Bucket, Key: &key}); err != nil {
			t.Fatal(err)
		}
	}
	begun := func() []string {
		out, err := client.ListMultipartUploads(t.Context(),
			&awss3.ListMultipartUploadsInput{Bucket: &o.Bucket})
		if err != nil {
			t.Fatal(err)
		}
		var keys []string
		for _, u := range out.Uploads {
			keys = append(keys, aws.ToString(u.Key))
		}
		return slices.Sorted(slices.Values(keys))
	}
	objtest.Unfinished(t, open(t, o), begin, begun)
}
