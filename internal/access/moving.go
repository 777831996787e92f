package access

import (
	"bytes"
	"encoding/binary"
	"errors"

	"github.com/expedite-go/expedite/auth"
	"github.com/expedite-go/expedite/internal/identity"
	"github.com/expedite-go/expedite/internal/reactor"
	"github.com/expedite-go/expedite/internal/record"
	"github.com/expedite-go/expedite/session"
)

// What moves with a connection, beside the state that the engine keeps, is a list of records as package record encodes
// them. Tags never change their meaning: the other worker may be of another release.
const (
	recordUser     = 0x01
	recordQuery    = 0x02
	recordIdentity = 0x81 // of identity.Append. Early releases know recordUser only
	recordSession  = 0x82 // id (24), 1 if it was resumed (1)
	recordHeaders  = 0x83
	recordCarried  = 0x84 // of storeguard.Guard.Carry
	recordState    = 0x85 // the application's own
	recordSince    = 0x86 // time from which on orders may have missed it, on the loop's clock in ns (8)
	recordBegan    = 0x87 // when it opened, in seconds of the loop's clock (4); only while the client has said nothing
	recordClaim    = 0x88 // 1: its session is still to be claimed

	recordPathValue   = 0x90 // repeated: values of the wildcards in the path of the endpoint, in their order
	recordSubprotocol = 0x91
	recordPublished   = 0x92 // extra.published (8)
	recordReceived    = 0x93 // of received.append: what the session has received of topics that it is not subscribed to;
	// final if that is not known
)

// ErrRecord reports a record of a connection that cannot be read.
var ErrRecord = errors.New("expedite: bad connection record")

// Save returns the record of a connection that is about to move. State is the application's own; nil is none. On the
// loop.
func (a *Admission) Save(c *Client, state *[]byte) []byte {
	b := c.record(state)
	d := c.details.Load()
	if d == nil {
		return b
	}
	b = appendRecord(b, recordCarried, a.Tracker.carry(d))
	b = record.AppendUint64(b, recordSince, uint64(a.Orders.Since()))
	if since := c.silent.Load(); since != 0 && !d.session.IsZero() {
		b = binary.LittleEndian.AppendUint32(record.AppendHeader(b, recordBegan, 4), since)
	}
	if a.Tracker.claims.waits(c.Conn.ID()) {
		b = record.Append(b, recordClaim, "\x01")
	}
	return b
}

func (c *Client) record(state *[]byte) []byte {
	b := appendRecord(nil, recordQuery, c.Query)
	if state != nil {
		b = appendRecord(b, recordState, *state)
	}
	if x := c.extra; x != nil {
		for _, value := range x.values {
			b = record.Append(b, recordPathValue, value)
		}
		b = appendRecord(b, recordSubprotocol, x.subprotocol)
		if at := x.published.Load(); at != 0 {
			b = record.AppendUint64(b, recordPublished, uint64(at))
		}
		if x.resume != nil {
			r := received{final: x.resume.unknown(), marks: x.resume.left()}
			b = record.Append(b, recordReceived, r.append(nil))
		}
	}
	d := c.details.Load()
	if d == nil {
		return b
	}
	b = appendRecord(b, recordUser, d.user)
	b = appendRecord(b, recordIdentity, d.encoded)
	b = appendRecord(b, recordHeaders, d.headers)
	if !d.session.IsZero() {
		resumed := byte(0)
		if d.resumed {
			resumed = 1
		}
		b = append(append(record.AppendHeader(b, recordSession, len(d.session)+1), d.session[:]...), resumed)
	}
	return b
}

// appendRecord appends a record, unless its value is empty.
func appendRecord[T string | []byte](b []byte, tag byte, value T) []byte {
	if len(value) == 0 {
		return b
	}
	return record.Append(b, tag, value)
}

