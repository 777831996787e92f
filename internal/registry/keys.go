package registry

import "github.com/expedite-go/expedite/auth"

// Keys that a token provider has sent once pass from worker to primary, and from there to every process that starts. A
// provider that is away then locks nobody out.

// exchangeKeys adds the keys of a worker to those that are known, and returns all of them.
func (s *Server) exchangeKeys(b []byte) []byte {
	if s.verifier == nil {
		return nil
	}
	if len(b) > 0 {
		if err := auth.Restore(s.verifier, b); err != nil {
			s.log.Warn("keys of a worker not understood", "error", err)
		}
	}
	return auth.Snapshot(s.verifier)
}

// exchangeKeys tells the primary the keys of this worker, and adds those that the primary knows. A primary of an
// earlier release knows none.
func (c *Client) exchangeKeys() {
	v := c.verifier
	if v == nil {
		return
	}
	b, err := c.call(opKeys, auth.Snapshot(v))
	if err != nil {
		return // the next keys, or the next primary, try again
	}
	if len(b) > 0 {
		if err := auth.Restore(v, b); err != nil {
			c.log.Warn("keys of the primary not understood", "error", err)
		}
	}
	if t := auth.Updated(v); !t.IsZero() {
		c.keys.Store(t.UnixNano())
	}
}

// ShareKeys tells the primary of keys that are newer than those it knows. It does not wait for the answer.
func (c *Client) ShareKeys() {
	v := c.verifier
	if v == nil {
		return
	}
	if t := auth.Updated(v); !t.IsZero() && t.UnixNano() > c.keys.Swap(t.UnixNano()) {
		go c.exchangeKeys() // ends with its timeout
	}
}
