package remotestore

import (
	"context"
	"encoding/binary"
	"errors"
	"slices"
	"time"

	"github.com/expedite-go/expedite/internal/record"
	"github.com/expedite-go/expedite/internal/sessionwire"
	"github.com/expedite-go/expedite/session"
)

// Store is a session.Store that sends its requests to the other end of a link, which passes them to [Serve].
type Store struct {
	call func(ctx context.Context, request []byte) (answer []byte, err error)
}

// New returns a Store that uses call for its requests. call delivers a request and returns the answer; it must be safe
// for concurrent use. If it fails, the Store fails with session.ErrUnavailable.
func New(call func(ctx context.Context, request []byte) ([]byte, error)) *Store { return &Store{call} }

// ask sends a request and returns a decoder of the result.
func (s *Store) ask(ctx context.Context, request []byte) (*decoder, error) {
	answer, err := s.call(ctx, request)
	if err != nil {
		return nil, session.Unavailable(err)
	}
	if err := parseError(answer); err != nil {
		return nil, err
	}
	return newDecoder(answer[1:]), nil
}

// ask sends a request and reads the result with the help of read. It is a function because methods have no type
// parameters.
func ask[T any](ctx context.Context, s *Store, request []byte, read func(*decoder) T) (result T, err error) {
	d, err := s.ask(ctx, request)
	if err != nil {
		return result, err
	}
	result = read(d)
	if err := d.End(); err != nil {
		return result, session.Unavailable(err)
	}
	return result, nil
}

// Attach implements session.Store. The primary of an earlier release claims the session at once.
func (s *Store) Attach(ctx context.Context, a session.Attach) (session.Attached, error) {
	if err := a.Validate(); err != nil {
		return session.Attached{}, err
	}
	done, err := ask(ctx, s, appendAttach(request(opReserve), a), (*decoder).reserved)
	if errors.Is(err, errRequest) {
		return ask(ctx, s, appendAttach(request(opAttach), a), (*decoder).attached)
	}
	return done, err
}

// Claim implements session.Store.
func (s *Store) Claim(ctx context.Context, a session.Attach) (session.Attached, error) {
	if err := a.Validate(); err != nil {
		return session.Attached{}, err
	}
	return ask(ctx, s, appendAttach(request(opClaim), a), (*decoder).claimed)
}

// Detach implements session.Store.
func (s *Store) Detach(ctx context.Context, refs []session.Ref) error {
	return s.end(ctx, opDetach, refs)
}

// Discard implements session.Store. The primary of an earlier release only detaches.
func (s *Store) Discard(ctx context.Context, refs []session.Ref) error {
	err := s.end(ctx, opDiscard, refs)
	if errors.Is(err, errRequest) {
		return s.end(ctx, opDetach, refs)
	}
	return err
}

// end sends one of the operations that record the ends of connections.
func (s *Store) end(ctx context.Context, op byte, refs []session.Ref) error {
	for batch := range slices.Chunk(refs, session.MaxBatch) {
		if _, err := s.ask(ctx, sessionwire.AppendRefs(request(op), batch)); err != nil {
			return err
		}
	}
	return nil
}

// Touch implements session.Store.
func (s *Store) Touch(ctx context.Context, refs []session.Ref) (lost []session.Ref, err error) {
	for batch := range slices.Chunk(refs, session.MaxBatch) {
		some, err := ask(ctx, s, sessionwire.AppendRefs(request(opTouch), batch), (*decoder).Refs)
		lost = append(lost, some...)
		if err != nil {
			return lost, err
		}
	}
	return lost, nil
}

// restoreBytes is the size of a request from which on it gets no further sessions.
const restoreBytes = 1 << 20

// Restore implements session.Store.
func (s *Store) Restore(ctx context.Context, list []session.Saved) (superseded []session.ID, err error) {
	for len(list) > 0 {
		var body []byte
		n := 0
		for n < len(list) && n < session.MaxBatch && len(body) < restoreBytes {
			if err := list[n].Validate(); err != nil {
				return superseded, err
			}
			body = sessionwire.AppendSaved(body, list[n])
			n++
		}
		list = list[n:]
		some, err := ask(ctx, s, append(binary.AppendUvarint(request(opRestore), uint64(n)), body...), (*decoder).IDs)
		superseded = append(superseded, some...)
		if err != nil {
			return superseded, err
		}
	}
	return superseded, nil
}

