package access

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/crypto/bcrypt"
)

func TestUsersFile(t *testing.T) {
	good := user(t, "alice", "a")
	hash := strings.TrimSpace(strings.TrimPrefix(good, "alice:"))
	for _, tt := range []struct {
		name, content string
		users         int
		wrong         string // contained in the error
	}{
		{"one", good, 1, ""},
		{"comments, empty lines, CRLF, BOM", "\ufeff# x\r\n\r\n" + strings.TrimSpace(good) +
			"\r\nbob:" + hash + "\r\n", 2, ""},
		{"a comment behind the hash", strings.TrimSpace(good) + ":of the lab\n", 1, ""},
		{"other programs", "a:" + strings.Replace(hash, "$2a$", "$2y$", 1) + "\nb:" +
			strings.Replace(hash, "$2a$", "$2b$", 1), 2, ""},
		{"an e-mail address", "zoë@example.org:" + hash, 1, ""},
		{"empty", "", 0, "has no user"},
		{"only comments", "# alice\n", 0, "has no user"},
		{"no hash", "alice\n", 0, "line 1 is not name:hash"},
		{"no name", ":" + hash, 0, "line 1 is not name:hash"},
		{"plain", good + "bob:hunter2\n", 0, "line 2: the password is not stored with bcrypt"},
		{"MD5", "bob:$apr1$r31.....$HqJZimcKQFAMYayBlzkrA/", 0, "htpasswd -B"},
		{"SHA-1", "bob:{SHA}W6ph5Mm5Pz8GgiULbPgzG37mj9g=", 0, "htpasswd -B"},
		{"SHA-512", "bob:$6$saltsalt$" + strings.Repeat("x", 86), 0, "htpasswd -B"},
		{"another bcrypt", "bob:" + strings.Replace(hash, "$2a$", "$2x$", 1), 0, "htpasswd -B"},
		{"cut off", "bob:" + hash[:59], 0, "htpasswd -B"},
		{"too slow", "bob:" + strings.Replace(hash, "$04$", "$15$", 1), 0, "a bcrypt cost of 15"},
		{"twice", good + good, 0, "line 2: the user has a line before"},
		{"called token", "token:" + hash, 0, "no user may be called token"},
		{"called link", "link:" + hash, 0, "no user may be called link"},
		{"called *", "*:" + hash, 0, "no user may be called *"},
		{"control characters", "a\x1b[2Jb:" + hash, 0, "control characters"},
		{"a long name", strings.Repeat("x", 129) + ":" + hash, 0, "longer than 128 bytes"},
		{"a long line", strings.Repeat("x", 70000), 0, "cannot be read"},
		{"too large", strings.Repeat("#\n", 1<<19) + "x", 0, "more than"},
	} {
		users, err := readUsers(file(t, tt.content))
		switch {
		case len(users) != tt.users, (err == nil) != (tt.wrong == ""),
			err != nil && !strings.Contains(err.Error(), tt.wrong):
			t.Errorf("%s: %d users, %v, want %d, %q", tt.name, len(users), err, tt.users, tt.wrong)
		case err != nil && (strings.Contains(err.Error(), "hunter2") ||
			strings.Contains(err.Error(), "$2") || strings.Contains(err.Error(), "bob")):
			t.Errorf("%s: the error shows the content: %v", tt.name, err)
		}
	}
	if _, err := readUsers("/nowhere/users"); err == nil ||
		!strings.Contains(err.Error(), "no such file") {
		t.Errorf("a missing file: %v", err)
	}
}

// TestCheck: who may act must be somebody who can log in.
func TestCheck(t *testing.T) {
	users := file(t, user(t, "alice", "a"))
	for _, tt := range []struct {
		c     Credentials
		wrong string
	}{
		{Credentials{UsersFile: users, Operators: []string{"alice", "token"}}, ""},
		{Credentials{Operators: []string{"*"}}, ""},
		{Credentials{UsersFile: users, Operators: []string{"alcie"}}, `"alcie" is no user`},
		{Credentials{UsersFile: "/nowhere"}, "HTTP_USERS_FILE"},
		{Credentials{BearerTokenFile: "/nowhere"}, "HTTP_BEARER_TOKEN_FILE"},
	} {
		_, _, err := Check(tt.c)
		if (err == nil) != (tt.wrong == "") || err != nil && !strings.Contains(err.Error(), tt.wrong) {
			t.Errorf("%+v: %v, want %q", tt.c, err, tt.wrong)
		}
	}
}

func TestTokenFile(t *testing.T) {
	for content, wrong := range map[string]string{
		testToken:                   "",
		"\n " + testToken + " \r\n": "",
		"":                          "fewer than 16",
		"short":                     "openssl rand -hex 32",
		testToken + " " + testToken: "white space",
		testToken + "\nx":           "white space",
	} {
		_, err := readToken(file(t, content))
		if (err == nil) != (wrong == "") || err != nil && !strings.Contains(err.Error(), wrong) {
			t.Errorf("%q: %v, want %q", content, err, wrong)
		}
	}
}

