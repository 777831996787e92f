package expedite

import (
	"context"
	"errors"
	"maps"

	"github.com/expedite-go/expedite/internal/control"
	"github.com/expedite-go/expedite/internal/registry"
	"github.com/expedite-go/expedite/session"
)

// maxListing is how large the users and parameters in one page of a list may be, as JSON may write them: six bytes for
// one. The first session of a page is always in it.
const maxListing = 8 << 20

// Sessions lists a page of the sessions of a user, the newest first, or of the connected ones of this machine, in the
// order of their connections' ids.
func (d *desk) Sessions(ctx context.Context, req control.SessionsRequest) (control.SessionList, error) {
	out := control.SessionList{Store: d.registry.StoreName()}
	most := control.PageSessions
	if req.Limit > 0 {
		most = min(req.Limit, most)
	}
	list, next := []session.Session(nil), registry.LiveCursor
	var err error
	if req.User != "" {
		next = registry.UserCursor
		list, out.Degraded, err = d.registry.OfUser(ctx, req.User, req.After, most+1)
	} else {
		list, err = d.registry.Live(ctx, req.After, most+1)
	}
	if errors.Is(err, registry.ErrCursor) {
		err = wrongName(err)
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
		one.Params[name] = d.app.hide.Shown(name, v)
	}
	if s.Place.Conn != 0 {
		one.Conn = ID(s.Place.Conn).String()
	}
	return one
}

// largest is a heap of connections with that of the largest id on top.
type largest []registry.LiveConn

// Len is part of heap.Interface.
func (l largest) Len() int { return len(l) }

// Less is part of heap.Interface.
func (l largest) Less(i, j int) bool { return l[i].Conn > l[j].Conn }

// Swap is part of heap.Interface.
func (l largest) Swap(i, j int) { l[i], l[j] = l[j], l[i] }

// Push is part of heap.Interface.
func (l *largest) Push(x any) { *l = append(*l, x.(registry.LiveConn)) }

// Pop is part of heap.Interface.
func (l *largest) Pop() any {
	last := (*l)[len(*l)-1]
	*l = (*l)[:len(*l)-1]
	return last
}
