package memstore

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/expedite-go/expedite/internal/sessionwire"
	"github.com/expedite-go/expedite/session"
)

// ErrState means that the input of ReadState is not the state of a Store.
var ErrState = errors.New("session: bad state")

// The state of a Store is a version (1 byte), followed by items: length (uvarint), kind (1 byte), body. An item of
// length 0 ends the state. Items of unknown kinds are skipped.
const (
	stateVersion = 1

	itemSession byte = 1 // a session.Saved as package sessionwire encodes it
	itemTicket  byte = 2 // key (32 bytes), time of expiry (varint), value
	itemCounts  byte = 3 // expired, evicted, refused, full (uvarint each)

	maxItem = 1 << 20
)

// WriteState writes everything that is stored, so that another Store can continue with it. Other methods wait
// meanwhile.
func (s *Store) WriteState(w io.Writer) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, err := w.Write([]byte{stateVersion}); err != nil {
		return err
	}
	var body []byte
	put := func() error {
		if _, err := w.Write(binary.AppendUvarint(nil, uint64(len(body)))); err != nil {
			return err
		}
		_, err := w.Write(body)
		return err
	}
	body = append(body, itemCounts)
	for _, n := range []uint64{s.count.expired, s.count.evicted, s.count.refused, s.count.full} {
		body = binary.AppendUvarint(body, n)
	}
	if err := put(); err != nil {
		return err
	}
	for i := uint32(1); i < s.table.slab.high; i++ {
		if !s.table.slab.used(i) {
			continue
		}
		saved := session.Saved{Session: s.table.session(i)}
		if v := s.values[i]; v != nil {
			saved.Values = v.values
		}
		body = sessionwire.AppendSaved(append(body[:0], itemSession), saved)
		if err := put(); err != nil {
			return err
		}
	}
	for key, t := range s.tickets {
		body = binary.AppendVarint(append(append(body[:0], itemTicket), key[:]...), t.expires)
		body = append(body, t.value...)
		if err := put(); err != nil {
			return err
		}
	}
	body = body[:0]
	return put()
}

// ReadState adds what WriteState has written. It must be called before the Store is used. It leaves out what has
// expired, and what exceeds the limits of this Store. If it fails, with ErrState, the Store must not be used.
func (s *Store) ReadState(from io.Reader) error {
	r := bufio.NewReader(from)
	version, err := r.ReadByte()
	if err != nil || version != stateVersion {
		return fmt.Errorf("%w: not of version %d", ErrState, stateVersion)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.now()
	var body []byte
	for {
		n, err := binary.ReadUvarint(r)
		switch {
		case err != nil || n > maxItem:
			return fmt.Errorf("%w: cut off", ErrState)
		case n == 0:
			return nil
		case uint64(cap(body)) < n:
			body = make([]byte, n)
		}
		body = body[:n]
		if _, err := io.ReadFull(r, body); err != nil {
			return fmt.Errorf("%w: cut off", ErrState)
		}
		if err := s.readItem(body[0], sessionwire.NewDecoder(body[1:]), now); err != nil {
			return fmt.Errorf("%w: %w", ErrState, err)
		}
	}
}

// readItem adds one item of a state. s.mu is held.
func (s *Store) readItem(kind byte, d *sessionwire.Decoder, now int64) error {
	switch kind {
	case itemSession:
		saved := d.Saved()
		if err := d.End(); err != nil {
			return err
		}
		if err := saved.Validate(); err != nil {
			return err
		}
		s.readSession(&saved, now)
	case itemTicket:
		var key [32]byte
		copy(key[:], d.Bytes(uint64(len(key))))
		t := ticket{expires: d.Varint()}
		t.value = append([]byte(nil), d.Rest()...)
		if err := d.Err(); err != nil {
			return err
		}
		if t.expires > now && len(s.tickets) < s.config.MaxTickets {
			s.dropTicket(key)
			s.tickets[key] = t
			s.table.bytes += len(t.value)
		}
	case itemCounts:
		c := &s.count
		c.expired, c.evicted, c.refused, c.full = d.Uvarint(), d.Uvarint(), d.Uvarint(), d.Uvarint()
		return d.End()
	}
	return nil
}

// readSession adds a session of a state. Unlike Restore, it does not change when the session was seen.
func (s *Store) readSession(saved *session.Saved, now int64) {
	if sessionwire.Micros(saved.Seen)+session.ClampTTL(saved.TTL).Microseconds() <= now {
		s.count.expired++
		return
	}
	if s.table.taken(saved.ID) || s.table.len() >= s.config.MaxSessions {
		s.count.full++
		return
	}
	i := s.table.insert(saved.Session)
	if err := s.save(i, saved.Values); err != nil { // the limits are lower than those of the Store that wrote the state
		s.count.full++
	}
}
