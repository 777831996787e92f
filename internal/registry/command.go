package registry

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/expedite-go/expedite/internal/connid"
	"github.com/expedite-go/expedite/internal/denylist"
	"github.com/expedite-go/expedite/session"
)

// orderAgain is how long a connection may be on its way between two workers, in neither of which an order finds it.
const orderAgain = time.Second

// Command has an order carried out on all machines, and blocks until the workers of this one have done it.
func (s *Server) Command(ctx context.Context, c Command) (Done, error) {
	done := Done{Stored: true}
	kept := make(chan error, 1)
	if d, ok := c.Order.Denial(); ok {
		if err := s.deny.Add(d, time.Now()); err != nil {
			return done, err
		}
		go func() { kept <- s.file.add(d) }() // ends when the disk answers
	} else {
		kept <- nil
	}
	told := make(chan error, 1)
	go func() { told <- s.publish(ctx, c.Order) }() // ends with ctx
	closed, err := s.carryOut(ctx, c.Order)
	done.Closed = closed
	if c.Drop {
		err = errors.Join(err, s.drop(ctx, c.Order))
	}
	done.Stored, done.Warning = published(c.Order, <-told)
	if failed := <-kept; failed != nil {
		done.Stored = false
		done.Warning = strings.TrimPrefix(done.Warning+"; "+failed.Error(), "; ")
	}
	return done, err
}

// carryOut gives all workers an order and waits until they have carried it out.
func (s *Server) carryOut(ctx context.Context, o Order) (closed int, err error) {
	b, err := json.Marshal(o)
	if err != nil {
		return 0, err
	}
	return s.twice(ctx, func() (int, error) { return s.tell(ctx, opOrder, b) })
}

// twice calls tell, and calls it again if connections move: those on their way between two workers were in neither.
func (s *Server) twice(ctx context.Context, tell func() (closed int, err error)) (closed int, err error) {
	moving := s.moving()
	closed, err = tell()
	if !moving && !s.moving() {
		return closed, err
	}
	select {
	case <-time.After(orderAgain):
	case <-ctx.Done():
		return closed, err
	}
	more, again := tell()
	return closed + more, errors.Join(err, again)
}

// tell asks all workers for something that closes connections, and returns how many were closed.
func (s *Server) tell(ctx context.Context, op byte, b []byte) (closed int, err error) {
	for _, a := range s.ask(ctx, op, b) {
		var done obeyed
		if a.err == nil && a.payload != nil {
			a.err = json.Unmarshal(a.payload, &done)
		}
		if a.err != nil {
			s.fellBehind(a.worker)
		}
		closed += done.Closed
		err = errors.Join(err, a.err)
	}
	if err != nil {
		err = fmt.Errorf("expedite: not every worker has done it: %w", err)
	}
	return closed, err
}

// drop deletes the sessions that an order names.
func (s *Server) drop(ctx context.Context, o Order) error {
	var ids []session.ID
	switch o.Kind {
	case string(denylist.Session):
		id, err := session.ParseID(o.Value)
		if err != nil {
			return err
		}
		ids = append(ids, id)
	case string(denylist.User):
		var err error
		if ids, err = s.sessionsOf(ctx, o.Value, o.Except); err != nil {
			return err
		}
	}
	if len(ids) == 0 {
		return nil
	}
	_, err := s.store.Drop(ctx, ids...)
	return err
}

// sessionsOf returns the sessions of a user, except that of one connection.
func (s *Server) sessionsOf(ctx context.Context, user string, except connid.ID) (ids []session.ID, err error) {
	for page := (session.Page{}); ; {
		list, err := s.store.List(ctx, user, page)
		for _, one := range list {
			if one.Place.Conn == 0 || one.Place.Conn != uint64(except) {
				ids = append(ids, one.ID)
			}
		}
		if err != nil || len(list) < session.MaxList {
			return ids, err
		}
		page = page.Next(list[len(list)-1])
	}
}
