package page_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/syncflow/textegress/internal/overview"
	"github.com/syncflow/textegress/internal/web/access"
	"github.com/syncflow/textegress/internal/web/page/pagetest"
)

// four are more sessions than can list everybody.
func four() []overview.Session {
	var out []overview.Session
	for _, room := range []string{"a", "b", "c", "d"} {
		out = append(out, pagetest.Class(at, room, 30))
	}
	return out
}

// TestNow asserts what a person reads on the first page.
func TestNow(t *testing.T) {
	class := with(pagetest.Troubled(at, "class-7a", 30))
	tests := []struct {
		name   string
		o      overview.Overview
		rights access.Rights
		path   string
		want   []string
		not    []string
	}{
		{name: "empty", o: pagetest.Empty(at), rights: operator, want: []string{
			"No session is running. The service is ready to record.",
			"When a session begins, it appears here by itself.",
			"31 GB free, enough for about 9 days", "Rehearsal", "Log out sam",
		}, not: []string{"Stop recording"}},
		{
			name: "one session", o: with(pagetest.Class(at, "class-7a", 3)), rights: operator,
			want: []string{
				"Recording one session. Everything is on disk.", "class-7a recording for 0:31:12",
				"1,584 messages · 1/s · no outage so far · safe on disk to within a second",
				"3 here", "Alice , here 701 messages last 21 s", "Text Timeline Stop recording…",
			}, not: []string{"silent", "missing", "Show"},
		},
		{name: "class of 30", o: class, rights: operator, want: []string{
			"Recording one session, but one person is missing",
			"“Fatima” is expected and not there", "“Chen” is silent for 10 min or longer",
			"1 missing 1 silent 28 here 1 left", "1 outage so far",
			// Those who need attention come first.
			"5 min Fatima expected, not here Chen , silent 194 messages last 11 min Alice , here",
			"Emeka , here since 08:59 UTC", "Dörte 260 messages left 08:53 UTC",
		}},
		{name: "class of 30, without a login", o: class, rights: nobody, want: []string{
			"Recording one session, but one person is missing",
			"class-7a: one person is expected and not there", "1 missing 1 silent 28 here",
			"You see sessions and numbers. Names, text and buttons need a login", "Log in",
		}, not: []string{"Stop recording", "Rehearsal", "Text Timeline"}},
		{name: "busy", o: pagetest.Busy(at), rights: operator, want: []string{
			"Recording one session, but the recorder was removed from one session and one session " +
				"is cut off",
			"an administrator removed the recorder from the room, since 08:51 UTC Record again…",
			"class-7b cut off 12 s", "a second LiveKit does not answer; next try in 3 s 2 here before",
			"Alice , here before the recorder was cut off", "pilot delivering 62 %",
			"2 sessions run that nobody asked to record", "staff meeting Study 1 Record…",
		}},
		{
			name: "busy, without the right to act", o: pagetest.Busy(at), rights: reader,
			want: []string{"Alice", "Text Timeline"}, not: []string{
				"Stop recording…", "Record…", "Record again…", "Rehearsal",
			},
		},
		{
			name: "full disk, refused bucket", o: pagetest.DiskFull(at), rights: operator,
			want: []string{
				"Nothing is being recorded: the disk is full",
				"full: nothing can be recorded. Free some space", "refuses: access denied",
				"safe on disk only up to 95 s ago",
				"the disk is full; recording continues when there is space",
			}, not: []string{"Everything is on disk"},
		},
		{
			name: "four classes", o: with(four()...), rights: operator,
			want: []string{"Recording 4 sessions.", "Carmen", "Show 25 more"},
			not:  []string{"Zoë"},
		},
		{
			name: "four classes, one opened", o: with(four()...), rights: operator,
			path: "/?open=EG_b", want: []string{"Zoë", "Show 25 more"},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if tt.path == "" {
				tt.path = "/"
			}
			w := request(t, pagetest.New(tt.o, pagetest.Past(at)...), tt.rights, tt.path, nil)
			if w.Code != http.StatusOK {
				t.Fatalf("status %d", w.Code)
			}
			got := text(w.Body.String())
			for _, want := range append(tt.want, "class-6c Mon 2 Mar 2026, 07:05 UTC") {
				if !strings.Contains(got, want) {
					t.Errorf("%q is missing in %s", want, got)
				}
			}
			for _, not := range tt.not {
				if strings.Contains(got, not) {
					t.Errorf("%q is in %s", not, got)
				}
			}
			if !tt.rights.Read {
				anonymous(t, w.Body.String(), tt.o)
			}
		})
	}
}

