package registry

import (
	"encoding/json"
	"errors"
	"time"

	"github.com/expedite-go/expedite/internal/rpc"
)

// Drain tells a worker how far its machine is in closing its connections while it stays up. It is written as JSON;
// fields may be added. The zero Drain is none.
type Drain struct {
	// Number grows with each change. A worker does not go back to an earlier one.
	Number uint64 `json:"number"`
	// Unready makes /readyz answer 503.
	Unready bool `json:"unready,omitempty"`
	// Close refuses new connections, and closes those that are there, evenly until a time.
	Close bool      `json:"close,omitempty"`
	By    time.Time `json:"-"`
	// Left is the time until By while it travels: clocks may be set meanwhile.
	Left time.Duration `json:"left,omitempty"`
	// Notice, if it is set, is a text for each client that is connected now.
	Notice string `json:"notice,omitempty"`
}

// asOf returns d with the time that is left.
func (d Drain) asOf(now time.Time) Drain {
	if d.Close {
		d.Left = d.By.Sub(now)
	}
	return d
}

// SetDrain tells all workers of a drain, also those that start later; these get no notice, because their connections
// have had it.
func (s *Server) SetDrain(d Drain) {
	s.tellMu.Lock()
	defer s.tellMu.Unlock()
	s.drain = d
	s.drainUntold = !s.tellDrain()
}

// tellDrain tells all workers and reports whether all queues had room. The caller holds tellMu.
func (s *Server) tellDrain() (told bool) {
	b, err := json.Marshal(s.drain.asOf(time.Now()))
	if err != nil {
		return true // cannot happen
	}
	told = true
	for _, w := range s.all() {
		if err := w.peer.Tell(opDrain, b); err != nil && !errors.Is(err, rpc.ErrClosed) {
			told = false
		}
	}
	return told
}

// drainForNew returns the drain for a worker that begins; nil if there has been none. The caller holds tellMu.
func (s *Server) drainForNew() *Drain {
	if s.drain.Number == 0 {
		return nil
	}
	d := s.drain.asOf(time.Now())
	d.Notice = ""
	return &d
}

// drained passes a drain to the worker, unless it knows that one or a later one.
func (c *Client) drained(d *Drain) {
	c.applyMu.Lock()
	defer c.applyMu.Unlock()
	if d == nil || d.Number <= c.drain {
		return
	}
	c.drain = d.Number
	d.By = time.Now().Add(d.Left)
	c.Drain(*d)
}
