package expedite

import (
	"cmp"
	minheap "container/heap"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/expedite-go/expedite/internal/control"
	"github.com/expedite-go/expedite/internal/engine"
	"github.com/expedite-go/expedite/session"
)

// maxListing is how large the users and parameters in one page of a list may be, as JSON may write them: six bytes for
// one. The first session of a page is always in it.
const maxListing = 8 << 20

// Sessions lists a page of the sessions of a user, the newest first, or of the connected ones of this machine, in the
// order of their connections' ids.
func (d *desk) Sessions(ctx context.Context, req control.SessionsRequest) (control.SessionList, error) {
	out := control.SessionList{Store: d.storeName()}
	most := control.PageSessions
	if req.Limit > 0 {
		most = min(req.Limit, most)
	}
	list, next := []session.Session(nil), liveAfter
	var err error
	if req.User != "" {
		next = userAfter
		list, out.Degraded, err = d.registry.ofUser(ctx, req.User, req.After, most+1)
	} else {
		list, err = d.registry.live(ctx, req.After, most+1)
	}
	if err != nil {
		return out, err
	}
	size := 0
	for i, s := range list {
		one := d.listed(s)
		size += 6 * len(one.User)
		for name, v := range one.Params {
			size += 6 * (len(name) + len(v))
		}
		if i == most || i > 0 && size > maxListing {
			out.More, out.Next = true, next(list[i-1])
			break
		}
		out.Sessions = append(out.Sessions, one)
	}
	return out, nil
}

// listed is a session as it is shown.
func (d *desk) listed(s session.Session) control.Session {
	one := control.Session{
		ID: s.ID.String(), User: s.User, Created: s.Created, Seen: s.Seen,
		Connected: s.Place.Conn != 0, Node: s.Place.Node, Params: maps.Clone(s.Params),
	}
	for name, v := range one.Params { // an earlier release kept them as they were
		one.Params[name] = shown(d.app.hide, name, v)
	}
	if s.Place.Conn != 0 {
		one.Conn = ID(s.Place.Conn).String()
	}
	return one
}

// badCursor is the answer to a place in a list that is none.
func badCursor(after string) error {
	return wrongName(fmt.Errorf("after %q: it is no place in a list", after))
}

// userAfter is the place behind a session in a user's list, and liveAfter the same in that of connections.
func userAfter(s session.Session) string {
	return strconv.FormatInt(s.Created.UnixMicro(), 10) + "." + s.ID.String()
}

func liveAfter(s session.Session) string { return ID(s.Place.Conn).String() }

// userPage is the page behind such a place.
func userPage(after string) (page session.Page, err error) {
	if after == "" {
		return page, nil
	}
	micros, id, _ := strings.Cut(after, ".")
	created, err := strconv.ParseInt(micros, 10, 64)
	if err == nil {
		page.ID, err = session.ParseID(id)
	}
	if err != nil {
		return page, badCursor(after)
	}
	page.Created = time.UnixMicro(created)
	return page, nil
}

// ofUser lists sessions of a user behind a place. Degraded says that the store is away: they are those of this machine.
func (r *registry) ofUser(
	ctx context.Context, user, after string, most int,
) (list []session.Session, degraded bool, err error) {
	page, err := userPage(after)
	for store := r.store; err == nil && len(list) < most; {
		page.Max = most - len(list)
		var some []session.Session
		some, err = store.List(ctx, user, page)
		if errors.Is(err, session.ErrUnavailable) && store != session.Store(r.memory) {
			store, degraded, err = r.memory, true, nil
			continue
		}
		list = append(list, some...)
		if len(some) == 0 {
			break
		}
		page = page.Next(some[len(some)-1])
	}
	return list, degraded, err
}

// liveRequest asks a worker for connections that have sessions: at most Limit, with the smallest ids above After.
type liveRequest struct {
	Limit int `json:"limit"`
	After ID  `json:"after,omitzero"`
}

// liveConn is one of them. As many as are in an answer, with the longest names, are still far from filling a message.
type liveConn struct {
	Session session.ID `json:"session"`
	User    string     `json:"user"`
	Conn    ID         `json:"conn"`
}

// live lists connected sessions of this machine behind a place, in the order of their connections' ids.
func (r *registry) live(ctx context.Context, after string, most int) ([]session.Session, error) {
	req := liveRequest{Limit: most}
	if after != "" {
		var err error
		if req.After, err = ParseID(after); err != nil {
			return nil, badCursor(after)
		}
	}
	b, err := json.Marshal(req)
	if err != nil {
		return nil, err
	}
	var conns []liveConn
	for _, a := range r.ask(ctx, opLive, b) {
		var some []liveConn
		if a.err == nil && a.payload != nil {
			a.err = json.Unmarshal(a.payload, &some)
		}
		if a.err != nil {
			return nil, fmt.Errorf("expedite: not every worker has told: %w", a.err)
		}
		conns = append(conns, some...)
	}
	conns = slices.DeleteFunc(conns, func(c liveConn) bool { // a worker of an earlier release does not look at After
		return c.Conn <= req.After
	})
	slices.SortFunc(conns, func(a, b liveConn) int { return cmp.Compare(a.Conn, b.Conn) })
	conns = slices.CompactFunc(conns, func(a, b liveConn) bool { return a.Conn == b.Conn }) // one that moves
	var list []session.Session
	for _, c := range conns[:min(len(conns), most)] {
		s := session.Session{ID: c.Session, User: c.User}
		if known, err := r.store.Find(ctx, c.Session); err == nil {
			s = known
		}
		s.Place = session.Place{Node: r.node, Conn: uint64(c.Conn)}
		list = append(list, s)
	}
	return list, nil
}

// largest is a heap of connections with that of the largest id on top.
type largest []liveConn

// Len is part of heap.Interface.
func (l largest) Len() int { return len(l) }

// Less is part of heap.Interface.
func (l largest) Less(i, j int) bool { return l[i].Conn > l[j].Conn }

// Swap is part of heap.Interface.
func (l largest) Swap(i, j int) { l[i], l[j] = l[j], l[i] }

// Push is part of heap.Interface.
func (l *largest) Push(x any) { *l = append(*l, x.(liveConn)) }

// Pop is part of heap.Interface.
func (l *largest) Pop() any {
	last := (*l)[len(*l)-1]
	*l = (*l)[:len(*l)-1]
	return last
}

// live lists connections that have sessions.
func (n *node) live(req liveRequest, done func([]liveConn)) {
	list := largest{}
	most := min(req.Limit, control.PageSessions+1) // more, as a primary of an earlier release may want, may be too large
	posted := n.eng.Sweep(func(ec *engine.Conn) {
		c, ok := ec.Owner().(*Conn)
		if !ok || c.ID() <= req.After || len(list) >= most && (most < 1 || c.ID() > list[0].Conn) {
			return
		}
		if w := c.who.Load(); w != nil && !w.session.IsZero() {
			minheap.Push(&list, liveConn{w.session, w.user, c.ID()})
		}
		if len(list) > most {
			minheap.Pop(&list)
		}
	}, func() { done(list) })
	if !posted {
		done(list)
	}
}
