package recorder

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"time"

	"github.com/syncflow/textegress/internal/session"
)

// answerTimeout is how long a recorder with another token waits for the authority before it uses
// that token. The question stays open.
const answerTimeout = 2 * time.Second

// grant is a token that admits an identity to the room.
type grant struct {
	url, token, identity string
	own                  bool // we made the token ourselves
}

// answer is an answer of the authority. state is 0 if the state is unknown; err is then the reason.
// A granted token means that the session is running; it says nothing about the room.
type answer struct {
	state    session.State
	grant    grant // not empty: a new token
	err      error
	panicked any
}

// question is a request to the authority in the background, for the state of the session, a token,
// or both. It may outlast several attempts to join with an earlier token.
type question struct {
	began  time.Time
	cancel context.CancelFunc
	answer chan answer // capacity 1
}

// query selects what a question requests.
type query struct {
	state, token bool
	identity     string
}

// ask starts a question.
func (r *Recorder) ask(ctx context.Context, what query) *question {
	ctx, cancel := context.WithTimeout(ctx, stateTimeout)
	q := &question{began: time.Now(), cancel: cancel, answer: make(chan answer, 1)}
	runAsync(q.answer, func() answer { return r.answer(ctx, what) })
	return q
}

// runAsync runs f in its own goroutine and sends the result. A panic in f is raised again where the
// answer is received, so that only this recorder fails.
func runAsync(to chan<- answer, f func() answer) {
	go func() {
		defer func() {
			if p := recover(); p != nil {
				to <- answer{panicked: fmt.Sprintf("%v\n%s", p, debug.Stack())}
			}
		}()
		to <- f()
	}()
}

// answer requests the state and, unless the session has ended or its room is gone, a token. If the
// state takes longer than answerTimeout, answer requests the token concurrently: an authority that
// cannot reach LiveKit can still tell whether the session is running.
func (r *Recorder) answer(ctx context.Context, q query) answer {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var known answer
	var states, tokens chan answer
	if q.state {
		states = make(chan answer, 1)
		runAsync(states, func() answer {
			st, err := r.o.Authority.State(ctx)
			return answer{state: st, err: err}
		})
		patience := time.NewTimer(answerTimeout)
		defer patience.Stop()
		select {
		case known = <-states:
			states = nil
			if known.panicked != nil || known.err == nil && known.state != session.Running ||
				!q.token {
				return known
			}
		case <-patience.C:
		}
	}
	if q.token {
		tokens = make(chan answer, 1)
		runAsync(tokens, func() answer {
			url, token, err := r.o.Authority.Token(ctx, q.identity)
			return answer{grant: grant{url: url, token: token, identity: q.identity}, err: err}
		})
	}
	for {
		select {
		case st := <-states:
			states = nil
			if st.panicked != nil || st.err == nil && st.state != session.Running || tokens == nil {
				return st
			}
			known = st
		case tok := <-tokens:
			switch {
			case tok.err == nil || tok.panicked != nil:
				tok.state = known.state
				return tok
			case errors.Is(tok.err, session.ErrEnded):
				return answer{state: session.Ended, err: tok.err}
			case known.state == session.Running:
				return answer{state: session.Running, err: fmt.Errorf("ask for a token: %w",
					tok.err)}
			}
			return answer{err: errors.Join(known.err, fmt.Errorf("ask for a token: %w", tok.err))}
		case <-ctx.Done():
			return answer{err: fmt.Errorf("ask whether the session runs: %w", context.Cause(ctx))}
		}
	}
}
