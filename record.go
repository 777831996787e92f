package expedite

import (
	"encoding/binary"
	"errors"

	"github.com/expedite-go/expedite/auth"
	"github.com/expedite-go/expedite/internal/engine"
	"github.com/expedite-go/expedite/session"
)

// A Conn's record is what goes along when it moves, beside what the engine keeps: tag (1), length (uvarint), value. An
// unknown tag from recordOptional on is skipped, any other is an error.
const (
	recordUser     = 0x01
	recordQuery    = 0x02
	recordOptional = 0x80
	recordIdentity = 0x81 // of auth.Identity.Append; the user stands in recordUser, too, for builds that know no more
	recordSession  = 0x82 // id (24), 1 if it was resumed (1)
	recordHeaders  = 0x83
	recordCarried  = 0x84 // of session.Guard.Carry
	recordState    = 0x85 // of State.encode
)

var errRecord = errors.New("expedite: bad connection record")

// save is a Conn's record. On the loop.
func save(ec *engine.Conn) []byte {
	c := owner(ec)
	b := c.record()
	if n := c.end.app.node.Load(); n != nil {
		b = appendRecord(b, recordCarried, string(n.gate.keeper.carry(c.who.Load())))
	}
	return b
}

func (c *Conn) record() []byte {
	b := appendRecord(nil, recordQuery, c.query)
	if c.state != nil {
		b = appendRecord(b, recordState, string(*c.state))
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
		b = appendRecord(b, recordSession, string(append(w.session[:], resumed)))
	}
	return b
}

func appendRecord(b []byte, tag byte, s string) []byte {
	if s == "" {
		return b
	}
	b = binary.AppendUvarint(append(b, tag), uint64(len(s)))
	return append(b, s...)
}

// load makes the Conn of a record. On the loop.
func (e *endpoint) load(ec *engine.Conn, b []byte) error {
	c := &Conn{conn: ec, end: e}
	carried, err := c.parse(b)
	if err != nil {
		return err
	}
	c.settleState()
	ec.SetOwner(c)
	if n := e.app.node.Load(); n != nil {
		n.gate.keeper.adopt(c, carried)
		n.orders.arrived(c)
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

// parse reads a record, and returns what it says of the session beside.
func (c *Conn) parse(b []byte) (carried []byte, err error) {
	w := new(client)
	user := ""
	for len(b) > 0 {
		length, n := binary.Uvarint(b[1:])
		if n <= 0 || length > uint64(len(b)-1-n) {
			return nil, errRecord
		}
		tag, value := b[0], string(b[1+n:1+n+int(length)])
		b = b[1+n+int(length):]
		switch {
		case tag == recordUser:
			user = value
		case tag == recordQuery:
			c.query = value
		case tag == recordIdentity:
			w.ident = value
		case tag == recordCarried:
			carried = []byte(value)
		case tag == recordHeaders:
			w.headers = value
		case tag == recordState:
			state := []byte(value)
			c.state = &state
		case tag == recordSession:
			if len(value) != len(session.ID{})+1 {
				return nil, errRecord
			}
			w.session = session.ID([]byte(value[:len(session.ID{})]))
			w.resumed = value[len(session.ID{})] == 1
		case tag < recordOptional:
			return nil, errRecord
		}
	}
	if w.ident != "" {
		w.user = auth.UserOf(w.ident)
	}
	if w.user != user { // of a build that knows users only
		w.identify(&auth.Identity{User: user})
	}
	if !w.empty() {
		c.who.Store(w)
	}
	return carried, nil
}
