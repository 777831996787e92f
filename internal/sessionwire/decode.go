package sessionwire

import (
	"errors"
	"time"

	"github.com/expedite-go/expedite/internal/record"
	"github.com/expedite-go/expedite/session"
)

var errCount = errors.New("a count that cannot be")

// Decoder reads what the Append functions write. Like record.Decoder, it is sticky: after the first error, all methods
// return zero values.
type Decoder struct{ record.Decoder[[]byte] }

// NewDecoder returns a Decoder that reads b. It does not modify b.
func NewDecoder(b []byte) *Decoder { return &Decoder{record.NewDecoder(b)} }

// Count reads the number of items of a list. It fails if the number exceeds limit, or if the input is too short for
// that many items of at least size bytes each. Memory for as many items may therefore be allocated at once.
func (d *Decoder) Count(size, limit int) int {
	n := d.Uvarint()
	if n > uint64(d.Len()/size) || n > uint64(limit) {
		d.Fail(errCount)
		return 0
	}
	return int(n)
}

// String reads a string.
func (d *Decoder) String() string { return string(d.Text()) }

// Copy reads a byte slice. The result is a copy, and never nil.
func (d *Decoder) Copy() []byte { return append([]byte{}, d.Text()...) }

// Bool reads a byte that is 1 for true.
func (d *Decoder) Bool() bool { return d.Byte() == 1 }

// Time reads a time.
func (d *Decoder) Time() time.Time { return FromMicros(d.Varint()) }

// Duration reads a duration.
func (d *Decoder) Duration() time.Duration { return time.Duration(d.Varint()) }

// ID reads a session's id.
func (d *Decoder) ID() (id session.ID) {
	copy(id[:], d.Bytes(uint64(len(id))))
	return id
}

// Place reads a place.
func (d *Decoder) Place() session.Place { return session.Place{Node: d.String(), Conn: d.Uvarint()} }

// Params reads the parameters of a session; nil if there are none.
func (d *Decoder) Params() map[string]string {
	n := d.Count(2, session.MaxParams)
	if n == 0 {
		return nil
	}
	params := make(map[string]string, n)
	for range n {
		k := d.String()
		params[k] = d.String()
	}
	return params
}

// Values reads the values of a session. None of them is nil.
func (d *Decoder) Values() map[string][]byte {
	n := d.Count(2, session.MaxValues)
	values := make(map[string][]byte, n)
	for range n {
		k := d.String()
		values[k] = d.Copy()
	}
	return values
}

// Changes reads changes.
func (d *Decoder) Changes() session.Changes {
	n := d.Count(2, session.MaxChanges)
	changes := make(session.Changes, n)
	for range n {
		k := d.String()
		if d.Byte() == 0 {
			changes[k] = nil
			continue
		}
		changes[k] = d.Copy()
	}
	return changes
}

// Keys reads the keys of values.
func (d *Decoder) Keys() []string { return list(d, 1, session.MaxChanges, d.String) }

// Session reads a session without its values.
func (d *Decoder) Session() session.Session {
	return session.Session{
		ID: d.ID(), User: d.String(), Params: d.Params(), Created: d.Time(), Seen: d.Time(), TTL: d.Duration(),
		Place: d.Place(),
	}
}

// Saved reads a session with its values.
func (d *Decoder) Saved() session.Saved {
	return session.Saved{Session: d.Session(), Values: d.Values()}
}

// Sessions reads a list of at most limit sessions.
func (d *Decoder) Sessions(limit int) []session.Session {
	return list(d, len(session.ID{}), limit, d.Session)
}

// SavedList reads a list of at most session.MaxBatch sessions with their values.
func (d *Decoder) SavedList() []session.Saved {
	return list(d, len(session.ID{}), session.MaxBatch, d.Saved)
}

// Refs reads a list of at most session.MaxBatch references.
func (d *Decoder) Refs() []session.Ref {
	return list(d, len(session.ID{})+1, session.MaxBatch, func() session.Ref {
		return session.Ref{ID: d.ID(), Conn: d.Uvarint()}
	})
}

// IDs reads a list of at most session.MaxBatch ids.
func (d *Decoder) IDs() []session.ID { return list(d, len(session.ID{}), session.MaxBatch, d.ID) }

// list reads a list of at most limit items, of at least size bytes each. It returns nil if the list is empty.
func list[T any](d *Decoder, size, limit int, item func() T) []T {
	n := d.Count(size, limit)
	if n == 0 {
		return nil
	}
	items := make([]T, 0, n)
	for range n {
		items = append(items, item())
	}
	return items
}
