package access

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"sync"

	"golang.org/x/crypto/bcrypt"
)

// Why credentials are refused; see [refusalOf].
var (
	errWrong   = errors.New("wrong credentials")
	errLimited = errors.New("too many attempts have failed")
	errBusy    = errors.New("too many logins are being checked")
)

// Bounds of checking.
const (
	maxWaiting  = 16   // checks that wait for the one in progress
	maxChecked  = 1024 // credentials that are known to be right
	maxPassword = 1024 // bytes
)

type digest = [sha256.Size]byte

// checker checks one password at a time, because bcrypt is slow by design, and remembers which were
// right.
type checker struct {
	key     []byte        // of this process, so that no digest of a password is worth stealing
	slot    chan struct{} // held while a password is checked
	waiting chan struct{}

	mu      sync.Mutex // guards right
	right   map[digest]*login
	compare func(hash, password []byte) error // bcrypt's; tests count
}

func newChecker() *checker {
	c := &checker{
		key: make([]byte, 32), slot: make(chan struct{}, 1),
		waiting: make(chan struct{}, maxWaiting), right: map[digest]*login{},
		compare: bcrypt.CompareHashAndPassword,
	}
	_, _ = rand.Read(c.key) // never fails
	return c
}

// digest identifies credentials in memory.
func (c *checker) digest(user, password string) (d digest) {
	h := hmac.New(sha256.New, c.key)
	h.Write([]byte(user + "\x00" + password))
	h.Sum(d[:0])
	return d
}

// known returns the login whose credentials were right before, nil if it is not known or has ended.
func (c *checker) known(d digest) *login {
	c.mu.Lock()
	defer c.mu.Unlock()
	l := c.right[d]
	if l != nil && l.ctx.Err() != nil {
		delete(c.right, d)
		return nil
	}
	return l
}

func (c *checker) remember(d digest, l *login) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.right) >= maxChecked {
		clear(c.right) // each is checked once more
	}
	c.right[d] = l
}

// matches compares a password with a hash, one at a time.
func (c *checker) matches(ctx context.Context, hash, password []byte) (bool, error) {
	select {
	case c.waiting <- struct{}{}:
		defer func() { <-c.waiting }()
	default:
		return false, errBusy
	}
	select {
	case c.slot <- struct{}{}:
		defer func() { <-c.slot }()
	case <-ctx.Done():
		return false, errBusy
	}
	return c.compare(hash, password) == nil, nil
}

// password checks the password of a user.
func (d *Doors) password(ctx context.Context, source, user, password string) (*login, error) {
	key := d.checks.digest(user, password)
	if l := d.checks.known(key); l != nil {
		return l, nil
	}
	if len(password) > maxPassword {
		return nil, errWrong
	}
	if !d.limits.take(source) {
		return nil, errLimited
	}
	d.mu.RLock()
	l, hash := d.creds.users[user], d.creds.unknown
	d.mu.RUnlock()
	if l != nil {
		hash = l.hash
	}
	if hash == nil { // there are no users
		d.refused(source, "")
		return nil, errWrong
	}
	ok, err := d.checks.matches(ctx, hash, []byte(password))
	if err != nil {
		d.limits.giveBack(source)
		return nil, err
	}
	if l == nil || !ok {
		name := "" // an unknown name may be a password in the wrong field
		if l != nil {
			name = user
		}
		d.refused(source, name)
		return nil, errWrong
	}
	d.limits.giveBack(source)
	d.checks.remember(key, l)
	return l, nil
}

// token checks the bearer token. The right one is accepted however many attempts have failed: it is
// too long to be guessed.
func (d *Doors) token(source, text string) (*login, error) {
	d.mu.RLock()
	l := d.creds.token
	d.mu.RUnlock()
	if l != nil && l.isToken(text) {
		return l, nil
	}
	if !d.limits.take(source) {
		return nil, errLimited
	}
	d.refused(source, tokenName)
	return nil, errWrong
}

func (d *Doors) refused(source, name string) {
	d.log.Warn("login refused", "operator", name, "from", source)
}
