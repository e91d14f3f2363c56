// Package redacttest provides pseudonyms for tests.
package redacttest

import "fmt"

// Pseudonyms implements redact.Pseudonyms. Its pseudonyms are numbered, so that a test can tell
// them from what they replace. The zero value is ready to use. It is not safe for concurrent use.
type Pseudonyms struct {
	Known map[string]string // identity to pseudonym
	Saved []string          // the identities passed to Save, in order
	Err   error             // what Save returns
}

// Of returns "P-" with the number of the identity.
func (p *Pseudonyms) Of(identity string) string {
	if identity == "" {
		return ""
	}
	if p.Known == nil {
		p.Known = map[string]string{}
	}
	if p.Known[identity] == "" {
		p.Known[identity] = fmt.Sprintf("P-%d", len(p.Known)+1)
	}
	return p.Known[identity]
}

// ID returns "I-" with the number of the id.
func (p *Pseudonyms) ID(id string) string {
	if id == "" {
		return ""
	}
	return "I-" + p.Of("id " + id)[2:]
}

// Save notes the identities and returns Err.
func (p *Pseudonyms) Save(identities []string) error {
	p.Saved = append(p.Saved, identities...)
	return p.Err
}
