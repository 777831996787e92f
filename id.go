package expedite

import "github.com/expedite-go/expedite/internal/connid"

// ID names a connection among all workers and machines. It stays the same when the connection moves to another worker.
// In text and JSON it is a string of 16 hexadecimal digits.
type ID uint64

// ParseID reads the text form of an ID.
func ParseID(s string) (ID, error) {
	id, err := connid.Parse(s)
	return ID(id), err
}

// String returns the text form.
func (id ID) String() string { return connid.ID(id).String() }

// MarshalText returns the text form.
func (id ID) MarshalText() ([]byte, error) { return connid.ID(id).MarshalText() }

// UnmarshalText reads the text form.
func (id *ID) UnmarshalText(b []byte) error { return (*connid.ID)(id).UnmarshalText(b) }
