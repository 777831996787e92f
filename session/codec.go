package session

import (
	"cmp"
	"encoding/binary"
	"errors"
	"maps"
	"slices"
	"time"
)

// What is sent and kept is made of: numbers as varints, times as microseconds since 1970, text with its length before
// it, lists with their count before them. Maps are in order of their keys.

var errCut = errors.New("cut off")

func appendText[T string | []byte](dst []byte, s T) []byte {
	return append(binary.AppendUvarint(dst, uint64(len(s))), s...)
}

func appendInt(dst []byte, n int64) []byte { return binary.AppendVarint(dst, n) }

func appendTime(dst []byte, t time.Time) []byte { return binary.AppendVarint(dst, micros(t)) }

// micros is a time as it is stored; that of the zero Time is 0.
func micros(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMicro()
}

func fromMicros(n int64) time.Time {
	if n == 0 {
		return time.Time{}
	}
	return time.UnixMicro(n)
}

func appendPlace(dst []byte, p Place) []byte {
	return binary.AppendUvarint(appendText(dst, p.Node), p.Conn)
}

func appendParams(dst []byte, params map[string]string) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(params)))
	if len(params) == 1 {
		for k, v := range params {
			dst = appendText(appendText(dst, k), v)
		}
		return dst
	}
	for _, k := range slices.Sorted(maps.Keys(params)) {
		dst = appendText(appendText(dst, k), params[k])
	}
	return dst
}

func appendValues(dst []byte, values map[string][]byte) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(values)))
	for _, k := range slices.Sorted(maps.Keys(values)) {
		dst = appendText(appendText(dst, k), values[k])
	}
	return dst
}

// appendChanges is appendValues with nil told from empty.
func appendChanges(dst []byte, changes Changes) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(changes)))
	for k, v := range changes {
		dst = appendText(dst, k)
		if v == nil {
			dst = append(dst, 0)
			continue
		}
		dst = appendText(append(dst, 1), v)
	}
	return dst
}

func appendSession(dst []byte, s Session) []byte {
	dst = append(dst, s.ID[:]...)
	dst = appendText(dst, s.User)
	dst = appendParams(dst, s.Params)
	dst = appendTime(appendTime(dst, s.Created), s.Seen)
	dst = binary.AppendVarint(dst, int64(s.TTL))
	return appendPlace(dst, s.Place)
}

func appendSessions(dst []byte, list []Session) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(list)))
	for _, s := range list {
		dst = appendSession(dst, s)
	}
	return dst
}

func appendRefs(dst []byte, refs []Ref) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(refs)))
	for _, r := range refs {
		dst = binary.AppendUvarint(append(dst, r.ID[:]...), r.Conn)
	}
	return dst
}

func appendIDs(dst []byte, ids []ID) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(ids)))
	for _, id := range ids {
		dst = append(dst, id[:]...)
	}
	return dst
}

// reader reads what the above append. After its first error everything is zero.
type reader struct {
	rest []byte
	err  error
}

func (r *reader) fail(err error) {
	r.err = cmp.Or(r.err, err)
	r.rest = nil
}

// end says what was wrong, that something is left among it.
func (r *reader) end() error {
	if len(r.rest) > 0 {
		r.fail(errors.New("too long"))
	}
	return r.err
}

// bytes is what comes next. It is not a copy.
func (r *reader) bytes(n uint64) []byte {
	if n > uint64(len(r.rest)) {
		r.fail(errCut)
		return nil
	}
	b := r.rest[:n:n]
	r.rest = r.rest[n:]
	return b
}

func (r *reader) byte() byte {
	if b := r.bytes(1); b != nil {
		return b[0]
	}
	return 0
}

func (r *reader) uint() uint64 {
	v, n := binary.Uvarint(r.rest)
	if n <= 0 {
		r.fail(errCut)
		return 0
	}
	r.rest = r.rest[n:]
	return v
}

func (r *reader) int() int64 {
	v, n := binary.Varint(r.rest)
	if n <= 0 {
		r.fail(errCut)
		return 0
	}
	r.rest = r.rest[n:]
	return v
}

// count is that of a list, whose items have at least size bytes each: it is not larger than what follows allows.
func (r *reader) count(size, limit int) int {
	n := r.uint()
	if n > uint64(len(r.rest)/size) || n > uint64(limit) {
		r.fail(errors.New("a count that cannot be"))
		return 0
	}
	return int(n)
}

func (r *reader) text() string { return string(r.bytes(r.uint())) }

func (r *reader) time() time.Time { return fromMicros(r.int()) }

func (r *reader) id() (id ID) {
	copy(id[:], r.bytes(uint64(len(id))))
	return id
}

func (r *reader) place() Place { return Place{Node: r.text(), Conn: r.uint()} }

func (r *reader) params() map[string]string {
	n := r.count(2, MaxParams)
	if n == 0 {
		return nil
	}
	params := make(map[string]string, n)
	for range n {
		k := r.text()
		params[k] = r.text()
	}
	return params
}

func (r *reader) values() map[string][]byte {
	n := r.count(2, MaxValues)
	values := make(map[string][]byte, n)
	for range n {
		k := r.text()
		values[k] = append([]byte{}, r.bytes(r.uint())...)
	}
	return values
}

func (r *reader) changes() Changes {
	n := r.count(2, maxChanges)
	changes := make(Changes, n)
	for range n {
		k := r.text()
		if r.byte() == 0 {
			changes[k] = nil
			continue
		}
		changes[k] = append([]byte{}, r.bytes(r.uint())...)
	}
	return changes
}

func (r *reader) session() Session {
	return Session{
		ID: r.id(), User: r.text(), Params: r.params(), Created: r.time(), Seen: r.time(), TTL: time.Duration(r.int()),
		Place: r.place(),
	}
}

func (r *reader) sessions(limit int) []Session {
	n := r.count(len(ID{}), limit)
	if n == 0 {
		return nil
	}
	list := make([]Session, 0, n)
	for range n {
		list = append(list, r.session())
	}
	return list
}

func (r *reader) refs() []Ref {
	n := r.count(len(ID{})+1, MaxBatch)
	if n == 0 {
		return nil
	}
	refs := make([]Ref, 0, n)
	for range n {
		refs = append(refs, Ref{ID: r.id(), Conn: r.uint()})
	}
	return refs
}

func (r *reader) ids() []ID {
	n := r.count(len(ID{}), MaxBatch)
	if n == 0 {
		return nil
	}
	ids := make([]ID, 0, n)
	for range n {
		ids = append(ids, r.id())
	}
	return ids
}
