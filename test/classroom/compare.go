package classroom

import "fmt"

// Received is a recorded message.
type Received struct {
	Topic    string
	Payload  []byte
	Reliable bool
}

// Difference is how the record of one sender differs from what it sent.
type Difference struct {
	// MissingReliable and MissingLossy list the numbers that were not received. Lossy messages may
	// be missing.
	MissingReliable, MissingLossy []int
	// Surplus lists the positions in the record, from 0, of messages that were not sent, or that
	// were sent less often.
	Surplus []int
	// DisorderReliable and DisorderLossy list the positions of messages that follow a later message
	// of the same kind (reliable or lossy). Lossy messages may be out of order.
	DisorderReliable, DisorderLossy []int
	// At maps every number received to its position in the record.
	At map[int]int
}

// Faithful reports whether the record is correct: it has all reliable messages in order, and
// nothing that was not sent.
func (d Difference) Faithful() bool {
	return len(d.MissingReliable)+len(d.Surplus)+len(d.DisorderReliable) == 0
}

func (d Difference) String() string {
	return fmt.Sprintf("missing %d reliable %v and %d lossy, surplus %v, out of order %v",
		len(d.MissingReliable), d.MissingReliable,
		len(d.MissingLossy), d.Surplus, d.DisorderReliable)
}

// Compare compares the messages of one sender with those recorded, in the order of the record. It
// uses content and position, never time.
func Compare(sent []Message, got []Received) Difference {
	type key struct {
		topic, payload string
		reliable       bool
	}
	waiting := map[key][]int{} // numbers not yet seen, in order
	for _, m := range sent {
		k := key{m.Topic, string(m.Payload), m.Reliable}
		waiting[k] = append(waiting[k], m.N)
	}
	d := Difference{At: map[int]int{}}
	last := map[bool]int{}
	for i, g := range got {
		k := key{g.Topic, string(g.Payload), g.Reliable}
		if len(waiting[k]) == 0 {
			d.Surplus = append(d.Surplus, i)
			continue
		}
		n := waiting[k][0]
		waiting[k] = waiting[k][1:]
		d.At[n] = i
		switch {
		case n > last[g.Reliable]:
			last[g.Reliable] = n
		case g.Reliable:
			d.DisorderReliable = append(d.DisorderReliable, i)
		default:
			d.DisorderLossy = append(d.DisorderLossy, i)
		}
	}
	for _, m := range sent {
		if _, ok := d.At[m.N]; ok {
			continue
		}
		if m.Reliable {
			d.MissingReliable = append(d.MissingReliable, m.N)
		} else {
			d.MissingLossy = append(d.MissingLossy, m.N)
		}
	}
	return d
}
