package session_test

import (
	"strings"
	"testing"

	"github.com/syncflow/textegress/internal/session"
)

func TestUUID(t *testing.T) {
	const id = "0b7e6d1e-8a47-4c7a-9a7e-0d4f5f0f7c11"
	for text, want := range map[string]struct {
		is        bool
		canonical string
	}{
		id:                               {true, id},
		strings.ToUpper(id):              {true, id},
		"{" + id + "}":                   {false, id},
		" " + id + "\n":                  {false, id},
		strings.ReplaceAll(id, "-", ""):  {false, id},
		id + "\n" + id:                   {false, ""},
		id[1:]:                           {false, ""},
		id + "0":                         {false, ""},
		"g" + id[1:]:                     {false, ""},
		strings.ReplaceAll(id, "-", "_"): {false, ""},
		"urn:uuid:" + id:                 {false, ""},
		strings.Repeat("é", 16):          {false, ""}, // 32 bytes
		"":                               {false, ""},
	} {
		if got := session.IsUUID(text); got != want.is {
			t.Errorf("IsUUID(%q) = %v", text, got)
		}
		if got := session.CanonicalUUID(text); got != want.canonical {
			t.Errorf("CanonicalUUID(%q) = %q, want %q", text, got, want.canonical)
		}
	}
}
