package broker

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"slices"
)

// ErrState is returned if bytes are not a valid state of a Hub.
var ErrState = errors.New("broker: bad state")

// The state of a Hub, little-endian: version (4), and then numbers of 8 bytes: those of totals; the number of slots
// and, for each, its number, its counters, and the length of the messages that it holds, which follow; the number of
// connections that are away and, for each, its id and its slot. Slots and connections are in ascending order.
const stateVersion = 1

// totals returns the numbers of the state that do not belong to a slot.
func (h *Hub) totals() []*uint64 {
	c := &h.count
	return []*uint64{
		&h.marks, &c.published, &c.directed, &c.bounced, &c.flooded, &c.unroutable, &c.heldFull, &c.awayFull,
	}
}

// AppendState appends the state of the Hub to dst and returns the result: its counters, the messages that it holds, and
// where connections live. A primary that replaces its program while the workers continue passes it to LoadState.
func (h *Hub) AppendState(dst []byte) []byte {
	h.mu.Lock()
	defer h.mu.Unlock()
	put := binary.LittleEndian.AppendUint64
	dst = binary.LittleEndian.AppendUint32(dst, stateVersion)
	for _, n := range h.totals() {
		dst = put(dst, *n)
	}
	dst = put(dst, uint64(len(h.slots)))
	for _, number := range slices.Sorted(maps.Keys(h.slots)) {
		s := h.slots[number]
		dst = put(dst, uint64(number))
		dst = put(put(put(dst, s.delivered), s.dropped), s.malformed)
		dst = put(dst, uint64(len(s.held)))
		dst = append(dst, s.held...)
	}
	dst = put(dst, uint64(len(h.away)))
	for _, conn := range slices.Sorted(maps.Keys(h.away)) {
		dst = put(put(dst, conn), uint64(h.away[conn]))
	}
	return dst
}

// LoadState makes this Hub continue with the state b of another one. It must be called before Attach. Slots with
// messages that were held hold messages until Port.Lead of one of their ports. On an error, which is ErrState,
// nothing has changed.
func (h *Hub) LoadState(b []byte) error {
	r := stateReader{rest: b}
	if v := r.bytes(4); r.err != nil || binary.LittleEndian.Uint32(v) != stateVersion {
		return fmt.Errorf("%w: not of version %d", ErrState, stateVersion)
	}
	next := NewHub(h.route)
	for _, n := range next.totals() {
		*n = r.number()
	}
	r.slots(next)
	r.away(next)
	if len(r.rest) > 0 {
		r.fail("%d bytes too many", len(r.rest))
	}
	if r.err != nil {
		return r.err
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.ports) > 0 {
		return fmt.Errorf("%w: workers are attached", ErrState)
	}
	h.marks, h.count, h.slots, h.away, h.waiting = next.marks, next.count, next.slots, next.away, next.waiting
	return nil
}

// stateReader reads a state. After its first error it returns zero for everything.
type stateReader struct {
	rest []byte
	err  error
}

func (r *stateReader) fail(format string, args ...any) {
	r.err = cmp.Or(r.err, fmt.Errorf("%w: %s", ErrState, fmt.Sprintf(format, args...)))
	r.rest = nil
}

// bytes returns the next n bytes; nil if there are fewer.
func (r *stateReader) bytes(n uint64) []byte {
	if n > uint64(len(r.rest)) {
		r.fail("cut off")
		return nil
	}
	b := r.rest[:n]
	r.rest = r.rest[n:]
	return b
}

func (r *stateReader) number() uint64 {
	if b := r.bytes(8); b != nil {
		return binary.LittleEndian.Uint64(b)
	}
	return 0
}

// slotNumber reads the number of a slot, which may be negative.
func (r *stateReader) slotNumber() int {
	n := int64(r.number())
	if int64(int(n)) != n {
		r.fail("slot %d", n)
	}
	return int(n)
}

func (r *stateReader) slots(h *Hub) {
	before := 0
	for k := range r.number() {
		number := r.slotNumber()
		if k > 0 && number <= before {
			r.fail("slot %d after %d", number, before)
		}
		before = number
		s := &slot{number: number}
		s.delivered, s.dropped, s.malformed = r.number(), r.number(), r.number()
		held := r.bytes(r.number())
		if r.err != nil {
			return
		}
		h.slots[number] = s
		if err := h.hold(s, held); err != nil {
			r.fail("slot %d: %v", number, err)
			return
		}
	}
}

// hold makes a slot hold the messages of another Hub.
func (h *Hub) hold(s *slot, held []byte) error {
	if len(held) > MaxHeld {
		return fmt.Errorf("%d bytes are held", len(held))
	}
	s.held = slices.Clone(held)
	s.hold = len(held) > 0
	for len(held) > 0 {
		e, _, n, err := parse(held)
		if err != nil {
			return err
		}
		if e.Kind != Send && e.Kind != Close || e.flags != 0 {
			return fmt.Errorf("kind %d with flags %d is held", e.Kind, e.flags)
		}
		if at, ok := h.waiting[e.Conn]; ok && at != s {
			return fmt.Errorf("connection %d waits in two slots", e.Conn)
		}
		h.waiting[e.Conn] = s
		held = held[n:]
	}
	return nil
}

func (r *stateReader) away(h *Hub) {
	count := r.number()
	if count > MaxAway {
		r.fail("%d connections are away", count)
		return
	}
	var before uint64
	for k := range count {
		conn, number := r.number(), r.slotNumber()
		if r.err != nil {
			return
		}
		if k > 0 && conn <= before {
			r.fail("connection %d after %d", conn, before)
			return
		}
		before = conn
		if h.slots[number] == nil {
			r.fail("connection %d in slot %d, which never was", conn, number)
			return
		}
		h.away[conn] = number
	}
}
