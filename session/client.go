package session

import (
	"context"
	"encoding/binary"
	"errors"
	"time"
)

// Client is a Store that lives elsewhere: it asks whoever calls [Serve] there.
type Client struct {
	call func(ctx context.Context, request []byte) (answer []byte, err error)
}

// NewClient makes a Client. call carries a request to the other side and brings the answer; an error of its own says
// that the store is not available. It is called from any goroutine, several at a time.
func NewClient(call func(ctx context.Context, request []byte) ([]byte, error)) *Client {
	return &Client{call: call}
}

func request(op byte) []byte { return []byte{wireVersion, op} }

// ask returns what the other side answers, behind its code.
func (c *Client) ask(ctx context.Context, request []byte) (*reader, error) {
	answer, err := c.call(ctx, request)
	if err != nil {
		return nil, unavailable(err)
	}
	if err := parseError(answer); err != nil {
		return nil, err
	}
	return &reader{rest: answer[1:]}, nil
}

// finish says whether an answer was understood.
func (r *reader) finish() error {
	if err := r.end(); err != nil {
		return unavailable(err)
	}
	return nil
}

// Attach is Store's.
func (c *Client) Attach(ctx context.Context, a Attach) (Attached, error) {
	if err := a.check(); err != nil {
		return Attached{}, err
	}
	r, err := c.ask(ctx, appendAttach(request(opReserve), a))
	if err == nil {
		done := r.reserved()
		return done, r.finish()
	}
	if !errors.Is(err, errRequest) {
		return Attached{}, err
	}
	// Of an earlier release: it claims at once.
	if r, err = c.ask(ctx, appendAttach(request(opAttach), a)); err != nil {
		return Attached{}, err
	}
	done := r.attached()
	return done, r.finish()
}

// Claim is Store's.
func (c *Client) Claim(ctx context.Context, a Attach) (Attached, error) {
	if err := a.check(); err != nil {
		return Attached{}, err
	}
	r, err := c.ask(ctx, appendAttach(request(opClaim), a))
	if err != nil {
		return Attached{}, err
	}
	done := r.claimed()
	return done, r.finish()
}

// Detach is Store's.
func (c *Client) Detach(ctx context.Context, refs []Ref) error { return c.end(ctx, opDetach, refs) }

// Discard is Store's. A side of an earlier release detaches.
func (c *Client) Discard(ctx context.Context, refs []Ref) error {
	err := c.end(ctx, opDiscard, refs)
	if errors.Is(err, errRequest) {
		return c.end(ctx, opDetach, refs)
	}
	return err
}

// end tells of connections that have ended.
func (c *Client) end(ctx context.Context, op byte, refs []Ref) error {
	for len(refs) > 0 {
		batch := refs[:min(len(refs), MaxBatch)]
		refs = refs[len(batch):]
		if _, err := c.ask(ctx, appendRefs(request(op), batch)); err != nil {
			return err
		}
	}
	return nil
}

// Touch is Store's.
func (c *Client) Touch(ctx context.Context, refs []Ref) (lost []Ref, err error) {
	for len(refs) > 0 {
		batch := refs[:min(len(refs), MaxBatch)]
		refs = refs[len(batch):]
		r, err := c.ask(ctx, appendRefs(request(opTouch), batch))
		if err != nil {
			return lost, err
		}
		lost = append(lost, r.refs()...)
		if err := r.finish(); err != nil {
			return lost, err
		}
	}
	return lost, nil
}

// restoreBytes is how large the values may be that a Client sends in one request.
const restoreBytes = 1 << 20

// Restore is Store's.
func (c *Client) Restore(ctx context.Context, list []Saved) (superseded []ID, err error) {
	for len(list) > 0 {
		var body []byte
		n := 0
		for n < len(list) && n < MaxBatch && len(body) < restoreBytes {
			if err := list[n].check(); err != nil {
				return superseded, err
			}
			body = appendSaved(body, list[n])
			n++
		}
		list = list[n:]
		r, err := c.ask(ctx, append(binary.AppendUvarint(request(opRestore), uint64(n)), body...))
		if err != nil {
			return superseded, err
		}
		superseded = append(superseded, r.ids()...)
		if err := r.finish(); err != nil {
			return superseded, err
		}
	}
	return superseded, nil
}

// Load is Store's.
func (c *Client) Load(ctx context.Context, id ID) (map[string][]byte, error) {
	r, err := c.ask(ctx, append(request(opLoad), id[:]...))
	if err != nil {
		return nil, err
	}
	values := r.values()
	return values, r.finish()
}

// Save is Store's.
func (c *Client) Save(ctx context.Context, id ID, changes Changes) error {
	if err := checkValues(len(changes)/2, valueBytes(changes)); err != nil { // what no store takes
		return err
	}
	_, err := c.ask(ctx, appendChanges(append(request(opSave), id[:]...), changes))
	return err
}

// Find is Store's.
func (c *Client) Find(ctx context.Context, id ID) (Session, error) {
	r, err := c.ask(ctx, append(request(opFind), id[:]...))
	if err != nil {
		return Session{}, err
	}
	s := r.session()
	return s, r.finish()
}

// List is Store's.
func (c *Client) List(ctx context.Context, user string, page Page) ([]Session, error) {
	if len(user) > MaxUserBytes {
		return nil, nil
	}
	r, err := c.ask(ctx, appendPage(appendText(request(opListPage), user), page))
	if errors.Is(err, errRequest) { // of an earlier release, which has one page
		if !page.first() {
			return nil, nil
		}
		r, err = c.ask(ctx, appendText(request(opList), user))
	}
	if err != nil {
		return nil, err
	}
	list := r.sessions(MaxList)
	return list, r.finish()
}

// Drop is Store's.
func (c *Client) Drop(ctx context.Context, ids ...ID) (dropped []Session, err error) {
	for len(ids) > 0 {
		batch := ids[:min(len(ids), MaxBatch)]
		ids = ids[len(batch):]
		r, err := c.ask(ctx, appendIDs(request(opDrop), batch))
		if err != nil {
			return dropped, err
		}
		dropped = append(dropped, r.sessions(MaxBatch)...)
		if err := r.finish(); err != nil {
			return dropped, err
		}
	}
	return dropped, nil
}

// PutTicket is Store's.
func (c *Client) PutTicket(ctx context.Context, key [32]byte, value []byte, ttl time.Duration) error {
	if err := checkTicket(value); err != nil {
		return err
	}
	_, err := c.ask(ctx, appendText(appendInt(append(request(opPutTicket), key[:]...), int64(ttl)), value))
	return err
}

// TakeTicket is Store's.
func (c *Client) TakeTicket(ctx context.Context, key [32]byte) ([]byte, error) {
	r, err := c.ask(ctx, append(request(opTakeTicket), key[:]...))
	if err != nil {
		return nil, err
	}
	value := append([]byte(nil), r.bytes(r.uint())...)
	return value, r.finish()
}

// Close does nothing.
func (c *Client) Close() error { return nil }

var _ Store = (*Client)(nil)
