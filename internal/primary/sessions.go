package primary

import (
	"context"
	"errors"
	"maps"

	"github.com/expedite-go/expedite/internal/connid"
	"github.com/expedite-go/expedite/internal/control"
	"github.com/expedite-go/expedite/internal/registry"
	"github.com/expedite-go/expedite/session"
)

const (
	// maxListing bounds the users and parameters in one page of a list, in bytes of JSON. The first session of a page is
	// always in it.
	maxListing = 8 << 20
	// escapeLength is the most bytes that JSON needs for one byte of a string: \u0000.
	escapeLength = 6
)

// Sessions lists a page of the sessions of a user, the newest first, or of the connected ones of all machines, in the
// order of their connections' ids.
func (s *ControlServer) Sessions(ctx context.Context, req control.SessionsRequest) (control.SessionList, error) {
	out := control.SessionList{Store: s.registry.StoreName()}
	most := control.PageSessions
	if req.Limit > 0 {
		most = min(req.Limit, most)
	}
	list, next := []session.Session(nil), registry.LiveCursor
	var err error
	if req.User != "" { // those in the store are of all machines
		next = registry.UserCursor
		list, out.Degraded, err = s.registry.OfUser(ctx, req.User, req.After, most+1)
	} else {
		list, out.Missing, err = s.live(ctx, req.After, most+1)
	}
	if errors.Is(err, registry.ErrCursor) {
		err = badRequest(err)
	}
	if err != nil {
		return out, err
	}
	size := 0
	for i, one := range list {
		shown := s.shown(one)
		size += escapeLength * len(shown.User)
		for name, v := range shown.Params {
			size += escapeLength * (len(name) + len(v))
		}
		if i == most || i > 0 && size > maxListing {
			out.More, out.Next = true, next(list[i-1])
			break
		}
		out.Sessions = append(out.Sessions, shown)
	}
	return out, nil
}

// shown returns a session as operators see it.
func (s *ControlServer) shown(one session.Session) control.Session {
	shown := control.Session{
		ID: one.ID.String(), User: one.User, Created: one.Created, Seen: one.Seen,
		Connected: one.Place.Conn != 0, Node: one.Place.Node, Params: maps.Clone(one.Params),
	}
	for name, v := range shown.Params { // earlier releases stored them unredacted
		shown.Params[name] = s.cfg.Secrets.Shown(name, v)
	}
	if one.Place.Conn != 0 {
		shown.Conn = connid.ID(one.Place.Conn).String()
	}
	return shown
}