// TestBrokenFilesClose: files that cannot be used at the start close the doors where logins are
// needed. A later one that can be used opens them.
func TestBrokenFilesClose(t *testing.T) {
	d, h := open(t, options{Options: Options{BehindProxy: true}})
	if err := d.Load(Credentials{UsersFile: file(t, "x")}); err == nil {
		t.Fatal("no error")
	}
	if resp := ask(t, h, request{}); resp.StatusCode != 403 ||
		!strings.Contains(text(t, resp), "cannot be read") {
		t.Errorf("%s", resp.Status)
	}
	if err := d.Load(Credentials{UsersFile: file(t, user(t, "a", "b"))}); err != nil {
		t.Fatal(err)
	}
	if resp := ask(t, h, request{authorization: basic("a", "b")}); resp.StatusCode != 200 {
		t.Errorf("after the correction: %s", resp.Status)
	}
}

// TestChecksAreRemembered: bcrypt runs once for the right password, and each time for a wrong one,
// whether the name exists or not.
func TestChecksAreRemembered(t *testing.T) {
	d, h := open(t, options{users: true})
	checks := 0
	d.checks.compare = func(hash, password []byte) error {
		checks++
		return bcrypt.CompareHashAndPassword(hash, password)
	}
	for range 5 {
		ask(t, h, request{authorization: basic("alice", "alice's word")})
	}
	if checks != 1 {
		t.Errorf("the right password was checked %d times", checks)
	}
	checks = 0
	ask(t, h, request{authorization: basic("alice", "bob's word")})
	ask(t, h, request{authorization: basic("mallory", "bob's word")})
	ask(t, h, request{authorization: basic("", "alice's word")})
	if checks != 3 {
		t.Errorf("three wrong ones were checked %d times: time tells which names exist", checks)
	}
	ask(t, h, request{authorization: basic("alice", strings.Repeat("x", 2000))})
	if checks != 3 {
		t.Error("a password of 2000 bytes was checked")
	}
}

// TestUnknownNamesTakeAsLong: as the slowest of the users.
func TestUnknownNamesTakeAsLong(t *testing.T) {
	slow, err := bcrypt.GenerateFromPassword([]byte("x"), bcrypt.MinCost+2)
	if err != nil {
		t.Fatal(err)
	}
	d, _ := open(t, options{})
	err = d.Load(Credentials{UsersFile: file(t, user(t, "alice", "a")+"bob:"+string(slow))})
	if err != nil {
		t.Fatal(err)
	}
	if cost, err := bcrypt.Cost(d.creds.unknown); err != nil || cost != bcrypt.MinCost+2 {
		t.Errorf("cost %d, %v", cost, err)
	}
}

// TestAttemptsAreLimited: by source, and overall. A login of before, and the right token, work all
// the same.
func TestAttemptsAreLimited(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, h := open(t, options{users: true, token: true})
		cookie := logIn(t, h, "alice", "alice's word")
		wrong := func(remote string) int {
			return ask(t, h, request{
				authorization: basic("bob", "x"), remote: remote,
			}).StatusCode
		}
		for i := range perSource {
			if code := wrong("192.0.2.1:5"); code != 401 {
				t.Fatalf("attempt %d: %d", i+1, code)
			}
		}
		if code := wrong("192.0.2.1:6"); code != 429 {
			t.Errorf("one too many: %d", code)
		}
		resp := ask(t, h, request{authorization: basic("bob", "bob's word"), remote: "192.0.2.1:7"})
		if resp.StatusCode != 429 || resp.Header.Get("Retry-After") == "" {
			t.Errorf("the right password beyond the limit: %s: it could be guessed", resp.Status)
		}
		if code := ask(t, h, request{authorization: bearer("x"), remote: "192.0.2.1:7"}).StatusCode; code != 429 {
			t.Errorf("a wrong token beyond the limit: %d", code)
		}
		for what, q := range map[string]request{
			"cookie":        {cookie: cookie, remote: "192.0.2.1:7"},
			"token":         {authorization: bearer(testToken), remote: "192.0.2.1:7"},
			"another place": {authorization: basic("bob", "bob's word"), remote: "192.0.2.2:1"},
		} {
			if resp := ask(t, h, q); resp.StatusCode != 200 {
				t.Errorf("%s: %s", what, resp.Status)
			}
		}
		time.Sleep(perSourceEvery) //nolint:forbidigo // of the bubble
		if first, second := wrong("192.0.2.1:8"), wrong("192.0.2.1:8"); first != 401 ||
			second != 429 {
			t.Errorf("after a while: %d, %d; want one attempt more", first, second)
		}
		for i := range 20 * overall {
			code := wrong(fmt.Sprintf("198.51.%d.%d:1", i/256, i%256))
			if code == 429 {
				if i < overall/2 {
					t.Errorf("%d attempts from everywhere were too many", i)
				}
				return
			}
		}
		t.Error("attempts from everywhere have no limit")
	})
}

