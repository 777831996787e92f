package session

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
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
func (m *Memory) WriteState(w io.Writer) error {
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
		s := Saved{Session: m.session(i)}
		if v := m.values[i]; v != nil {
			s.Values = v.values
		}
		body = appendSaved(append(body[:0], itemSession), s)
		if err := put(); err != nil {
			return err
		}
	}
	for key, t := range m.tickets {
		body = appendInt(append(append(body[:0], itemTicket), key[:]...), t.expires)
		body = append(body, t.value...)
		if err := put(); err != nil {
			return err
		}
	}
	body = body[:0]
	return put()
}

// AppendState appends what WriteState writes.
func (m *Memory) AppendState(dst []byte) []byte {
	b := bytes.NewBuffer(dst)
	_ = m.WriteState(b) // a Buffer takes all
	return b.Bytes()
}

// LoadState is ReadState of bytes.
func (m *Memory) LoadState(b []byte) error { return m.ReadState(bytes.NewReader(b)) }

// ReadState goes on with what WriteState wrote, before the store is used. What there is no room for any more is left
// out, and so is what has expired. It fails with ErrState; then the store is of no use.
func (m *Memory) ReadState(from io.Reader) error {
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
		if err := m.readItem(body[0], &reader{rest: body[1:]}, now); err != nil {
			return fmt.Errorf("%w: %w", ErrState, err)
		}
	}
}

// readItem takes one item of a state. With m.mu held.
func (m *Memory) readItem(kind byte, r *reader, now int64) error {
	switch kind {
	case itemSession:
		s := r.saved()
		if err := r.end(); err != nil {
			return err
		}
		if err := s.check(); err != nil {
			return err
		}
		m.readSession(&s, now)
	case itemTicket:
		var key [32]byte
		copy(key[:], r.bytes(uint64(len(key))))
		t := ticket{expires: r.int()}
		t.value = append([]byte(nil), r.rest...)
		if r.err != nil {
			return r.err
		}
		if t.expires > now && len(m.tickets) < m.config.MaxTickets {
			m.dropTicket(key)
			m.tickets[key] = t
			m.bytes += len(t.value)
		}
	case itemCounts:
		m.count.expired, m.count.evicted, m.count.refused, m.count.full = r.uint(), r.uint(), r.uint(), r.uint()
		return r.end()
	}
	return nil
}

// readSession puts a session of a state back as it was: seen when it was seen.
func (m *Memory) readSession(s *Saved, now int64) {
	if micros(s.Seen)+clampTTL(s.TTL).Microseconds() <= now {
		m.count.expired++
		return
	}
	if m.index[s.ID.secret()] != 0 || m.size() >= m.config.MaxSessions {
		m.count.full++
		return
	}
	i := m.insert(s.Session, micros(s.Seen))
	if err := m.save(i, s.Values); err != nil { // the new program holds less than the old one
		m.count.full++
	}
}
