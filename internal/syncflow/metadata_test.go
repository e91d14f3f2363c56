package syncflow_test

import (
	"testing"

	"github.com/syncflow/textegress/internal/session"
	"github.com/syncflow/textegress/internal/syncflow"
)

func TestSessionOf(t *testing.T) {
	const id = "4fbd5f0a-2f65-4b3a-9e8e-0d4f5f0f7c11"
	tests := []struct{ metadata, want string }{
		{"|session_id:" + id + "|project_id:x|comments:|", id},
		{"|session_id:ABC|project_id:x|comments:|session_id:evil||", "abc"},
		{"", ""},
		{"session_id:x|", ""},
		{"free text |session_id:x|", ""},
		{"|session_id:x", ""},
	}
	for _, tt := range tests {
		if got := syncflow.SessionOf(session.Room{Metadata: tt.metadata}); got != tt.want {
			t.Errorf("SessionOf(%q) = %q, want %q", tt.metadata, got, tt.want)
		}
	}
}
