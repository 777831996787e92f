package registry

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/expedite-go/expedite/internal/connid"
	"github.com/expedite-go/expedite/session"
)

// ErrCursor reports a place in a list that is none.
var ErrCursor = errors.New("it is not a place in a list")

// countTimeout bounds the counting of sessions for a status.
const countTimeout = time.Second

// UserCursor returns the place after a session in the list of OfUser, and LiveCursor that in the list of Live.
func UserCursor(s session.Session) string {
	return strconv.FormatInt(s.Created.UnixMicro(), 10) + "." + s.ID.String()
}

// LiveCursor returns the place after a session in the list of Live.
func LiveCursor(s session.Session) string { return connid.ID(s.Place.Conn).String() }

// userPage returns the page after a UserCursor.
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
		return page, fmt.Errorf("after %q: %w", after, ErrCursor)
	}
	page.Created = time.UnixMicro(created)
	return page, nil
}

// OfUser lists sessions of a user after a place, the newest first. Degraded reports that the store is away: the list
// has those in this machine's memory only.
func (s *Server) OfUser(
	ctx context.Context, user, after string, limit int,
) (list []session.Session, degraded bool, err error) {
	page, err := userPage(after)
	for store := s.store; err == nil && len(list) < limit; {
		page.Max = limit - len(list)
		var some []session.Session
		some, err = store.List(ctx, user, page)
		if errors.Is(err, session.ErrUnavailable) && store != session.Store(s.memory) {
			store, degraded, err = s.memory, true, nil
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

// ParseLive returns the request for connections with sessions after a LiveCursor. Empty is none.
func ParseLive(after string, limit int) (req LiveRequest, err error) {
	req.Limit = limit
	if after != "" {
		if req.After, err = connid.Parse(after); err != nil {
			return req, fmt.Errorf("after %q: %w", after, ErrCursor)
		}
	}
	return req, nil
}

// Live lists sessions that are connected to this machine after a place, by the ids of their connections.
func (s *Server) Live(ctx context.Context, after string, limit int) ([]session.Session, error) {
	req, err := ParseLive(after, limit)
	if err != nil {
		return nil, err
	}
	conns, err := s.LiveConns(ctx, req)
	if err != nil {
		return nil, err
	}
	return s.Describe(ctx, conns), nil
}

// LiveConns lists connections of this machine that have sessions, by their ids.
func (s *Server) LiveConns(ctx context.Context, req LiveRequest) ([]LiveConn, error) {
	b, err := json.Marshal(req)
	if err != nil {
		return nil, err
	}
	var conns []LiveConn
	for _, a := range s.ask(ctx, opLive, b) {
		var some []LiveConn
		if a.err == nil && a.payload != nil {
			a.err = json.Unmarshal(a.payload, &some)
		}
		if a.err != nil {
			return nil, fmt.Errorf("expedite: not every worker has answered: %w", a.err)
		}
		conns = append(conns, some...)
	}
	conns = slices.DeleteFunc(conns, func(c LiveConn) bool { // a worker of an earlier release ignores After
		return c.Conn <= req.After
	})
	slices.SortFunc(conns, func(a, b LiveConn) int { return cmp.Compare(a.Conn, b.Conn) })
	conns = slices.CompactFunc(conns, func(a, b LiveConn) bool { return a.Conn == b.Conn }) // one that moves is in two
	conns = conns[:min(len(conns), req.Limit)]
	for i := range conns {
		conns[i].Node = s.node
	}
	return conns, nil
}

// Describe returns the sessions of connections, in their order.
func (s *Server) Describe(ctx context.Context, conns []LiveConn) (list []session.Session) {
	ids := make([]session.ID, len(conns))
	for i, c := range conns {
		ids[i] = c.Session
	}
	known := make(map[session.ID]session.Session, len(conns))
	found, _ := s.store.Find(ctx, ids...) // without the store, the list has what the workers know
	for _, one := range found {
		known[one.ID] = one
	}
	for _, c := range conns {
		one, ok := known[c.Session]
		if !ok {
			one = session.Session{ID: c.Session, User: c.User}
		}
		one.Place = session.Place{Node: c.Node, Conn: uint64(c.Conn)}
		list = append(list, one)
	}
	return list
}

// Connected asks the workers how many connections with sessions this machine has. It returns nil if one of them does
// not answer.
func (s *Server) Connected(ctx context.Context) *int64 {
	ctx, cancel := context.WithTimeout(ctx, countTimeout)
	defer cancel()
	sum := int64(0)
	for _, a := range s.ask(ctx, opCount, nil) {
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
