package access

import (
	"bufio"
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/crypto/bcrypt"
)

// Names that no user may have: they stand for the bearer token, and for the link of `textegress
// page`.
const (
	tokenName = "token"
	linkName  = "link"
)

// Bounds of the files. A bcrypt cost of 14 takes about a second.
const (
	maxFile   = 1 << 20
	minToken  = 16
	maxCost   = 14
	maxName   = 128
	anybody   = "*"
	tokenHelp = "make one with: openssl rand -hex 32"
)

// Credentials are the settings of who may log in.
type Credentials struct {
	UsersFile       string   // lines name:hash with bcrypt, as htpasswd -B writes; "" = none
	BearerTokenFile string   // "" = none
	Operators       []string // who may act: users, "token"; "*" = everybody
}

// login is somebody who may log in. Its context ends when that is no longer so.
type login struct {
	name   string
	hash   []byte // bcrypt of a user's password, SHA-256 of the token
	ctx    context.Context
	cancel context.CancelFunc
}

// credentials are the logins in force.
type credentials struct {
	users     map[string]*login
	token     *login // nil = none
	link      *login // whoever has a link of the control socket
	operators []string
	unknown   []byte // what names that do not exist are checked against; nil without users
	problem   bool   // the files could never be read
}

func (c *credentials) any() bool { return len(c.users) > 0 || c.token != nil }

// mayAct reports whether a login may act. Whoever has a link can open the control socket, and so
// do everything already.
func (c *credentials) mayAct(name string) bool {
	return name == linkName || slices.Contains(c.operators, anybody) ||
		slices.Contains(c.operators, name)
}

func (d *Doors) principal(name string, hash []byte) *login {
	l := &login{name: name, hash: hash}
	l.ctx, l.cancel = context.WithCancel(d.base)
	return l
}

// Load reads the files of logins and puts them in force. Logins that are no longer in them end at
// once. If a file cannot be used, everything stays as it was.
func (d *Doors) Load(c Credentials) error {
	users, token, err := read(c)
	unknown := unknownUser(users)
	d.mu.Lock()
	defer d.mu.Unlock()
	if err != nil {
		d.creds.problem = !d.creds.any()
		return err
	}
	old := d.creds
	next := credentials{
		users: map[string]*login{}, link: old.link, operators: slices.Clone(c.Operators),
		unknown: unknown,
	}
	for name, hash := range users {
		l := old.users[name]
		if l == nil || !bytes.Equal(l.hash, hash) {
			l = d.principal(name, hash)
		}
		next.users[name] = l
	}
	for name, l := range old.users {
		if next.users[name] != l {
			l.cancel()
		}
	}
	if token != nil {
		if next.token = old.token; old.token == nil || !bytes.Equal(old.token.hash, token) {
			next.token = d.principal(tokenName, token)
		}
	}
	if old.token != nil && old.token != next.token {
		old.token.cancel()
	}
	d.creds = next
	return nil
}

// unknownUser returns a hash that fits no password, and takes as long to check as the slowest of
// the users, so that the time tells nothing about which names exist.
func unknownUser(users map[string][]byte) []byte {
	slowest := 0
	for _, hash := range users {
		if cost, err := bcrypt.Cost(hash); err == nil {
			slowest = max(slowest, cost)
		}
	}
	if slowest == 0 {
		return nil
	}
	hash, _ := bcrypt.GenerateFromPassword([]byte(rand.Text()), slowest) // the cost is in range
	return hash
}

// Check reads the files of logins without putting them in force, for `config check`. An operator
// who cannot log in is a mistake here.
func Check(c Credentials) (users int, token bool, err error) {
	hashes, digest, err := read(c)
	if err != nil {
		return 0, false, err
	}
	for _, name := range c.Operators {
		if name != anybody && name != tokenName && hashes[name] == nil {
			return 0, false, fmt.Errorf("HTTP_OPERATORS: %q is no user of HTTP_USERS_FILE; correct "+
				"the name, or add the user with: htpasswd -B FILE NAME", name)
		}
	}
	return len(hashes), digest != nil, nil
}

