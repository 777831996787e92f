// Package ratchet makes the keys of TLS session tickets: the same ones in all processes of a server, without a message
// between them, and new ones each day.
package ratchet

import (
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"time"
)

// Ratchet makes the keys of session tickets: one for each day, the same in all processes that have the Ratchet of one
// day. From that of a later day, earlier keys cannot be found, so tickets of the past stay secret (RFC 8446 appendix
// E.1.1 for what depends on them).
type Ratchet struct {
	secret [sha256.Size]byte // of day
	day    int64             // since 1970, the earliest one whose tickets are accepted
}

// ticketDay is how long a key is used. Tickets are accepted for one to two days.
const ticketDay = 24 * time.Hour

// ratchetSize is the size of a Ratchet as bytes.
const ratchetSize = 8 + sha256.Size

var errRatchet = errors.New("ratchet: not the keys of session tickets")

// New returns a random Ratchet.
func New(now time.Time) *Ratchet {
	r := &Ratchet{day: dayOf(now) - 1}
	_, _ = rand.Read(r.secret[:]) // never fails
	return r
}

// Parse returns the Ratchet that Append has written.
func Parse(b []byte) (*Ratchet, error) {
	if len(b) != ratchetSize {
		return nil, errRatchet
	}
	r := &Ratchet{day: int64(binary.LittleEndian.Uint64(b))}
	copy(r.secret[:], b[8:])
	return r, nil
}

// Append appends r to dst.
func (r *Ratchet) Append(dst []byte) []byte {
	return append(binary.LittleEndian.AppendUint64(dst, uint64(r.day)), r.secret[:]...)
}

func dayOf(t time.Time) int64 { return t.Unix() / int64(ticketDay/time.Second) }

// Advance forgets the days before yesterday, and reports whether there was one. It never goes back.
func (r *Ratchet) Advance(now time.Time) (changed bool) {
	for day := dayOf(now) - 1; r.day < day; r.day++ {
		r.secret, changed = r.derive("next day"), true
	}
	return changed
}

// Keys returns the keys of today, yesterday and tomorrow, in this order: the first one is for new tickets, and other
// processes may advance a little earlier or later. Tickets are only good for servers with the same context.
func (r *Ratchet) Keys(now time.Time, context []byte) (keys [][sha256.Size]byte) {
	r.Advance(now)
	yesterday := *r
	today := yesterday
	today.secret = yesterday.derive("next day")
	tomorrow := today
	tomorrow.secret = today.derive("next day")
	for _, of := range []*Ratchet{&today, &yesterday, &tomorrow} {
		keys = append(keys, of.derive("key "+string(context)))
	}
	return keys
}

// derive returns a secret that depends on that of r and on a label. RFC 5869.
func (r *Ratchet) derive(label string) (secret [sha256.Size]byte) {
	b, err := hkdf.Expand(sha256.New, r.secret[:], "expedite tickets "+label, sha256.Size)
	if err != nil { // only for more than 255 × 32 bytes
		panic(err)
	}
	copy(secret[:], b)
	return secret
}
