// Package remotestore is a session.Store at the other end of a link: workers reach the primary's memory store with it.
package remotestore

import (
	"context"
	"encoding/binary"
	"errors"
	"time"

	"github.com/expedite-go/expedite/internal/sessionwire"
	"github.com/expedite-go/expedite/session"
)

// Store is a session.Store that lives elsewhere: it asks whoever calls [Serve] there.
type Store struct {
	call func(ctx context.Context, request []byte) (answer []byte, err error)
}

// New makes a Client. call carries a request to the other side and brings the answer; an error of its own says
// that the store is not available. It is called from any goroutine, several at a time.
func New(call func(ctx context.Context, request []byte) ([]byte, error)) *Store {
	return &Store{call: call}
}

func request(op byte) []byte { return []byte{wireVersion, op} }

// ask returns what the other side answers, behind its code.
func (c *Store) ask(ctx context.Context, request []byte) (*reader, error) {
	answer, err := c.call(ctx, request)
	if err != nil {
		return nil, session.Unavailable(err)
	}
	if err := parseError(answer); err != nil {
		return nil, err
	}
	return newReader(answer[1:]), nil
}

// finish says whether an answer was understood.
func (r *reader) finish() error {
	if err := r.End(); err != nil {
		return session.Unavailable(err)
	}
	return nil
}

// Attach is Store's.
func (c *Store) Attach(ctx context.Context, a session.Attach) (session.Attached, error) {
	if err := a.Validate(); err != nil {
		return session.Attached{}, err
	}
	r, err := c.ask(ctx, appendAttach(request(opReserve), a))
	if err == nil {
		done := r.reserved()
		return done, r.finish()
	}
	if !errors.Is(err, errRequest) {
		return session.Attached{}, err
	}
	// Of an earlier release: it claims at once.
	if r, err = c.ask(ctx, appendAttach(request(opAttach), a)); err != nil {
		return session.Attached{}, err
	}
	done := r.attached()
	return done, r.finish()
}

// Claim is Store's.
func (c *Store) Claim(ctx context.Context, a session.Attach) (session.Attached, error) {
	if err := a.Validate(); err != nil {
		return session.Attached{}, err
	}
	r, err := c.ask(ctx, appendAttach(request(opClaim), a))
	if err != nil {
		return session.Attached{}, err
	}
	done := r.claimed()
	return done, r.finish()
}

// Detach is Store's.
func (c *Store) Detach(ctx context.Context, refs []session.Ref) error {
	return c.end(ctx, opDetach, refs)
}

// Discard is Store's. A side of an earlier release detaches.
func (c *Store) Discard(ctx context.Context, refs []session.Ref) error {
	err := c.end(ctx, opDiscard, refs)
	if errors.Is(err, errRequest) {
		return c.end(ctx, opDetach, refs)
	}
	return err
}

// end tells of connections that have ended.
func (c *Store) end(ctx context.Context, op byte, refs []session.Ref) error {
	for len(refs) > 0 {
		batch := refs[:min(len(refs), session.MaxBatch)]
		refs = refs[len(batch):]
		if _, err := c.ask(ctx, sessionwire.AppendRefs(request(op), batch)); err != nil {
			return err
		}
	}
	return nil
}

// Touch is Store's.
func (c *Store) Touch(ctx context.Context, refs []session.Ref) (lost []session.Ref, err error) {
	for len(refs) > 0 {
		batch := refs[:min(len(refs), session.MaxBatch)]
		refs = refs[len(batch):]
		r, err := c.ask(ctx, sessionwire.AppendRefs(request(opTouch), batch))
		if err != nil {
			return lost, err
		}
		lost = append(lost, r.Refs()...)
		if err := r.finish(); err != nil {
			return lost, err
		}
	}
	return lost, nil
}

// restoreBytes is how large the values may be that a Client sends in one request.
const restoreBytes = 1 << 20

// Restore is Store's.
func (c *Store) Restore(ctx context.Context, list []session.Saved) (superseded []session.ID, err error) {
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
		r, err := c.ask(ctx, append(binary.AppendUvarint(request(opRestore), uint64(n)), body...))
		if err != nil {
			return superseded, err
		}
		superseded = append(superseded, r.IDs()...)
		if err := r.finish(); err != nil {
			return superseded, err
		}
	}
	return superseded, nil
}

// Load is Store's.
func (c *Store) Load(ctx context.Context, id session.ID) (map[string][]byte, error) {
	r, err := c.ask(ctx, append(request(opLoad), id[:]...))
	if err != nil {
		return nil, err
	}
	values := r.Values()
	return values, r.finish()
}

// Save is Store's.
func (c *Store) Save(ctx context.Context, id session.ID, changes session.Changes) error {
	if err := changes.Validate(); err != nil { // what no store takes
		return err
	}
	_, err := c.ask(ctx, sessionwire.AppendChanges(append(request(opSave), id[:]...), changes))
	return err
}

// Find is Store's.
func (c *Store) Find(ctx context.Context, id session.ID) (session.Session, error) {
	r, err := c.ask(ctx, append(request(opFind), id[:]...))
	if err != nil {
		return session.Session{}, err
	}
	s := r.Session()
	return s, r.finish()
}

// List is Store's.
func (c *Store) List(ctx context.Context, user string, page session.Page) ([]session.Session, error) {
	if len(user) > session.MaxUserBytes {
		return nil, nil
	}
	r, err := c.ask(ctx, appendPage(sessionwire.AppendText(request(opListPage), user), page))
	if errors.Is(err, errRequest) { // of an earlier release, which has one page
		if !page.IsFirst() {
			return nil, nil
		}
		r, err = c.ask(ctx, sessionwire.AppendText(request(opList), user))
	}
	if err != nil {
		return nil, err
	}
	list := r.Sessions(session.MaxList)
	return list, r.finish()
}

// Drop is Store's.
func (c *Store) Drop(ctx context.Context, ids ...session.ID) (dropped []session.Session, err error) {
	for len(ids) > 0 {
		batch := ids[:min(len(ids), session.MaxBatch)]
		ids = ids[len(batch):]
		r, err := c.ask(ctx, sessionwire.AppendIDs(request(opDrop), batch))
		if err != nil {
			return dropped, err
		}
		dropped = append(dropped, r.Sessions(session.MaxBatch)...)
		if err := r.finish(); err != nil {
			return dropped, err
		}
	}
	return dropped, nil
}

// PutTicket is Store's.
func (c *Store) PutTicket(ctx context.Context, key [32]byte, value []byte, ttl time.Duration) error {
	if err := session.ValidateTicket(value); err != nil {
		return err
	}
	b := binary.AppendVarint(append(request(opPutTicket), key[:]...), int64(ttl))
	_, err := c.ask(ctx, sessionwire.AppendText(b, value))
	return err
}

// TakeTicket is Store's.
func (c *Store) TakeTicket(ctx context.Context, key [32]byte) ([]byte, error) {
	r, err := c.ask(ctx, append(request(opTakeTicket), key[:]...))
	if err != nil {
		return nil, err
	}
	value := append([]byte(nil), r.Bytes(r.Uint())...)
	return value, r.finish()
}

// Close does nothing.
func (c *Store) Close() error { return nil }

var _ session.Store = (*Store)(nil)
