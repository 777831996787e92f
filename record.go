package expedite

import (
	"bytes"
	"encoding/binary"
	"errors"

	"github.com/expedite-go/expedite/auth"
	"github.com/expedite-go/expedite/internal/engine"
	"github.com/expedite-go/expedite/internal/identity"
	"github.com/expedite-go/expedite/internal/reactor"
	"github.com/expedite-go/expedite/internal/record"
	"github.com/expedite-go/expedite/session"
)

// A Conn's record is what moves with it beside the state that the engine keeps: a list of records, as package record
// encodes them.
const (
	recordUser     = 0x01
	recordQuery    = 0x02
	recordIdentity = 0x81 // of auth.Identity.Append; the user stands in recordUser, too, for builds that know no more
	recordSession  = 0x82 // id (24), 1 if it was resumed (1)
	recordHeaders  = 0x83
	recordCarried  = 0x84 // of storeguard.Guard.Carry
	recordState    = 0x85 // of State.encode
	recordSince    = 0x86 // time of the machine's clock, in ns (8), from which on orders may not have found it
	recordBegan    = 0x87 // seconds of the machine's clock (4) when it opened; only while the client has said nothing
	recordClaim    = 0x88 // 1: its session is still to be claimed
)

var errRecord = errors.New("expedite: bad connection record")

// save is a Conn's record. On the loop.
func save(ec *engine.Conn) []byte {
	c := owner(ec)
	b := c.record()
	n, w := c.end.app.node.Load(), c.who.Load()
	if n == nil || w == nil {
		return b
	}
	b = appendRecord(b, recordCarried, n.gate.keeper.carry(w))
	b = record.AppendUint64(b, recordSince, uint64(n.orders.unheard()))
	if !c.spoke && !w.session.IsZero() {
		b = binary.LittleEndian.AppendUint32(record.AppendHeader(b, recordBegan, 4), c.began)
	}
	if n.gate.keeper.claims.waits(ec.ID()) {
		b = record.Append(b, recordClaim, "\x01")
	}
	return b
}

func (c *Conn) record() []byte {
	b := appendRecord(nil, recordQuery, c.query)
	if c.state != nil {
		b = appendRecord(b, recordState, *c.state)
	}
	w := c.who.Load()
	if w == nil {
		return b
	}
	b = appendRecord(b, recordUser, w.user)
	b = appendRecord(b, recordIdentity, w.ident)
	b = appendRecord(b, recordHeaders, w.headers)
	if !w.session.IsZero() {
		resumed := byte(0)
		if w.resumed {
			resumed = 1
		}
		b = append(append(record.AppendHeader(b, recordSession, len(w.session)+1), w.session[:]...), resumed)
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

// load makes the Conn of a record. On the loop.
func (e *endpoint) load(ec *engine.Conn, b []byte) error {
	c := &Conn{conn: ec, end: e}
	rest, err := c.parse(b)
	if err != nil {
		return err
	}
	c.settleState()
	ec.SetOwner(c)
	if n := e.app.node.Load(); n != nil {
		n.gate.keeper.adopt(c, rest)
	}
	return nil
}

// settleState makes what has come along of Data fit the handler that this release has. Resume reads it.
func (c *Conn) settleState() {
	switch {
	case c.end.State == nil:
		c.state = nil
	case c.state == nil: // it comes from a release without State
		c.data = c.end.State.fresh()
	}
}

// luggage is what a record says of a session beside its id.
type luggage struct {
	carried []byte
	claim   bool
}

// parse reads a record.
func (c *Conn) parse(b []byte) (rest luggage, err error) {
	w := &client{since: reactor.Monotonic()}
	c.spoke = true
	user := ""
	for d := record.NewDecoder(b); d.More(); {
		tag, value := d.Next()
		if d.Err() != nil {
			return rest, errRecord
		}
		switch {
		case tag == recordUser:
			user = string(value)
		case tag == recordQuery:
			c.query = string(value)
		case tag == recordIdentity:
			w.ident = string(value)
		case tag == recordCarried:
			rest.carried = bytes.Clone(value)
		case tag == recordClaim:
			rest.claim = string(value) == "\x01"
		case tag == recordSince && len(value) == 8:
			w.since = int64(binary.LittleEndian.Uint64(value))
		case tag == recordBegan && len(value) == 4:
			c.began, c.spoke = binary.LittleEndian.Uint32(value), false
		case tag == recordHeaders:
			w.headers = string(value)
		case tag == recordState:
			state := bytes.Clone(value)
			c.state = &state
		case tag == recordSession:
			if len(value) != len(session.ID{})+1 {
				return rest, errRecord
			}
			w.session = session.ID(value[:len(session.ID{})])
			w.resumed = value[len(session.ID{})] == 1
		case tag < record.Optional:
			return rest, errRecord
		}
	}
	if w.ident != "" {
		w.user = identity.UserOf(w.ident)
	}
	if w.user != user { // of a build that knows users only
		w.identify(&auth.Identity{User: user})
	}
	if !w.empty() {
		c.who.Store(w)
	}
	return rest, nil
}
