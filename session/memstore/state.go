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

// ErrState says that bytes are no state of a Memory.
var ErrState = errors.New("session: bad state")

// The state of a Memory is a version (1) and items: length (uvarint), kind (1), body. One of length 0 is the end. Items
// of unknown kinds are passed over.
const (
	stateVersion = 1

	itemSession byte = 1 // a Saved as codec.go writes it
	itemTicket  byte = 2 // key (32), when it expires (varint), value
	itemCounts  byte = 3 // expired, evicted, refused, full (uvarint each)

	maxItem = 1 << 20
)

// WriteState writes all that is stored, for a Memory that goes on with it. The store stands still meanwhile.
func (m *Store) WriteState(w io.Writer) error {
	m.mu.Lock()
	defer m.mu.Unlock()
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
	for _, n := range []uint64{m.count.expired, m.count.evicted, m.count.refused, m.count.full} {
		body = binary.AppendUvarint(body, n)
	}
	if err := put(); err != nil {
		return err
	}
	for i := uint32(1); i < m.slab.high; i++ {
		if !m.slab.used(i) {
			continue
		}
		s := session.Saved{Session: m.session(i)}
		if v := m.values[i]; v != nil {
			s.Values = v.values
		}
		body = sessionwire.AppendSaved(append(body[:0], itemSession), s)
		if err := put(); err != nil {
			return err
		}
	}
	for key, t := range m.tickets {
		body = binary.AppendVarint(append(append(body[:0], itemTicket), key[:]...), t.expires)
		body = append(body, t.value...)
		if err := put(); err != nil {
			return err
		}
	}
	body = body[:0]
	return put()
}

// ReadState goes on with what WriteState wrote, before the store is used. What there is no room for any more is left
// out, and so is what has expired. It fails with ErrState; then the store is of no use.
func (m *Store) ReadState(from io.Reader) error {
	r := bufio.NewReader(from)
	version, err := r.ReadByte()
	if err != nil || version != stateVersion {
		return fmt.Errorf("%w: not of version %d", ErrState, stateVersion)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	now := m.now()
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
		if err := m.readItem(body[0], sessionwire.NewReader(body[1:]), now); err != nil {
			return fmt.Errorf("%w: %w", ErrState, err)
		}
	}
}

// readItem takes one item of a state. With m.mu held.
func (m *Store) readItem(kind byte, r *sessionwire.Reader, now int64) error {
	switch kind {
	case itemSession:
		s := r.Saved()
		if err := r.End(); err != nil {
			return err
		}
		if err := s.Validate(); err != nil {
			return err
		}
		m.readSession(&s, now)
	case itemTicket:
		var key [32]byte
		copy(key[:], r.Bytes(uint64(len(key))))
		t := ticket{expires: r.Int()}
		t.value = append([]byte(nil), r.Rest()...)
		if r.Err() != nil {
			return r.Err()
		}
		if t.expires > now && len(m.tickets) < m.config.MaxTickets {
			m.dropTicket(key)
			m.tickets[key] = t
			m.bytes += len(t.value)
		}
	case itemCounts:
		m.count.expired, m.count.evicted, m.count.refused, m.count.full = r.Uint(), r.Uint(), r.Uint(), r.Uint()
		return r.End()
	}
	return nil
}

// readSession puts a session of a state back as it was: seen when it was seen.
func (m *Store) readSession(s *session.Saved, now int64) {
	if sessionwire.Micros(s.Seen)+session.ClampTTL(s.TTL).Microseconds() <= now {
		m.count.expired++
		return
	}
	if m.index[secretOf(s.ID)] != 0 || m.size() >= m.config.MaxSessions {
		m.count.full++
		return
	}
	i := m.insert(s.Session, sessionwire.Micros(s.Seen))
	if err := m.save(i, s.Values); err != nil { // the new program holds less than the old one
		m.count.full++
	}
}
