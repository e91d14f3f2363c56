// Package s3test runs the S3 bucket of the service against a real S3 server, which checks
// signatures and checksums.
package s3test
