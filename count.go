package expedite

import (
	"context"
	"encoding/json"
	"time"

	"github.com/expedite-go/expedite/internal/engine"
)

// count counts connections that have sessions.
func (n *node) count(done func(connected int64)) {
	connected := int64(0)
	posted := n.eng.Sweep(func(ec *engine.Conn) {
		if c, ok := ec.Owner().(*Conn); ok && !c.who.Load().sessionID().IsZero() {
			connected++
		}
	}, func() { done(connected) })
	if !posted {
		done(0)
	}
}

// count asks the workers how many connections with sessions this machine has; nil if one does not answer.
func (r *registry) count(ctx context.Context) *int64 {
	ctx, cancel := context.WithTimeout(ctx, countTimeout)
	defer cancel()
	sum := int64(0)
	for _, a := range r.ask(ctx, opCount, nil) {
		var n int64
		if a.err == nil && a.payload != nil {
			a.err = json.Unmarshal(a.payload, &n)
		}
		if a.err != nil {
			return nil
		}
		sum += n
	}
	return &sum
}

// countTimeout bounds the counting of sessions for a status.
const countTimeout = time.Second