// Load implements session.Store. The primary of an earlier release sends all values.
func (s *Store) Load(ctx context.Context, id session.ID, keys ...string) (map[string][]byte, error) {
	if len(keys) > 0 && len(keys) <= session.MaxChanges {
		b := sessionwire.AppendKeys(append(request(opLoadKeys), id[:]...), keys)
		values, err := ask(ctx, s, b, (*decoder).Values)
		if !errors.Is(err, errRequest) {
			return values, err
		}
	}
	values, err := ask(ctx, s, append(request(opLoad), id[:]...), (*decoder).Values)
	if len(keys) > 0 {
		for k := range values {
			if !slices.Contains(keys, k) {
				delete(values, k)
			}
		}
	}
	return values, err
}

// Save implements session.Store.
func (s *Store) Save(ctx context.Context, id session.ID, changes session.Changes) error {
	if err := changes.Validate(); err != nil {
		return err
	}
	_, err := s.ask(ctx, sessionwire.AppendChanges(append(request(opSave), id[:]...), changes))
	return err
}

// Find implements session.Store. It asks the primary of an earlier release for one session at a time.
func (s *Store) Find(ctx context.Context, ids ...session.ID) (found []session.Session, err error) {
	for batch := range slices.Chunk(ids, session.MaxBatch) {
		var some []session.Session
		err := errRequest
		if len(batch) > 1 {
			some, err = ask(ctx, s, sessionwire.AppendIDs(request(opFindMany), batch), (*decoder).batch)
		}
		if errors.Is(err, errRequest) {
			some, err = s.findEach(ctx, batch)
		}
		found = append(found, some...)
		if err != nil {
			return found, err
		}
	}
	return found, nil
}

// findEach finds sessions by a request for each.
func (s *Store) findEach(ctx context.Context, ids []session.ID) (found []session.Session, err error) {
	for _, id := range ids {
		one, err := ask(ctx, s, append(request(opFind), id[:]...), (*decoder).Session)
		switch {
		case err == nil:
			found = append(found, one)
		case !errors.Is(err, session.ErrNotFound):
			return found, err
		}
	}
	return found, nil
}

// List implements session.Store. The primary of an earlier release has only the first page.
func (s *Store) List(ctx context.Context, user string, page session.Page) ([]session.Session, error) {
	if len(user) > session.MaxUserBytes {
		return nil, nil
	}
	read := func(d *decoder) []session.Session { return d.Sessions(session.MaxList) }
	list, err := ask(ctx, s, appendPage(record.AppendText(request(opListPage), user), page), read)
	switch {
	case !errors.Is(err, errRequest):
		return list, err
	case !page.IsFirst():
		return nil, nil
	default:
		return ask(ctx, s, record.AppendText(request(opList), user), read)
	}
}

// Drop implements session.Store.
func (s *Store) Drop(ctx context.Context, ids ...session.ID) (dropped []session.Session, err error) {
	for batch := range slices.Chunk(ids, session.MaxBatch) {
		some, err := ask(ctx, s, sessionwire.AppendIDs(request(opDrop), batch), (*decoder).batch)
		dropped = append(dropped, some...)
		if err != nil {
			return dropped, err
		}
	}
	return dropped, nil
}

// PutTicket implements session.Store.
func (s *Store) PutTicket(ctx context.Context, key [32]byte, value []byte, ttl time.Duration) error {
	if err := session.ValidateTicket(value); err != nil {
		return err
	}
	b := binary.AppendVarint(append(request(opPutTicket), key[:]...), int64(ttl))
	_, err := s.ask(ctx, record.AppendText(b, value))
	return err
}

// TakeTicket implements session.Store.
func (s *Store) TakeTicket(ctx context.Context, key [32]byte) ([]byte, error) {
	return ask(ctx, s, append(request(opTakeTicket), key[:]...), (*decoder).Copy)
}

// Close does nothing: the link is not the Store's.
func (*Store) Close() error { return nil }

var _ session.Store = (*Store)(nil)
