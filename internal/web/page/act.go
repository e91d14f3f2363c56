package page

import (
	"cmp"
	"context"
	"errors"
	"net/http"
	"net/url"
	"time"

	"github.com/syncflow/textegress/internal/overview"
	"github.com/syncflow/textegress/internal/web/access"
)

// ask is a question before something is done.
type ask struct {
	Title   string
	Texts   []string
	Problem string // why it could not be done
	Action  string
	Fields  []field
	Choices []field
	Back    string
	Button  string
	Kind    string // class of the button
}

type field struct{ Name, Value string }

// actTimeout is how long an action may take. It ends even if the reader has left, because a
// decision that is half made helps nobody.
const actTimeout = 30 * time.Second

func (h *Handler) ask(w http.ResponseWriter, r *http.Request, status int, a ask) {
	h.write(w, r, status, h.service.Overview(),
		frame{Title: a.Title, Page: "now", Name: "ask", Body: a})
}

// act does something and leads back, or asks again with the reason why it could not be done.
func (h *Handler) act(w http.ResponseWriter, r *http.Request, name, id string, again ask,
	do func(context.Context) error,
) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(r.Context()), actTimeout)
	defer cancel()
	if err := do(ctx); err != nil {
		again.Problem = "This was not done: " + err.Error()
		status := http.StatusConflict
		if errors.Is(err, overview.ErrNotFound) {
			status = http.StatusNotFound
		}
		h.ask(w, r, status, again)
		return
	}
	access.Log(r.Context(), h.logger, name, id)
	http.Redirect(w, r, again.Back, http.StatusSeeOther)
}

func (h *Handler) stopQuestion(r *http.Request, id string) (ask, error) {
	rec, err := h.service.Recording(r.Context(), id)
	if err != nil {
		return ask{}, err
	}
	return ask{
		Title: "Stop recording " + cmp.Or(rec.Room, rec.SessionID) + "?",
		Texts: []string{
			"The session itself continues. From now on nothing of it is recorded, and what was " +
				"recorded is delivered.",
			"It stays stopped, even if the service restarts, until somebody asks to record it again.",
		},
		Action: "/act/stop", Fields: []field{{"id", id}}, Back: "/", Button: "Stop recording",
		Kind: "danger",
	}, nil
}

func (h *Handler) askStop(w http.ResponseWriter, r *http.Request) {
	a, err := h.stopQuestion(r, r.URL.Query().Get("id"))
	if err != nil {
		h.refuse(w, r, err)
		return
	}
	h.ask(w, r, http.StatusOK, a)
}

func (h *Handler) stop(w http.ResponseWriter, r *http.Request) {
	id := r.PostFormValue("id")
	a, err := h.stopQuestion(r, id)
	if err != nil {
		h.refuse(w, r, err)
		return
	}
	h.act(w, r, "stop", id, a, func(ctx context.Context) error { return h.service.Stop(ctx, id) })
}

func recordQuestion(form url.Values) ask {
	session, project, room := form.Get("session"), form.Get("project"), form.Get("room")
	return ask{
		Title: "Record " + cmp.Or(room, session) + "?",
		Texts: []string{
			"Recording begins at once, as a hidden participant, and ends with the session.",
			"Make sure that the people in it have agreed.",
		},
		Action: "/act/record", Back: "/", Button: "Record", Kind: "primary",
		Fields: []field{{"session", session}, {"project", project}, {"room", room}},
	}
}

func (h *Handler) askRecord(w http.ResponseWriter, r *http.Request) {
	h.ask(w, r, http.StatusOK, recordQuestion(r.URL.Query()))
}

func (h *Handler) record(w http.ResponseWriter, r *http.Request) {
	session, project := r.PostFormValue("session"), r.PostFormValue("project")
	h.act(w, r, "record", session, recordQuestion(r.PostForm), func(ctx context.Context) error {
		_, err := h.service.Record(ctx, session, project)
		return err
	})
}

// exclude asks first, and excludes once the answer comes with a scope. The identity travels in the
// body only: addresses end up in histories and logs.
func (h *Handler) exclude(w http.ResponseWriter, r *http.Request) {
	id, identity := r.PostFormValue("id"), r.PostFormValue("identity")
	rec, err := h.service.Recording(r.Context(), id)
	if err != nil {
		h.refuse(w, r, err)
		return
	}
	a := ask{
		Title: "Stop recording “" + truncate(100, identity) + "”?",
		Texts: []string{
			"From the next packet on, nothing that this person sends is recorded. The recording " +
				"states that somebody was excluded, and when.",
			"What was recorded before stays. To remove that too, run `textegress forget` after the " +
				"session.",
		},
		Action: "/act/exclude", Fields: []field{{"id", id}, {"identity", identity}},
		Choices: []field{
			{"session", "in this session"},
			{"project", "in all sessions of this project, from now on"},
		},
		Back: "/recordings/" + url.PathEscape(id), Button: "Stop recording this person",
		Kind: "danger",
	}
	session := rec.SessionID
	switch r.PostFormValue("scope") {
	case "session":
	case "project":
		session = ""
	default:
		h.ask(w, r, http.StatusOK, a)
		return
	}
	h.act(w, r, "exclude", id, a, func(ctx context.Context) error {
		return h.service.Exclude(ctx, identity, session, rec.Project)
	})
}