// Load fills the Client of a connection that has moved here from its record, and returns the application's state; nil
// if there is none. On the loop.
func (a *Admission) Load(c *Client, b []byte) (state *[]byte, err error) {
	rest, err := c.parse(b)
	if err != nil {
		return nil, err
	}
	if len(rest.carried) > 0 {
		a.Tracker.adopt(c, rest.carried)
	}
	if c.extra != nil && c.extra.resume != nil && rest.unknown && !rest.claim { // else the claim settles it
		c.extra.resume.settleBlind()
	}
	if rest.claim {
		a.Tracker.claimFor(c, nil)
	}
	return rest.state, nil
}

// moved is what a record has beside the Client.
type moved struct {
	carried []byte
	claim   bool
	unknown bool // what its session has received
	state   *[]byte
}

// parse reads a record.
func (c *Client) parse(b []byte) (rest moved, err error) {
	d := &details{since: reactor.Monotonic()}
	user := ""
	for dec := record.NewDecoder(b); dec.More(); {
		tag, value := dec.Next()
		if dec.Err() != nil {
			return rest, ErrRecord
		}
		switch {
		case tag == recordUser:
			user = string(value)
		case tag == recordQuery:
			c.Query = string(value)
		case tag == recordIdentity:
			d.encoded = string(value)
		case tag == recordCarried:
			rest.carried = bytes.Clone(value)
		case tag == recordClaim:
			rest.claim = string(value) == "\x01"
		case tag == recordSince && len(value) == 8:
			d.since = int64(binary.LittleEndian.Uint64(value))
		case tag == recordBegan && len(value) == 4:
			c.silent.Store(binary.LittleEndian.Uint32(value))
		case tag == recordHeaders:
			d.headers = string(value)
		case tag == recordState:
			state := bytes.Clone(value)
			rest.state = &state
		case tag == recordPathValue:
			c.more().values = append(c.more().values, string(value))
		case tag == recordPublished && len(value) == 8:
			c.more().published.Store(int64(binary.LittleEndian.Uint64(value)))
		case tag == recordReceived:
			if r, err := parseReceived(value); err == nil {
				c.more().resume = &resume{gone: make(chan struct{})}
				if rest.unknown = r.final; !r.final {
					c.more().resume.settle(r.marks)
				}
			}
		case tag == recordSubprotocol:
			c.more().subprotocol = string(value)
		case tag == recordSession:
			if len(value) != len(session.ID{})+1 {
				return rest, ErrRecord
			}
			d.session = session.ID(value[:len(session.ID{})])
			d.resumed = value[len(session.ID{})] == 1
		case tag < record.Optional:
			return rest, ErrRecord
		}
	}
	if d.encoded != "" {
		d.user = identity.UserOf(d.encoded)
	}
	if d.user != user { // of a release that knows users only
		d.identify(&auth.Identity{User: user})
	}
	if !d.empty() {
		c.details.Store(d)
	}
	return rest, nil
}

// carry returns what the next worker must know of a session beside its id.
func (t *Tracker) carry(d *details) []byte {
	if t.Guard == nil || d.session.IsZero() {
		return nil
	}
	return t.Guard.Carry(d.session)
}

// Left forgets a connection that has moved to another worker.
func (t *Tracker) Left(c *Client) {
	t.claims.moved(uint64(c.ID()))
	if t.Guard != nil {
		id, _ := c.Session()
		t.Guard.Released(id)
	}
}

// adopt continues with the writes that wait for the store.
func (t *Tracker) adopt(c *Client, carried []byte) {
	if t.Guard == nil { // this release keeps sessions in the primary: its configuration was changed
		if t.Journal.Clients.Allow() {
			t.log.Warn("writes that wait for the session store are lost with it", "conn", c.ID().String())
		}
		return
	}
	id, _ := c.Session()
	if err := t.Guard.Adopt(id, t.place(uint64(c.ID())), carried); err != nil && t.Journal.Clients.Allow() {
		t.log.Error("writes of a session that has moved here are lost", "conn", c.ID().String(), "error", err)
	}
}