// anonymous holds that no name or identity is anywhere in a page, whether it can be seen or not.
func anonymous(t *testing.T, page string, o overview.Overview) {
	t.Helper()
	for _, s := range o.Sessions {
		for _, p := range s.People {
			if strings.Contains(page, p.Identity) || strings.Contains(page, p.Name) {
				t.Errorf("%s (%s) is named to somebody without a login", p.Name, p.Identity)
			}
		}
	}
}

// A thousand sessions are a page of bounded size, with a line for each session that has no card.
func TestNow_Thousand(t *testing.T) {
	s := pagetest.New(pagetest.Many(at, 1000), pagetest.Past(at)...)
	page := request(t, s, operator, "/", nil).Body.String()
	if n := len(page); n > 1<<20 {
		t.Errorf("%d bytes", n)
	}
	for _, want := range []string{"Recording 1000 sessions", "940 more sessions", "class-1000"} {
		if !strings.Contains(text(page), want) {
			t.Errorf("%q is missing", want)
		}
	}
	if n := strings.Count(page, `class="card ok"`); n != 60 {
		t.Errorf("%d cards", n)
	}
}

// The title and the icon say without the page what is wrong.
func TestNow_Title(t *testing.T) {
	for want, o := range map[string]overview.Overview{
		"<title>○ ready · ":         pagetest.Empty(at),
		"<title>● 1 recording · ":   with(pagetest.Class(at, "class-7a", 3)),
		"<title>◆ 1 recording · ":   pagetest.Busy(at),
		"<title>◆ not recording · ": pagetest.DiskFull(at),
	} {
		page := request(t, pagetest.New(o), operator, "/", nil).Body.String()
		if !strings.Contains(page, want) {
			t.Errorf("%q is missing", want)
		}
	}
}

// What people are called, and the names of rooms, are text and never markup.
func TestHostileNames(t *testing.T) {
	const evil = `"><script>alert(1)</script><img src=x onerror='a()'>&amp;`
	s := pagetest.Class(at, "r", 2)
	s.Room, s.ProjectName, s.Reason = evil, evil, evil
	s.People[0].Name, s.People[1].Identity, s.People[1].Name = evil, evil, ""
	o := with(s)
	o.Unrequested = []overview.SessionRef{{SessionID: evil, Project: evil, Room: evil}}
	o.Unrecorded = []overview.UnrecordedRef{{SessionRef: o.Unrequested[0], Reason: evil}}
	o.Health[0].Text = evil
	past := pagetest.Past(at)
	past[0].Room, past[0].Prefix, past[0].Captured.Text, past[0].Methods = evil, evil, evil, evil
	service := pagetest.New(o, past...)
	service.Say(evil, evil, evil)
	for _, path := range []string{
		"/", "/recordings", "/recordings/EG_r", "/recordings/EG_class-6c", "/recordings/EG_r/text",
		"/act/stop?id=EG_r", "/act/record?session=a&room=%22%3E%3Cscript%3Ealert(1)%3C/script%3E",
		"/recordings?q=%22%3E%3Cscript%3Ealert(1)%3C/script%3E",
	} {
		w := request(t, service, operator, path, nil)
		page := w.Body.String()
		if w.Code != http.StatusOK || !strings.Contains(page, "alert(1)") {
			t.Errorf("%s: %d, the name is missing", path, w.Code)
		}
		for _, markup := range []string{"<script>", "<img", "onerror='"} {
			if strings.Contains(page, markup) {
				t.Errorf("%s: the page contains %s", path, markup)
			}
		}
	}
}
