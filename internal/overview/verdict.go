package overview

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"
)

// maxClauses is how many problems the headline of a verdict names. All of them are in its details.
const maxClauses = 2

// finding is one thing that a verdict is about.
type finding struct {
	level  Level
	clause string // part of the headline; "" if it is only a detail
	detail []string
}

// Judge returns the verdict on everything else in o. It names participants only if the sessions
// list them.
func Judge(o Overview) Verdict {
	v := Verdict{Level: Idle, Details: []string{}}
	running := 0
	for _, s := range o.Sessions {
		switch s.State {
		case StateRecording:
			v.Recording++
			running++
		case StateStarting, StateCutOff:
			running++
		}
	}
	if running > 0 {
		v.Level = OK
	}
	findings := findings(o)
	slices.SortStableFunc(findings, func(a, b finding) int {
		switch {
		case a.level == b.level:
			return 0
		case a.level.Worse(b.level) == a.level:
			return -1
		}
		return 1
	})
	var clauses []string
	for _, f := range findings {
		v.Level = v.Level.Worse(f.level)
		v.Details = append(v.Details, f.detail...)
		if f.clause != "" && len(clauses) < maxClauses {
			clauses = append(clauses, f.clause)
		}
	}
	v.Headline = headline(v.Recording, running, clauses)
	return v
}

func headline(recording, running int, clauses []string) string {
	problems := strings.Join(clauses, " and ")
	switch {
	case running == 0 && problems == "":
		return "No session is running. The service is ready to record."
	case running == 0:
		return "Nothing is being recorded, and " + problems
	case recording == 0 && problems == "":
		return "Joining " + count(running, "session", "sessions")
	case recording == 0:
		return "Nothing is being recorded: " + problems
	case problems == "":
		return "Recording " + count(recording, "session", "sessions") + ". Everything is on disk."
	}
	return "Recording " + count(recording, "session", "sessions") + ", but " + problems
}

// findings returns what is worth saying about o.
func findings(o Overview) []finding {
	var all []finding
	switch o.Disk.State {
	case DiskFull:
		all = append(all, finding{level: Bad, clause: "the disk is full"})
	case DiskLow:
		all = append(all, finding{level: Warn, clause: "the disk is almost full"})
	}
	if n := len(o.Unrecorded); n > 0 {
		f := finding{level: Bad, clause: "the recorder was removed from " +
			count(n, "session", "sessions")}
		for _, s := range o.Unrecorded {
			f.detail = append(f.detail, s.name()+": "+s.Reason)
		}
		all = append(all, f)
	}
	all = append(all, sessionFindings(o)...)
	for _, h := range o.Health {
		if h.Level != Bad && h.Level != Warn {
			continue
		}
		f := finding{level: h.Level, detail: []string{h.title() + ": " + h.Text}}
		// The state of a full disk is a finding already.
		if h.Level == Bad && (h.What != HealthDisk || o.Disk.State == DiskOK) {
			f.clause = "there is a problem with " + h.noun()
		}
		all = append(all, f)
	}
	return all
}

// sessionFindings returns the findings on the sessions of o, one for each kind.
func sessionFindings(o Overview) []finding {
	cutOff := finding{level: Bad}
	waiting := finding{level: Warn}
	undelivered := finding{level: Warn}
	missing := finding{level: Warn}
	silent := finding{level: Warn}
	var nAbsent, nSilent int
	for _, s := range o.Sessions {
		switch {
		case s.State == StateCutOff:
			text := "cut off"
			if !s.CutOffSince.IsZero() {
				text += " for " + Duration(o.At.Sub(s.CutOffSince))
			}
			cutOff.detail = append(cutOff.detail, s.name()+": "+text+because(s.Reason))
		case s.State == StateStarting && (s.Level == Warn || s.Level == Bad):
			waiting.level = waiting.level.Worse(s.Level)
			waiting.detail = append(waiting.detail, s.name()+": not in the room yet"+
				because(s.Reason))
		case s.State == StateDelivering && (s.Level == Warn || s.Level == Bad):
			undelivered.level = undelivered.level.Worse(s.Level)
			undelivered.detail = append(undelivered.detail, s.name()+": not delivered yet"+
				because(s.Reason))
		}
		nAbsent += s.Absent
		nSilent += s.Silent
		if s.Absent > 0 {
			missing.detail = append(missing.detail, s.name()+": "+
				who(s, PersonAbsent, s.Absent, "expected and not there"))
		}
		if s.Silent > 0 {
			silent.detail = append(silent.detail, s.name()+": "+
				who(s, PersonSilent, s.Silent, "silent for "+Duration(SilentAfter)+" or longer"))
		}
	}
	cutOff.clause = count(len(cutOff.detail), "session is", "sessions are") + " cut off"
	waiting.clause = count(len(waiting.detail), "session has", "sessions have") +
		" not been joined yet"
	undelivered.clause = count(len(undelivered.detail), "recording", "recordings") +
		" cannot be delivered"
	missing.clause = count(nAbsent, "person is", "people are") + " missing"
	var all []finding
	for _, f := range []finding{cutOff, waiting, undelivered, missing, silent} {
		if len(f.detail) > 0 {
			all = append(all, f)
		}
	}
	return all
}

// maxNamed is how many people a detail of a verdict names.
const maxNamed = 3

// who says which people of a session are in a state, by name if the session lists them.
func who(s Session, state string, n int, what string) string {
	var names []string
	for _, p := range s.People {
		if p.State == state && len(names) < maxNamed {
			names = append(names, "“"+cmp.Or(p.Name, p.Identity)+"”")
		}
	}
	if len(names) == 0 {
		return count(n, "person is ", "people are ") + what
	}
	list := strings.Join(names, ", ")
	if more := n - len(names); more > 0 {
		list += fmt.Sprintf(" and %d more", more)
	}
	if n == 1 {
		return list + " is " + what
	}
	return list + " are " + what
}

func (s Session) name() string { return cmp.Or(s.Room, s.SessionID) }

func (s SessionRef) name() string { return cmp.Or(s.Room, s.SessionID) }

func (h Health) title() string {
	if h.Project == "" {
		return h.Name
	}
	return h.Name + " of " + h.Project
}

// noun returns what has a problem, as part of a sentence.
func (h Health) noun() string {
	name := h.Name
	if h.What != HealthPlatform && name != "" {
		name = "the " + strings.ToLower(name[:1]) + name[1:]
	}
	if h.Project != "" {
		name += " of " + h.Project
	}
	return name
}

func because(reason string) string {
	if reason == "" {
		return ""
	}
	return ", " + reason
}

// count returns a number with its noun: "one session", "12 sessions".
func count(n int, one, many string) string {
	if n == 1 {
		return "one " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}

// Duration returns a duration for people, in its largest unit: "12 s", "4 min", "2 h", "9 days".
func Duration(d time.Duration) string {
	switch {
	case d < 0:
		return "0 s"
	case d < 2*time.Minute:
		return fmt.Sprintf("%d s", int(d.Seconds()))
	case d < 2*time.Hour:
		return fmt.Sprintf("%d min", int(d.Minutes()))
	case d < 48*time.Hour:
		return fmt.Sprintf("%d h", int(d.Hours()))
	}
	return fmt.Sprintf("%d days", int(d.Hours()/24))
}
