package primary

import (
	"bytes"
	"fmt"
	"maps"
	"net/http"

	"github.com/expedite-go/expedite/cluster"
	"github.com/expedite-go/expedite/internal/registry"
)

// Profile answers a request for a profile of the worker in a slot.
func (s *supervisor) Profile(w http.ResponseWriter, r *http.Request, slot int) {
	from := s.serving(slot)
	if from == nil {
		http.Error(w, fmt.Sprintf("there is no worker %d", slot), http.StatusNotFound)
		return
	}
	began := false
	err := from.peer.Profile(r, func(head registry.ProfileHead) {
		began = true
		if head.Status == http.StatusServiceUnavailable && head.Size == 0 {
			http.Error(w, fmt.Sprintf("worker %d makes %d profiles already", slot, registry.MaxProfiles), head.Status)
			return
		}
		maps.Copy(w.Header(), head.Header)
		w.Header().Del("Content-Length")
		w.WriteHeader(head.Status)
	}, func(part []byte) error {
		if r.URL.Path == "/debug/pprof/" { // its links have to lead to the same worker
			part = bytes.ReplaceAll(part, []byte("?debug="), fmt.Appendf(nil, "?worker=%d&debug=", slot))
		}
		_, err := w.Write(part)
		return err
	})
	switch {
	case err == nil:
	case began:
		panic(http.ErrAbortHandler) // net/http cuts the response off, so that the client notices that it is not complete
	default:
		http.Error(w, fmt.Sprintf("worker %d: %v", slot, err), http.StatusBadGateway)
	}
}

// serving returns the latest worker of a slot that serves, or nil.
func (s *supervisor) serving(slot int) *worker {
	var latest *worker
	for _, w := range s.list() {
		if w.Slot() == slot && w.State() != cluster.StateStarting && w.State() != cluster.StateDead {
			latest = s.worker(w.ID())
		}
	}
	return latest
}
