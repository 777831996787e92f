package broker

import (
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/expedite-go/expedite/internal/record"
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
	d := stateDecoder{record.NewDecoder(b)}
	if v := d.Uint32(); d.Err() != nil || v != stateVersion {
		return fmt.Errorf("%w: not of version %d", ErrState, stateVersion)
	}
	next := NewHub(h.route)
	for _, n := range next.totals() {
		*n = d.Uint64()
	}
	d.slots(next)
	d.away(next)
	if err := d.End(); err != nil {
		return fmt.Errorf("%w: %w", ErrState, err)
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.ports) > 0 {
		return fmt.Errorf("%w: workers are attached", ErrState)
	}
	h.marks, h.count, h.slots, h.away, h.waiting = next.marks, next.count, next.slots, next.away, next.waiting
	return nil
}

// stateDecoder decodes a state.
type stateDecoder struct{ record.Decoder[[]byte] }

func (d *stateDecoder) failf(format string, args ...any) { d.Fail(fmt.Errorf(format, args...)) }

// slotNumber reads the number of a slot, which may be negative.
func (d *stateDecoder) slotNumber() int {
	n := d.Int64()
	if int64(int(n)) != n {
		d.failf("slot %d", n)
	}
	return int(n)
}

func (d *stateDecoder) slots(h *Hub) {
	before := 0
	for k := range d.Uint64() {
		number := d.slotNumber()
		if k > 0 && number <= before {
			d.failf("slot %d after %d", number, before)
		}
		before = number
		s := &slot{number: number}
		s.delivered, s.dropped, s.malformed = d.Uint64(), d.Uint64(), d.Uint64()
		held := d.Bytes(d.Uint64())
		if d.Err() != nil {
			return
		}
		h.slots[number] = s
		if err := h.hold(s, held); err != nil {
			d.failf("slot %d: %w", number, err)
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

func (d *stateDecoder) away(h *Hub) {
	count := d.Uint64()
	if count > MaxAway {
		d.failf("%d connections are away", count)
		return
	}
	var before uint64
	for k := range count {
		conn, number := d.Uint64(), d.slotNumber()
		if d.Err() != nil {
			return
		}
		if k > 0 && conn <= before {
			d.failf("connection %d after %d", conn, before)
			return
		}
		before = conn
		if h.slots[number] == nil {
			d.failf("connection %d in slot %d, which never was", conn, number)
			return
		}
		h.away[conn] = number
	}
}
