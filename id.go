package expedite

import (
	"crypto/rand"
	"encoding/binary"
	"fmt"
	"strconv"
)

// ID names a connection among all workers and machines, for ever: it stays when the connection changes its worker.
// In text and JSON it is a string of 16 hexadecimal digits.
type ID uint64

// An id is the slot where the connection began, a hint where to look first, and random bits, so that it can neither
// be guessed nor repeated.
const (
	slotBits = 10
	randBits = 64 - slotBits
	maxSlots = 1 << slotBits
)

// ParseID reads the text form of an ID.
func ParseID(s string) (ID, error) {
	v, err := strconv.ParseUint(s, 16, 64)
	if err != nil || len(s) != 16 {
		return 0, fmt.Errorf("expedite: %q is no connection id: want 16 hexadecimal digits", s)
	}
	return ID(v), nil
}

// String is the text form.
func (id ID) String() string { return fmt.Sprintf("%016x", uint64(id)) }

// MarshalText is the text form.
func (id ID) MarshalText() ([]byte, error) { return fmt.Appendf(nil, "%016x", uint64(id)), nil }

// UnmarshalText reads the text form.
func (id *ID) UnmarshalText(b []byte) error {
	v, err := ParseID(string(b))
	*id = v
	return err
}

// slotHint is the slot where the connection began.
func slotHint(id uint64) int { return int(id >> randBits) }

// newID makes the id of a connection that begins in slot.
func newID(slot int) uint64 {
	var b [8]byte
	_, _ = rand.Read(b[:]) // never fails: crypto/rand ends the process instead
	return uint64(slot%maxSlots)<<randBits | binary.LittleEndian.Uint64(b[:])>>slotBits
}
