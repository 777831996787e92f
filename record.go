package expedite

import (
	"encoding/binary"
	"errors"

	"github.com/expedite-go/expedite/internal/engine"
)

// A Conn's record is what goes along when it moves, beside what the engine keeps: tag (1), length (uvarint), value. An
// unknown tag from recordOptional on is skipped, any other is an error.
const (
	recordUser     = 0x01
	recordQuery    = 0x02
	recordOptional = 0x80
)

var errRecord = errors.New("expedite: bad connection record")

// save is a Conn's record. On the loop.
func save(ec *engine.Conn) []byte {
	c := owner(ec)
	var b []byte
	for tag, s := range map[byte]string{recordUser: c.user, recordQuery: c.query} {
		if s != "" {
			b = append(b, tag)
			b = binary.AppendUvarint(b, uint64(len(s)))
			b = append(b, s...)
		}
	}
	return b
}

// load makes the Conn of a record. On the loop.
func (e *endpoint) load(ec *engine.Conn, b []byte) error {
	c := &Conn{conn: ec, end: e}
	for len(b) > 0 {
		length, n := binary.Uvarint(b[1:])
		if n <= 0 || length > uint64(len(b)-1-n) {
			return errRecord
		}
		tag, value := b[0], string(b[1+n:1+n+int(length)])
		b = b[1+n+int(length):]
		switch {
		case tag == recordUser:
			c.user = value
		case tag == recordQuery:
			c.query = value
		case tag < recordOptional:
			return errRecord
		}
	}
	ec.SetOwner(c)
	return nil
}
