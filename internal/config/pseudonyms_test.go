package config

import (
	"strings"
	"testing"
)

// TestPseudonyms: off unless it is said, and what is not understood is not "off".
func TestPseudonyms(t *testing.T) {
	c := projectWith(t, "PROJECTS__0__PSEUDONYMS=true")
	if !c.Projects[0].Pseudonyms || c.Projects[1].Pseudonyms {
		t.Errorf("%v, %v", c.Projects[0].Pseudonyms, c.Projects[1].Pseudonyms)
	}
	c = projectWith(t, "PROJECTS__0__PSEUDONYMS=ture")
	if len(c.Broken) != 1 || !strings.Contains(c.Broken[0].String(), "PSEUDONYMS") {
		t.Errorf("%+v", c.Broken)
	}
}