// TestRightPasswordsAreNoAttempts: a program that logs in all the time is not kept out.
func TestRightPasswordsAreNoAttempts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, h := open(t, options{users: true})
		for i := range 3 * perSource {
			logIn(t, h, "alice", "alice's word")
			if code := ask(t, h, request{
				authorization: basic("bob", "bob's word"),
			}).StatusCode; code != 200 {
				t.Fatalf("login %d: %d", i, code)
			}
		}
	})
}

func TestSources(t *testing.T) {
	for in, want := range map[string]string{
		"192.0.2.1":          "192.0.2.1",
		"::ffff:192.0.2.1":   "192.0.2.1",
		"2001:db8:1:2:3::4":  "2001:db8:1:2::/64",
		"2001:db8:1:2::ffff": "2001:db8:1:2::/64",
		"fe80::1%eth0":       "fe80::/64",
		"unix":               "unknown",
	} {
		if got := network(in); got != want {
			t.Errorf("%s: %s, want %s", in, got, want)
		}
	}
	// Behind a proxy it is what the proxy says, not what the client says.
	synctest.Test(t, func(t *testing.T) {
		_, h := open(t, options{Options: Options{BehindProxy: true}, users: true})
		for range perSource + 1 {
			ask(t, h, request{authorization: basic("bob", "x"), forwarded: "10.9.9.9, 192.0.2.1"})
		}
		for forwarded, want := range map[string]int{
			"192.0.2.1": 429, "10.1.1.1, 192.0.2.1": 429, "192.0.2.1, 192.0.2.2": 401,
		} {
			resp := ask(t, h, request{authorization: basic("bob", "x"), forwarded: forwarded})
			if resp.StatusCode != want {
				t.Errorf("from %s: %s, want %d", forwarded, resp.Status, want)
			}
		}
	})
}

func TestSourcesAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLimiter()
		refused := false
		for i := range 2 * maxSources {
			l.all.left = overall
			refused = refused || !l.take(fmt.Sprint(i))
		}
		if len(l.sources) > maxSources+1 || !refused {
			t.Errorf("%d sources are remembered; one beyond the bound was refused: %v",
				len(l.sources), refused)
		}
		time.Sleep(time.Hour) //nolint:forbidigo // of the bubble
		if !l.take("another") || len(l.sources) > 2 {
			t.Errorf("%d sources are remembered after an hour", len(l.sources))
		}
	})
}

// TestHashesOfOthers: passwords stored by htpasswd, PHP and Python.
func TestHashesOfOthers(t *testing.T) {
	ours := user(t, "alice", "correct horse")
	for _, prefix := range []string{"$2a$", "$2b$", "$2y$"} {
		d, h := open(t, options{})
		err := d.Load(Credentials{UsersFile: file(t, strings.Replace(ours, "$2a$", prefix, 1))})
		if err != nil {
			t.Fatal(err)
		}
		right := ask(t, h, request{authorization: basic("alice", "correct horse")})
		wrong := ask(t, h, request{authorization: basic("alice", "correct house")})
		if right.StatusCode != 200 || wrong.StatusCode != 401 {
			t.Errorf("%s: %s, %s", prefix, right.Status, wrong.Status)
		}
	}
}

// TestOneCheckAtATime: however many come at once, one bcrypt runs, some wait, the others are told.
func TestOneCheckAtATime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d, _ := open(t, options{users: true})
		running, most := 0, 0
		var mu sync.Mutex
		d.checks.compare = func([]byte, []byte) error {
			mu.Lock()
			running++
			most = max(most, running)
			mu.Unlock()
			time.Sleep(time.Second) //nolint:forbidigo // of the bubble
			mu.Lock()
			running--
			mu.Unlock()
			return nil
		}
		busy := 0
		var all sync.WaitGroup
		for i := range 3 * maxWaiting {
			all.Go(func() {
				_, err := d.password(context.Background(), fmt.Sprint(i), "alice", fmt.Sprint(i))
				if errors.Is(err, errBusy) {
					mu.Lock()
					busy++
					mu.Unlock()
				}
			})
		}
		all.Wait()
		if most != 1 || busy != 2*maxWaiting {
			t.Errorf("%d at once, %d were told to come back; want 1 and %d", most, busy,
				2*maxWaiting)
		}
	})
}

// TestLoginIsLimited: the form is no way around the limits.
func TestLoginIsLimited(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, h := open(t, options{users: true, token: true})
		for i, form := range []url.Values{
			{"name": {"alice"}, "password": {"x"}}, {"name": {""}, "password": {"x"}},
		} {
			last := 0
			for range perSource + 1 {
				last = ask(t, h, request{
					method: "POST", path: "/login", accept: browser, form: form,
					remote: fmt.Sprintf("192.0.2.%d:1", i),
				}).StatusCode
			}
			if last != 429 {
				t.Errorf("%v: %d", form, last)
			}
		}
		last := 0
		for range perSource + 1 {
			last = ask(t, h, request{
				path: "/login?link=x", accept: browser, remote: "192.0.2.9:1",
			}).StatusCode
		}
		if last != 429 {
			t.Errorf("links: %d", last)
		}
	})
}
