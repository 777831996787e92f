package expedite

import (
	"bytes"
	"fmt"
	"maps"
	"net/http"

	"github.com/expedite-go/expedite/cluster"
	"github.com/expedite-go/expedite/internal/registry"
)

// profile serves a profile of a worker.
func (p *primary) profile(w http.ResponseWriter, r *http.Request, slot int) {
	peer := p.peerIn(slot)
	if peer == nil {
		http.Error(w, fmt.Sprintf("there is no worker %d", slot), http.StatusNotFound)
		return
	}
	began := false
	err := peer.Profile(r, func(head registry.ProfileHead) {
		began = true
		if head.Status == http.StatusServiceUnavailable && head.Size == 0 {
			http.Error(w, fmt.Sprintf("worker %d makes %d profiles already", slot, registry.MaxProfiles), head.Status)
			return
		}
		maps.Copy(w.Header(), head.Header)
		w.Header().Del("Content-Length")
		w.WriteHeader(head.Status)
	}, func(part []byte) error {
		if r.URL.Path == "/debug/pprof/" { // its links lead to the same worker
			part = bytes.ReplaceAll(part, []byte("?debug="), fmt.Appendf(nil, "?worker=%d&debug=", slot))
		}
		_, err := w.Write(part)
		return err
	})
	switch {
	case err == nil:
	case began:
		panic(http.ErrAbortHandler) // so that nobody takes what has come for all
	default:
		http.Error(w, fmt.Sprintf("worker %d: %v", slot, err), http.StatusBadGateway)
	}
}

// peerIn is the way to the latest worker of a slot that serves; nil if there is none.
func (p *primary) peerIn(slot int) *registry.Worker {
	group := p.group.Load()
	if group == nil {
		return nil
	}
	var latest *cluster.Worker
	for _, w := range group.Workers() {
		if w.Slot() == slot && w.State() != cluster.StateStarting && w.State() != cluster.StateDead {
			latest = w
		}
	}
	if latest == nil {
		return nil
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.peers[latest.ID()]
}
