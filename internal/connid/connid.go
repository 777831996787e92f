// Package connid makes and reads the ids of connections.
//
// An id is unique among all workers and machines, and stays the same when its connection moves. Its upper bits name the
// slot in which the connection began, a hint where to look first, and its machine. The other 40 bits are random, so
// that an id can neither be guessed nor repeated.
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
	slotBits    = 10
	machineBits = 14
	randomBits  = 64 - slotBits - machineBits
	slots       = 1 << slotBits
)

// Machines is the number of machines that ids can tell apart. Two machines may have the same number: what is sent to
// one of them then reaches both.
const Machines = 1 << machineBits

// New returns the id of a connection that begins in a slot of a machine.
func New(machine, slot int) ID {
	var b [8]byte
	_, _ = rand.Read(b[:]) // never fails: crypto/rand ends the process instead
	place := uint64(slot%slots)<<machineBits | uint64(machine%Machines)
	return ID(place<<randomBits | binary.LittleEndian.Uint64(b[:])>>(64-randomBits))
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
func (id ID) Slot() int { return int(id >> (64 - slotBits)) }

// MachineOf returns the number of a machine with a random name.
func MachineOf(node uint64) int { return int(node % Machines) }

// Machine returns the number of the machine on which the connection began.
func (id ID) Machine() int { return int(id>>randomBits) % Machines }

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
