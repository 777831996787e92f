// Package connid makes and reads the ids of connections.
//
// An id is unique among all workers and machines, and stays the same when its connection moves. Its upper bits name the
// slot in which the connection began: a hint where to look first. The rest is random, so that an id can neither be
// guessed nor repeated.
package connid

import (
	"crypto/rand"
	"encoding/binary"
	"fmt"
	"strconv"
)

// ID names a connection. In text and JSON it is a string of 16 hexadecimal digits.
type ID uint64

const (
	slotBits   = 10
	randomBits = 64 - slotBits
	slots      = 1 << slotBits
)

// New returns the id of a connection that begins in a slot.
func New(slot int) ID {
	var b [8]byte
	_, _ = rand.Read(b[:]) // never fails: crypto/rand ends the process instead
	return ID(uint64(slot%slots)<<randomBits | binary.LittleEndian.Uint64(b[:])>>slotBits)
}

// Parse reads the text form of an ID.
func Parse(s string) (ID, error) {
	v, err := strconv.ParseUint(s, 16, 64)
	if err != nil || len(s) != 16 {
		return 0, fmt.Errorf("expedite: %q is not a connection id: want 16 hexadecimal digits", s)
	}
	return ID(v), nil
}

// Slot returns the slot in which the connection began.
func (id ID) Slot() int { return int(id >> randomBits) }

// String returns the text form.
func (id ID) String() string { return fmt.Sprintf("%016x", uint64(id)) }

// MarshalText returns the text form.
func (id ID) MarshalText() ([]byte, error) { return fmt.Appendf(nil, "%016x", uint64(id)), nil }

// UnmarshalText reads the text form.
func (id *ID) UnmarshalText(b []byte) error {
	v, err := Parse(string(b))
	*id = v
	return err
}
