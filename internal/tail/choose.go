package tail

import (
	"errors"

	"github.com/syncflow/textegress/internal/spool"
)

// Errors of [Choose].
var (
	ErrNone    = errors.New("no recording matches")
	ErrNotOne  = errors.New("more than one recording is open; name one")
	ErrNotOpen = errors.New("no recording is open; name one")
)

// Choose returns the recording with the egress id, session id or room name: the newest open one or,
// if none is open, the newest. others is how many more match. Without a name it returns the only
// open recording.
func Choose(all []*spool.Recording, name string) (rec *spool.Recording, others int, err error) {
	var open, matching []*spool.Recording // oldest first, like all
	for _, r := range all {
		i := r.Info()
		if i.EgressID == name {
			return r, 0, nil
		}
		if name != "" && i.SessionID != name && i.RoomName != name {
			continue
		}
		matching = append(matching, r)
		if r.State() == spool.StateOpen {
			open = append(open, r)
		}
	}
	switch {
	case name == "" && len(open) == 0:
		return nil, 0, ErrNotOpen
	case name == "" && len(open) > 1:
		return nil, 0, ErrNotOne
	case len(matching) == 0:
		return nil, 0, ErrNone
	case len(open) > 0:
		rec = open[len(open)-1]
	default:
		rec = matching[len(matching)-1]
	}
	if name == "" {
		return rec, 0, nil
	}
	return rec, len(matching) - 1, nil
}
