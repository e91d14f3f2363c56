package clients

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"github.com/syncflow/textegress"
	"github.com/syncflow/textegress/test/stack"
)

// decrypt checks what was delivered of an encrypted room without the key, and goes on with what the
// key makes of it: all views are derived again from the delivered raw segments.
func (g *group) decrypt(t *testing.T, r *stack.Recorder) {
	t.Helper()
	ciphertexts, frames := 0, 0
	for _, m := range g.messages {
		if m.Kind.IsEvent() {
			continue
		}
		// only the payload of a frame is encrypted, the header is not
		if m.Kind == textegress.KindDataTrack {
			frames++
			if m.Encryption == nil || m.Encryption.Reason != textegress.EncryptedNoKey ||
				m.Text != nil || len(m.Base64) == 0 {
				t.Errorf("line %d has encryption %+v, want a frame without a key", m.N,
					m.Encryption)
			}
			continue
		}
		ciphertexts++
		if m.Kind != textegress.KindEncrypted || m.Encryption == nil ||
			m.Encryption.Reason != textegress.EncryptedNoKey || m.Text != nil ||
			len(m.Base64) == 0 {
			t.Errorf("line %d is of kind %s with encryption %+v, want ciphertext without a key",
				m.N, m.Kind, m.Encryption)
		}
		if m.Identity == "" || m.ParticipantSID == "" {
			t.Errorf("line %d has the sender %q %q", m.N, m.Identity, m.ParticipantSID)
		}
	}
	if got := g.delivered.Manifest().Completeness.UndecryptablePackets; frames == 0 ||
		got != int64(ciphertexts+frames) {
		t.Errorf("the manifest states %d packets that could not be decrypted, the lines are %d "+
			"and %d frames", got, ciphertexts, frames)
	}
	if got := g.delivered.Manifest().Counts.ByKind[textegress.KindEncrypted]; ciphertexts == 0 ||
		got != int64(ciphertexts) {
		t.Errorf("the manifest counts %d packets that could not be decrypted, the lines are %d",
			got, ciphertexts)
	}
	b := must(os.ReadFile(filepath.Join(g.dir, textegress.EventsName)))(t)
	if bytes.Contains(b, []byte("héllo")) {
		t.Error("an encrypted text is in the record that was delivered without a key")
	}
	keys := filepath.Join(t.TempDir(), "keys.txt")
	check(t, os.WriteFile(keys, []byte("another passphrase\n"+passphrase+"\n"), 0o600))
	again := filepath.Join(t.TempDir(), "decrypted")
	stdout, stderr, code, err := r.CLI(t.Context(), "export", "--from", g.delivered.S3URL(),
		"--e2ee-key-file", keys, again)
	check(t, err)
	if code != 0 {
		t.Fatalf("export: exit code %d\n%s%s", code, stdout, stderr)
	}
	recording := must(textegress.Open(os.DirFS(again)))(t)
	check(t, recording.Verify(t.Context(), nil))
	g.look(t, recording, again)
}
