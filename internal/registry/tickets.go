package registry

import (
	"sync"
	"time"

	"github.com/expedite-go/expedite/internal/ratchet"
)

// tickets are the keys of TLS session tickets, which all workers share: a client may come back to any of them. Each
// process advances its copy by the clock.
type tickets struct {
	mu      sync.Mutex
	ratchet *ratchet.Ratchet
}

// bytes returns the keys of now and later.
func (t *tickets) bytes() []byte {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.ratchet == nil {
		t.ratchet = ratchet.New(time.Now())
	}
	t.ratchet.Advance(time.Now())
	return t.ratchet.Append(nil)
}

// keptCertificates returns the certificates in use and their keys.
func (s *Server) keptCertificates() []byte {
	if s.certificates == nil {
		return nil
	}
	return s.certificates()
}

// restore takes over the keys of the program before this one. One of an earlier release has none.
func (t *tickets) restore(b []byte) {
	if r, err := ratchet.Parse(b); err == nil {
		t.mu.Lock()
		defer t.mu.Unlock()
		t.ratchet = r
	}
}
