package expedite

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"time"

	"github.com/expedite-go/expedite/auth"
	"github.com/expedite-go/expedite/internal/rpc"
	"github.com/expedite-go/expedite/session"
)

// pageBytes bounds the denials of one message, and pageFollows the follows.
const (
	pageBytes   = 512 << 10
	pageFollows = 16
)

// page is a part of what a worker must know before it serves: there may be more of it than one message holds.
type page struct {
	Denials []byte   `json:"denials,omitempty"` // of auth.AppendDenial, one behind the other
	Follows []follow `json:"follows,omitempty"`
	Next    int      `json:"next,omitempty"` // what to ask for next; 0 is nothing
}

// pageRequest asks for a page. The first one is 0.
type pageRequest struct {
	At int `json:"at"`
}

// errPage says that a page is asked for out of turn.
var errPage = errors.New("no such page")

// workerPeer is a worker as the registry sees it.
type workerPeer struct {
	peer   *rpc.Peer
	behind bool // it has not carried out an order, and must be told everything. With registry.mu held

	// What pages are made of, as it was when the first one was asked for: what comes later is told by itself.
	denials []auth.Denial
	follows []follow
}

// page makes a page. One goroutine at a time.
func (m *workerPeer) page(r *registry, at int) (p page, err error) {
	if at == 0 {
		m.denials, m.follows = r.deny.All(time.Now()), r.logs.all()
	}
	denials := len(m.denials)
	if at < 0 || at > denials+len(m.follows) {
		return p, errPage
	}
	for at < denials && len(p.Denials) < pageBytes {
		p.Denials = auth.AppendDenial(p.Denials, m.denials[at])
		at++
	}
	if at >= denials {
		rest := m.follows[at-denials:]
		p.Follows = rest[:min(len(rest), pageFollows)]
		at += len(p.Follows)
	}
	if at < denials+len(m.follows) {
		p.Next = at
	} else {
		m.denials, m.follows = nil, nil
	}
	return p, nil
}

// parseDenials reads what AppendDenial has written.
func parseDenials(b []byte) (list []auth.Denial, err error) {
	for len(b) > 0 {
		d, n, err := auth.ParseDenial(b)
		if err != nil {
			return list, err
		}
		list = append(list, d)
		b = b[n:]
	}
	return list, nil
}

// entryOf is a denial as it is kept in the feed: whichever machine writes it, it is the same.
func entryOf(d auth.Denial) ([]byte, error) {
	return json.Marshal(order{
		Kind: string(d.Kind), Value: d.Value, Until: d.Until.UTC().Truncate(time.Second),
		Code: uint16(CloseUnauthorized), Reason: revokedReason,
	})
}

// revokedReason is what a client is told that was revoked.
const revokedReason = "revoked"

// publish tells the other machines.
func (r *registry) publish(ctx context.Context, o order) error {
	if r.feed == nil {
		return nil
	}
	var b []byte
	var err error
	if d, ok := o.denial(); ok {
		b, err = entryOf(d)
	} else {
		o.Node, o.Said = r.node, time.Now().UnixNano()
		b, err = json.Marshal(o)
	}
	if err != nil {
		return err
	}
	return r.feed.Publish(ctx, b, o.Until)
}

// published is what has become of an order for other machines, for people; empty if all is well.
func published(o order, err error) (stored bool, warning string) {
	_, denial := o.denial()
	switch {
	case err == nil:
		return true, ""
	case errors.Is(err, session.ErrUnannounced):
		return true, fmt.Sprintf("other machines hear of it within 10 s, not at once: %v", err)
	case denial:
		return false, fmt.Sprintf("other machines do not know of it before Redis takes it: %v", err)
	default:
		return false, fmt.Sprintf("other machines were not told: %v", err)
	}
}

// kept are the revocations that are in force here, and that must be in the feed.
func (r *registry) kept() iter.Seq2[[]byte, time.Time] {
	return func(yield func([]byte, time.Time) bool) {
		for _, d := range r.deny.All(time.Now()) {
			if b, err := entryOf(d); err == nil && !yield(b, d.Until) {
				return
			}
		}
	}
}

// heard carries out what other machines, or this one, have said.
func (r *registry) heard(entries [][]byte) {
	var orders []order
	var denials, fresh []auth.Denial
	for _, entry := range entries {
		var o order
		if err := json.Unmarshal(entry, &o); err != nil {
			r.log.Warn("order of another machine not understood", "error", err)
			continue
		}
		d, ok := o.denial()
		switch {
		case !ok && o.Node == r.node:
		case !ok:
			orders = append(orders, o)
		case r.knows(d): // it was said here, or was heard before
		default:
			if err := r.deny.Add(d, time.Now()); err != nil {
				r.log.Error("revocation of another machine is not on the deny list", "error", err)
				orders = append(orders, o)
				continue
			}
			denials, fresh = append(denials, d), append(fresh, d)
			if len(entries) == 1 {
				orders, denials = append(orders, o), nil
			}
		}
	}
	if err := r.file.add(fresh...); err != nil {
		r.log.Error("revocations of other machines are not kept on the disk", "error", err)
	}
	for _, o := range orders {
		ctx, cancel := context.WithTimeout(context.Background(), orderTimeout)
		if _, err := r.obeyed(ctx, o); err != nil {
			r.log.Error("order of another machine not carried out by all workers", "error", err)
		}
		cancel()
	}
	r.spread(denials)
}

// knows says whether a denial says nothing new.
func (r *registry) knows(d auth.Denial) bool {
	_, known := r.deny.Denies(userOf(d), tokenOf(d), sessionOf(d), d.Until.Add(-time.Second))
	return known
}

// spread tells all workers of many denials at once: each looks through its connections once for all of them.
func (r *registry) spread(denials []auth.Denial) {
	for len(denials) > 0 {
		var b []byte
		n := 0
		for n < len(denials) && len(b) < pageBytes {
			b = auth.AppendDenial(b, denials[n])
			n++
		}
		denials = denials[n:]
		ctx, cancel := context.WithTimeout(context.Background(), orderTimeout)
		_, err := r.twice(ctx, func() (closed int, err error) { return r.tell(ctx, opDenials, b) })
		if cancel(); err != nil {
			r.log.Error("revocations of other machines are not known to all workers", "error", err)
		}
	}
}

// fallBehind notes that a worker has not carried out an order: it is told everything again.
func (r *registry) fallBehind(p *rpc.Peer) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, m := range r.members {
		if m.peer == p {
			m.behind = true
		}
	}
}
