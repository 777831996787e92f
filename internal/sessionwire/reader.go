package sessionwire

import (
	"cmp"
	"encoding/binary"
	"errors"
	"time"

	"github.com/expedite-go/expedite/session"
)

// ErrCut is the error of a Reader whose input ends too early.
var ErrCut = errors.New("cut off")

var (
	errTooLong = errors.New("too long")
	errCount   = errors.New("a count that cannot be")
)

// Reader decodes what the Append functions encode. After the first error, all methods return zero values and End
// returns the error, so that callers check once.
type Reader struct {
	rest []byte
	err  error
}

// NewReader returns a Reader of b. The Reader keeps b.
func NewReader(b []byte) *Reader { return &Reader{rest: b} }

// Err returns the first error.
func (r *Reader) Err() error { return r.err }

// End returns the first error, or an error if input is left.
func (r *Reader) End() error {
	if len(r.rest) > 0 {
		r.fail(errTooLong)
	}
	return r.err
}

func (r *Reader) fail(err error) {
	r.err = cmp.Or(r.err, err)
	r.rest = nil
}

// Rest reads all that is left. The result is a part of the input, not a copy.
func (r *Reader) Rest() []byte { return r.Bytes(uint64(len(r.rest))) }

// Bytes reads n bytes. The result is a part of the input, not a copy.
func (r *Reader) Bytes(n uint64) []byte {
	if n > uint64(len(r.rest)) {
		r.fail(ErrCut)
		return nil
	}
	b := r.rest[:n:n]
	r.rest = r.rest[n:]
	return b
}

// Byte reads one byte.
func (r *Reader) Byte() byte {
	if b := r.Bytes(1); b != nil {
		return b[0]
	}
	return 0
}

// Uint reads an unsigned number.
func (r *Reader) Uint() uint64 {
	v, n := binary.Uvarint(r.rest)
	if n <= 0 {
		r.fail(ErrCut)
		return 0
	}
	r.rest = r.rest[n:]
	return v
}

// Int reads a signed number.
func (r *Reader) Int() int64 {
	v, n := binary.Varint(r.rest)
	if n <= 0 {
		r.fail(ErrCut)
		return 0
	}
	r.rest = r.rest[n:]
	return v
}

// Count reads the number of items of a list. It fails if the number exceeds limit, or if the input is too short for
// that many items of at least size bytes each: callers may allocate as much as it returns.
func (r *Reader) Count(size, limit int) int {
	n := r.Uint()
	if n > uint64(len(r.rest)/size) || n > uint64(limit) {
		r.fail(errCount)
		return 0
	}
	return int(n)
}

// Text reads a string.
func (r *Reader) Text() string { return string(r.Bytes(r.Uint())) }

// Time reads a time.
func (r *Reader) Time() time.Time { return FromMicros(r.Int()) }

// ID reads a session's id.
func (r *Reader) ID() (id session.ID) {
	copy(id[:], r.Bytes(uint64(len(id))))
	return id
}

// Place reads a place.
func (r *Reader) Place() session.Place { return session.Place{Node: r.Text(), Conn: r.Uint()} }

// Params reads the parameters of a session; nil if there are none.
func (r *Reader) Params() map[string]string {
	n := r.Count(2, session.MaxParams)
	if n == 0 {
		return nil
	}
	params := make(map[string]string, n)
	for range n {
		k := r.Text()
		params[k] = r.Text()
	}
	return params
}

// Values reads the values of a session. None of them is nil.
func (r *Reader) Values() map[string][]byte {
	n := r.Count(2, session.MaxValues)
	values := make(map[string][]byte, n)
	for range n {
		k := r.Text()
		values[k] = append([]byte{}, r.Bytes(r.Uint())...)
	}
	return values
}

// Changes reads changes.
func (r *Reader) Changes() session.Changes {
	n := r.Count(2, session.MaxChanges)
	changes := make(session.Changes, n)
	for range n {
		k := r.Text()
		if r.Byte() == 0 {
			changes[k] = nil
			continue
		}
		changes[k] = append([]byte{}, r.Bytes(r.Uint())...)
	}
	return changes
}

// Session reads a session without its values.
func (r *Reader) Session() session.Session {
	return session.Session{
		ID: r.ID(), User: r.Text(), Params: r.Params(), Created: r.Time(), Seen: r.Time(), TTL: time.Duration(r.Int()),
		Place: r.Place(),
	}
}

// Saved reads a session with its values.
func (r *Reader) Saved() session.Saved {
	return session.Saved{Session: r.Session(), Values: r.Values()}
}

// Sessions reads a list of at most limit sessions.
func (r *Reader) Sessions(limit int) []session.Session {
	return list(r, len(session.ID{}), limit, r.Session)
}

// Refs reads a list of at most session.MaxBatch references.
func (r *Reader) Refs() []session.Ref {
	return list(r, len(session.ID{})+1, session.MaxBatch, func() session.Ref {
		return session.Ref{ID: r.ID(), Conn: r.Uint()}
	})
}

// IDs reads a list of at most session.MaxBatch ids.
func (r *Reader) IDs() []session.ID { return list(r, len(session.ID{}), session.MaxBatch, r.ID) }

// list reads a list of items of at least size bytes each; nil if it is empty.
func list[T any](r *Reader, size, limit int, item func() T) []T {
	n := r.Count(size, limit)
	if n == 0 {
		return nil
	}
	items := make([]T, 0, n)
	for range n {
		items = append(items, item())
	}
	return items
}
