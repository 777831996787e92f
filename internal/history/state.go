package history

import (
	"bufio"
	"container/heap"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"

	"github.com/expedite-go/expedite/internal/broker"
)

// ErrState is returned if bytes are not a valid state of a Store.
var ErrState = errors.New("history: bad state")

// The state of a Store, little-endian: version (4), the counters evicted, forgotten, pages and lost (8 each); then the
// topics by name: length of the name (2), name, epoch, offset of the newest publication, time of the last use, number
// of publications (8 each), and those: time (8), except (8), opcode (1), length (4), payload. A topic without a name is
// the end.
const stateVersion = 1

// WriteState writes the state of the Store.
func (s *Store) WriteState(w io.Writer) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	b := bufio.NewWriter(w)
	var buf []byte
	put := binary.LittleEndian.AppendUint64
	buf = binary.LittleEndian.AppendUint32(buf, stateVersion)
	for _, n := range s.counters() {
		buf = put(buf, *n)
	}
	for _, name := range slices.Sorted(maps.Keys(s.topics)) {
		e := s.topics[name]
		buf = append(binary.LittleEndian.AppendUint16(buf, uint16(len(name))), name...)
		buf = put(put(put(put(buf, e.epoch), e.head), uint64(e.touched)), uint64(len(e.kept)))
		for i := range e.kept {
			m := &e.kept[i]
			buf = append(put(put(buf, uint64(m.at)), m.Except), m.Opcode)
			buf = binary.LittleEndian.AppendUint32(buf, uint32(len(m.Payload)))
			_, _ = b.Write(buf) // Flush returns the error
			_, _ = b.Write(m.Payload)
			buf = buf[:0]
		}
	}
	_, _ = b.Write(append(buf, 0, 0))
	return b.Flush()
}

func (s *Store) counters() []*uint64 {
	return []*uint64{&s.stats.Evicted, &s.stats.Forgotten, &s.stats.Pages, &s.stats.Lost}
}

// ReadState makes an empty Store continue with the state of another one. What its rules do not keep is left out. On an
// error, which is ErrState, the Store is empty.
func (s *Store) ReadState(r io.Reader) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	d := &decoder{r: bufio.NewReader(r)}
	if v := uint32(d.number(4)); d.err == nil && v != stateVersion {
		d.fail("version %d", v)
	}
	for _, n := range s.counters() {
		*n = d.number(8)
	}
	for d.err == nil && s.readTopic(d) {
	}
	if d.err != nil {
		s.topics, s.due, s.stats = make(map[string]*entry), nil, Stats{}
		return d.err
	}
	s.bound()
	return nil
}

// readTopic reads a topic. It reports false at the end.
func (s *Store) readTopic(d *decoder) (more bool) {
	name := string(d.bytes(d.number(2), broker.MaxTopic))
	if d.err != nil || name == "" {
		return false
	}
	e := &entry{name: name, epoch: d.number(8), head: d.number(8)}
	now := s.now()
	e.touched = min(int64(d.number(8)), now)
	n := d.number(8)
	if e.epoch == 0 || n > e.head || s.topics[name] != nil || broker.CheckTopic(name) != nil {
		d.fail("topic %q", name)
	}
	var known bool
	if e.rule, known = s.Rules.Find(name); known && d.err == nil {
		s.add(e)
	}
	for before := int64(0); n > 0 && d.err == nil; n-- {
		m := message{at: min(int64(d.number(8)), now)}
		m.Except, m.Opcode = d.number(8), byte(d.number(1))
		m.Payload = d.bytes(d.number(4), broker.MaxPayload)
		if m.at < before {
			d.fail("times that decrease")
		}
		if before = m.at; known && d.err == nil {
			s.push(e, m)
		}
	}
	return true
}

// decoder reads a state. After an error it reads zeros.
type decoder struct {
	r   *bufio.Reader
	err error
}

func (d *decoder) fail(format string, args ...any) {
	if d.err == nil {
		d.err = fmt.Errorf("%w: "+format, append([]any{ErrState}, args...)...)
	}
}

// number reads a number of up to 8 bytes.
func (d *decoder) number(size int) uint64 {
	var b [8]byte
	if d.err == nil {
		if _, err := io.ReadFull(d.r, b[:size]); err != nil {
			d.fail("%w", err)
			return 0
		}
	}
	return binary.LittleEndian.Uint64(b[:])
}

// bytes reads n bytes, limit at most. The memory for them grows as they come.
func (d *decoder) bytes(n, limit uint64) []byte {
	if n > limit {
		d.fail("%d bytes", n)
	}
	if d.err != nil {
		return nil
	}
	b := make([]byte, 0, min(n, 64<<10))
	for uint64(len(b)) < n {
		at := len(b)
		b = slices.Grow(b, int(min(n-uint64(at), 1<<20)))
		b = b[:min(uint64(cap(b)), n)]
		if _, err := io.ReadFull(d.r, b[at:]); err != nil {
			d.fail("%w", err)
			return nil
		}
	}
	return slices.Clip(b)
}

var _ heap.Interface = (*queue)(nil)
