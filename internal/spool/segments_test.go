package spool

import (
	"bytes"
	"testing"
)

// TestStateFile_Webhooks: the URLs of webhooks stay on the machine, everything else is delivered
// byte for byte.
func TestStateFile_Webhooks(t *testing.T) {
	_, o := memory()
	s := openSpool(t, "/data", o)
	plain, err := s.Create(Info{EgressID: "DE_1", SessionID: "s", RequestID: "r"})
	if err != nil {
		t.Fatal(err)
	}
	url := "https://user:secret@example.org/hook?token=secret"
	hooked, err := s.Create(Info{
		EgressID: "DE_2", SessionID: "t", RequestID: "r", Webhooks: []string{url},
	})
	if err != nil {
		t.Fatal(err)
	}
	if hooked.Info().Webhooks[0] != url {
		t.Error("the recorder has lost the webhook")
	}
	file, err := s.fs.ReadFile("test", plain.path(recordingName))
	if err != nil {
		t.Fatal(err)
	}
	if b, err := plain.StateFile(recordingName); err != nil || !bytes.Equal(b, file) {
		t.Errorf("%s, %v, want %s", b, err, file)
	}
	b, err := hooked.StateFile(recordingName)
	if err != nil || bytes.Contains(b, []byte("secret")) {
		t.Errorf("%s, %v", b, err)
	}
	info, err := DecodeInfo(b)
	if err != nil || info.EgressID != "DE_2" || info.RequestID != "r" {
		t.Errorf("%+v, %v", info, err)
	}
}
