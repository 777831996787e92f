package primary

import (
	"context"
	"encoding/json"
	"net/http"
	"strings"

	"github.com/expedite-go/expedite/internal/control"
)

// readiness is what /readyz of the admin listener answers.
type readiness struct {
	Ready    bool     `json:"ready"`
	Workers  int      `json:"workers"` // slots whose worker takes new clients
	Degraded []string `json:"degraded,omitempty"`
	Draining string   `json:"draining,omitempty"` // the phase of a drain
}

// readiness reports whether a worker takes new clients, by the latest reports: a probe must not wait for a worker that
// hangs.
func (s *ControlServer) readiness() readiness {
	reports := s.workers.LastReports()
	r := readiness{Draining: s.drainer.phase(), Degraded: s.registry.Health(reports).Degraded()}
	r.Degraded = append(r.Degraded, missing(reports)...)
	slots := make(map[int]bool) // during a reload a slot has two workers
	for _, one := range reports {
		if state := control.State(one.State); !one.Unready && (state == control.StateReady || state == control.StateMoving) {
			slots[one.Slot] = true
		}
	}
	r.Workers = len(slots)
	r.Ready = r.Workers > 0 && r.Draining == ""
	return r
}

// Ready reports whether new clients are taken. It blocks while a part of this process hangs.
func (s *ControlServer) Ready(context.Context) (control.Readiness, error) {
	s.cfg.Check()
	r := s.readiness()
	answer := control.Readiness{Ready: r.Ready && !s.stopping.Load(), Workers: r.Workers}
	switch {
	case answer.Ready && len(r.Degraded) > 0:
		answer.Reason = "degraded: " + strings.Join(r.Degraded, ", ")
	case answer.Ready:
	case s.stopping.Load():
		answer.Reason = "the server stops"
	case r.Draining != "":
		answer.Reason = "the server drains: " + r.Draining
	case s.serving.Load() == nil:
		answer.Reason = "the server starts"
	default:
		answer.Reason = strings.Join(append([]string{"no worker takes new clients"}, r.Degraded...), ", degraded: ")
	}
	return answer, nil
}

// serveReady answers /readyz like that of the public address, for all workers together.
func (s *ControlServer) serveReady(w http.ResponseWriter, _ *http.Request) {
	r := s.readiness()
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	if !r.Ready {
		w.WriteHeader(http.StatusServiceUnavailable)
	}
	_ = json.NewEncoder(w).Encode(r) // fails only if the client has disconnected
}
