package page

import (
	"cmp"
	"context"
	"net/http"
	"strconv"
	"time"

	"github.com/syncflow/textegress/internal/overview"
	"github.com/syncflow/textegress/internal/web/access"
)

// rehearsal is the page of test recordings.
type rehearsal struct {
	Projects []overview.ProjectRef
	Of       string // name of the project, "" before a rehearsal
	Steps    []step
	Untried  bool // a step was not tried
	Problem  string
}

type step struct {
	Name, Detail string
	Level        overview.Level
	Word         string
	Took         string
}

// words of the results of a step.
var stepWords = map[string]struct {
	level overview.Level
	word  string
}{
	overview.StepOK:       {overview.OK, "ok"},
	overview.StepFailed:   {overview.Bad, "failed"},
	overview.StepNotTried: {overview.Idle, "not tried"},
}

// took returns a duration, with a space before the unit.
func took(d time.Duration) string {
	if d < time.Second {
		return strconv.FormatInt(d.Milliseconds(), 10) + " ms"
	}
	return strconv.FormatFloat(d.Seconds(), 'f', 1, 64) + " s"
}

func (h *Handler) askRehearsal(w http.ResponseWriter, r *http.Request) {
	o := h.service.Overview()
	h.writeRehearsal(w, r, o, rehearsal{Projects: o.Projects})
}

// rehearse answers when the rehearsal has ended. That takes longer than other requests if a part of
// the service does not work, and it removes what it made even if the reader has left.
func (h *Handler) rehearse(w http.ResponseWriter, r *http.Request) {
	o := h.service.Overview()
	page := rehearsal{Projects: o.Projects}
	id := r.PostFormValue("project")
	for _, p := range o.Projects {
		if p.ID == id {
			page.Of = cmp.Or(p.Name, p.ID)
		}
	}
	if page.Of == "" {
		page.Problem = "This project does not run. Choose one of those below."
		h.writeRehearsal(w, r, o, page)
		return
	}
	access.Log(r.Context(), h.logger, "rehearse", id)
	steps, err := h.service.Rehearse(context.WithoutCancel(r.Context()), id)
	for _, s := range steps {
		words := stepWords[s.Result]
		page.Untried = page.Untried || s.Result == overview.StepNotTried
		page.Steps = append(page.Steps, step{
			Name: s.Name, Detail: s.Detail, Level: words.level, Word: words.word,
			Took: took(s.Took),
		})
	}
	if err != nil {
		page.Problem = err.Error()
	}
	// The limit of the server may have passed. Recorders of tests have none.
	_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(actTimeout))
	h.writeRehearsal(w, r, o, page)
}

func (h *Handler) writeRehearsal(w http.ResponseWriter, r *http.Request, o overview.Overview,
	page rehearsal,
) {
	h.write(w, r, http.StatusOK, o, frame{
		Title: "Rehearsal", Page: "rehearsal", Name: "rehearsal", Body: page,
	})
}
