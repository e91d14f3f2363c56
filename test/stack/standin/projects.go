package standin

import (
	"net/http"
	"time"

	"github.com/google/uuid"
)

func (s *Server) getProject(w http.ResponseWriter, r *http.Request) {
	s.query()
	p, _ := s.project(canonical(r.PathValue("p"))) // the ownership check has found it
	reply(w, map[string]any{
		"id": p.ID, "name": p.Name, "description": nil, "livekitServerUrl": p.LiveKitServerURL,
		"storageType": "s3",
		"bucketName":  p.Bucket, "endpoint": p.Endpoint, "lastUpdated": 1750000000,
	})
}

// deviceView adds the fields that the server sets: the source of notifications.
type deviceView struct {
	device
	Exchange   string `json:"sessionNotificationExchangeName"`
	BindingKey string `json:"sessionNotificationBindingKey"`
}

func (s *Server) view(d device) deviceView {
	return deviceView{d, s.cfg.Exchange, d.ProjectID + "." + d.Group}
}

// registerDevice does not check for an equal device, and stores the new one before it contacts
// RabbitMQ.
func (s *Server) registerDevice(w http.ResponseWriter, r *http.Request) {
	var in struct {
		Name, Group string
		Comments    *string
	}
	if !decode(w, r, []field{
		{"name", isString, true},
		{"group", isString, true},
		{"comments", isString, false},
	}, &in) {
		return
	}
	who := r.Context().Value(callerKey{}).(caller)
	d := device{
		ID: uuid.NewString(), Name: in.Name, Group: in.Group, Comments: in.Comments,
		RegisteredAt: time.Now().Unix(),
		RegisteredBy: who.UserID, ProjectID: canonical(r.PathValue("p")),
	}
	s.query()
	if err := s.state.addDevice(d); err != nil {
		fail(w, http.StatusInternalServerError, err.Error())
		return
	}
	v := s.view(d)
	bind := func() (any, error) { return nil, s.rmq.bind(v.BindingKey) }
	if _, err := await(r.Context(), bind); err != nil {
		fail(w, http.StatusInternalServerError, err.Error())
		return
	}
	reply(w, v)
}

func (s *Server) listDevices(w http.ResponseWriter, r *http.Request) {
	s.query()
	views := []deviceView{}
	for _, d := range s.state.devices(canonical(r.PathValue("p"))) {
		views = append(views, s.view(d))
	}
	reply(w, views)
}

func (s *Server) getDevice(w http.ResponseWriter, r *http.Request)    { s.oneDevice(w, r, false) }
func (s *Server) deleteDevice(w http.ResponseWriter, r *http.Request) { s.oneDevice(w, r, true) }

func (s *Server) oneDevice(w http.ResponseWriter, r *http.Request, remove bool) {
	id, err := uuid.Parse(r.PathValue("d"))
	if err != nil {
		fail(w, http.StatusBadRequest, "Invalid device id")
		return
	}
	s.query()
	d, err := s.state.device(canonical(r.PathValue("p")), id.String(), remove)
	if err != nil {
		fail(w, http.StatusNotFound, err.Error())
		return
	}
	reply(w, s.view(d))
}