// read returns the hashes of the users' passwords by name, and that of the token, nil if there is
// none.
func read(c Credentials) (users map[string][]byte, token []byte, err error) {
	var errs []error
	if c.UsersFile != "" {
		if users, err = readUsers(c.UsersFile); err != nil {
			errs = append(errs, fmt.Errorf("HTTP_USERS_FILE: %w", err))
		}
	}
	if c.BearerTokenFile != "" {
		if token, err = readToken(c.BearerTokenFile); err != nil {
			errs = append(errs, fmt.Errorf("HTTP_BEARER_TOKEN_FILE: %w", err))
		}
	}
	return users, token, errors.Join(errs...)
}

// readFile reads a small file. Its errors leave out the path, which the setting shows.
func readFile(path string) ([]byte, error) {
	f, err := os.Open(filepath.Clean(path))
	if err == nil {
		defer func() { _ = f.Close() }()
		var data []byte
		if data, err = io.ReadAll(io.LimitReader(f, maxFile+1)); err == nil {
			if len(data) > maxFile {
				return nil, fmt.Errorf("has more than %d bytes", maxFile)
			}
			return data, nil
		}
	}
	if pe, ok := errors.AsType[*fs.PathError](err); ok {
		err = pe.Err
	}
	return nil, fmt.Errorf("cannot be read: %w", err)
}

// readUsers reads a file of users. Its errors name the line, never its content.
func readUsers(path string) (map[string][]byte, error) {
	data, err := readFile(path)
	if err != nil {
		return nil, err
	}
	return parseUsers(data)
}

func parseUsers(data []byte) (map[string][]byte, error) {
	users := map[string][]byte{}
	scanner := bufio.NewScanner(bytes.NewReader(bytes.TrimPrefix(data, []byte("\ufeff"))))
	for n := 1; scanner.Scan(); n++ {
		line := strings.TrimSpace(scanner.Text())
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		name, hash, ok := strings.Cut(line, ":")
		hash, _, _ = strings.Cut(hash, ":") // nginx allows a comment behind the hash
		switch {
		case !ok || name == "":
			return nil, fmt.Errorf("line %d is not name:hash; write it with: htpasswd -B", n)
		case name == tokenName || name == linkName || name == anybody:
			return nil, fmt.Errorf("line %d: no user may be called %s; use another name", n, name)
		case len(name) > maxName || strings.ContainsFunc(name, isControl):
			return nil, fmt.Errorf("line %d: the name is longer than %d bytes, or has control "+
				"characters", n, maxName)
		case users[name] != nil:
			return nil, fmt.Errorf("line %d: the user has a line before; remove one of the two", n)
		}
		cost, err := bcrypt.Cost([]byte(hash))
		switch {
		case err != nil || !isBcrypt(hash):
			return nil, fmt.Errorf("line %d: the password is not stored with bcrypt; write it "+
				"with: htpasswd -B", n)
		case cost > maxCost:
			return nil, fmt.Errorf("line %d: a bcrypt cost of %d takes too long; use 10 to %d", n,
				cost, maxCost)
		}
		users[name] = []byte(hash)
	}
	if err := scanner.Err(); err != nil {
		return nil, fmt.Errorf("cannot be read: %w", err)
	}
	if len(users) == 0 {
		return nil, errors.New("has no user; add one with: htpasswd -B FILE NAME")
	}
	return users, nil
}

// isBcrypt reports whether a hash has the form of bcrypt as nginx, Apache and others write it.
func isBcrypt(hash string) bool {
	if len(hash) != 60 {
		return false
	}
	switch hash[:4] {
	case "$2a$", "$2b$", "$2y$":
		return true
	}
	return false
}

func isControl(r rune) bool { return r < ' ' || r == 0x7f }

// readToken returns the SHA-256 of the token in a file.
func readToken(path string) ([]byte, error) {
	data, err := readFile(path)
	if err != nil {
		return nil, err
	}
	token := bytes.TrimSpace(data)
	switch {
	case len(token) < minToken:
		return nil, fmt.Errorf("has fewer than %d characters; %s", minToken, tokenHelp)
	case bytes.ContainsAny(token, " \t\r\n"):
		return nil, fmt.Errorf("contains white space; %s", tokenHelp)
	}
	sum := sha256.Sum256(token)
	return sum[:], nil
}

// isToken reports whether text is the token of l, in constant time.
func (l *login) isToken(text string) bool {
	sum := sha256.Sum256([]byte(text))
	return subtle.ConstantTimeCompare(sum[:], l.hash) == 1
}
