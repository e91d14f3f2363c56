package delivery

import "testing"

// FuzzUploaded: whatever stands in uploaded.json, local data is removed only if it says when it was
// delivered.
func FuzzUploaded(f *testing.F) {
	f.Add([]byte(
		`{"format_version":1,"revision":1,"bucket":"s3://b at https://s3.example.org","prefix":"p/","objects":7,"bytes":5188,"uploaded_unix_ns":1750000000000000000}`))
	f.Add([]byte(`{"format_version":1,"revision":1,"uploaded_unix`))
	f.Add([]byte(`{"uploaded_unix_ns":-1}`))
	f.Add([]byte(`{"uploaded_unix_ns":9223372036854775808}`))
	f.Add([]byte("null"))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, data []byte) {
		if up, err := parseUploaded(data); err == nil && up.UploadedUnixNS <= 0 {
			t.Errorf("accepted: %+v", up)
		}
	})
}
