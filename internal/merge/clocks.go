package merge

import (
	"iter"

	"github.com/syncflow/textegress/segment"
)

// maxSample is the number of frames sampled from a recording to compare the clocks.
const maxSample = 1 << 14

// clocks compares the clocks of two recordings. It returns the median difference between the times
// at which both received the same packet. ok is false if no packet is certain to be in both.
//
// It samples packets by their keys at a decreasing rate, so that memory is bounded and both
// recordings sample the same packets.
func clocks(a, b iter.Seq2[segment.Frame, error]) (offset int64, ok bool, err error) {
	sample := map[key]seen{}
	mask := byte(0)
	var first, second items
	for f, err := range a {
		if err != nil {
			return 0, false, err
		}
		it := first.next(f)
		if it.class == classRecorder || it.key[0]&mask != 0 {
			continue
		}
		old := sample[it.key]
		sample[it.key] = seen{class: it.class, at: it.sortTime, times: old.times + 1}
		for len(sample) > maxSample && mask != 0xff {
			mask = mask<<1 | 1
			for k := range sample {
				if k[0]&mask != 0 {
					delete(sample, k)
				}
			}
		}
	}
	other := map[key]seen{}
	for f, err := range b {
		if err != nil {
			return 0, false, err
		}
		it := second.next(f)
		if s, in := sample[it.key]; in && s.class == it.class {
			old := other[it.key]
			other[it.key] = seen{class: it.class, at: it.sortTime, times: old.times + 1}
		}
	}
	// Numbered packets match with certainty. Content is used only without them, and room events
	// only as the last resort.
	for _, c := range []class{classNumbered, classPart, classContent, classParticipant} {
		var differences []int64
		for k, x := range other {
			if y := sample[k]; x.class == c && x.times == 1 && y.times == 1 {
				differences = append(differences, x.at-y.at)
			}
		}
		if len(differences) > 0 {
			return median(differences), c != classParticipant, nil
		}
	}
	return 0, false, nil
}

type seen struct {
	class class
	at    int64
	times int
}
