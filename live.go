package expedite

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/expedite-go/expedite/internal/engine"
	"github.com/expedite-go/expedite/internal/rpc"
	"github.com/expedite-go/expedite/session"
)

// liveRequest asks a worker for connections that have sessions.
type liveRequest struct {
	Limit int `json:"limit"` // about so many
	// Paged asks for a livePage. Earlier releases ask without, and answer with the list alone.
	Paged bool `json:"paged,omitempty"`
	At    int  `json:"at,omitempty"`
}

// livePage is a part of the answer.
type livePage struct {
	List []liveConn `json:"list"`
	Next int        `json:"next,omitempty"` // what to ask for next; 0 is nothing
}

// liveConn is one of them.
type liveConn struct {
	Session session.ID `json:"session"`
	User    string     `json:"user"`
	Conn    ID         `json:"conn"`
}

// liveStep is the number of connections that are looked at in one turn of the loop. Names may be long: so many of them
// are still far from filling a message.
const liveStep = 256

// live lists connections that have sessions.
func (n *node) live(req liveRequest, done func(livePage)) {
	p := livePage{List: []liveConn{}}
	at, size := req.At, 0
	var step func()
	step = func() {
		at = n.eng.Walk(at, liveStep, func(ec *engine.Conn) {
			c, ok := ec.Owner().(*Conn)
			if !ok {
				return
			}
			if w := c.who.Load(); w != nil && !w.session.IsZero() && len(p.List) < req.Limit {
				p.List = append(p.List, liveConn{w.session, w.user, c.ID()})
				size += len(w.user)
			}
		})
		full := len(p.List) >= req.Limit || req.Paged && size >= pageBytes
		switch {
		case at >= n.eng.Slots():
			done(p)
		case full:
			p.Next = at
			done(p)
		case !n.eng.Post(step):
			done(p)
		}
	}
	if !n.eng.Post(step) {
		done(p)
	}
}

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

// live lists connected sessions of this machine.
func (r *registry) live(ctx context.Context, limit int) ([]session.Session, error) {
	var list []session.Session
	for _, p := range r.workers() {
		req := liveRequest{Limit: limit, Paged: true}
		for {
			some, err := r.livePage(ctx, p, req)
			if err != nil {
				return nil, fmt.Errorf("expedite: not every worker has told: %w", err)
			}
			for _, c := range some.List {
				s := session.Session{ID: c.Session, User: c.User, Place: session.Place{Node: r.node, Conn: uint64(c.Conn)}}
				if known, err := r.store.Find(ctx, c.Session); err == nil {
					s = known
				}
				list = append(list, s)
			}
			if req.At = some.Next; req.At == 0 || len(list) >= limit {
				break
			}
		}
	}
	return list, nil
}

// livePage asks a worker for a part of its list.
func (r *registry) livePage(ctx context.Context, p *rpc.Peer, req liveRequest) (page livePage, err error) {
	ctx, cancel := context.WithTimeout(ctx, orderTimeout)
	defer cancel()
	b, err := json.Marshal(req)
	if err == nil {
		b, err = r.askOne(ctx, p, opLive, b)
	}
	switch {
	case err != nil || b == nil: // nil: it has gone
	case b[0] == '[':
		err = json.Unmarshal(b, &page.List)
	default:
		err = json.Unmarshal(b, &page)
	}
	return page, err
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
