// Package sessionwire encodes sessions as bytes. The link between a worker and the primary, the state of the memory
// store, the parameters that are stored in Redis and the writes that move with a connection all use it.
//
// Numbers are varints, and times are microseconds since 1970. Text is preceded by its length, and a list by the number
// of its items. Maps are sorted by key. The format is stable: both ends of a link may be of different releases, and a
// state may be read by a later release than the one that wrote it.
package sessionwire

import (
	"encoding/binary"
	"maps"
	"slices"
	"time"

	"github.com/expedite-go/expedite/internal/record"
	"github.com/expedite-go/expedite/session"
)

// AppendTime appends a time.
func AppendTime(dst []byte, t time.Time) []byte { return binary.AppendVarint(dst, Micros(t)) }

// Micros returns a time in microseconds since 1970; 0 for the zero Time.
func Micros(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMicro()
}

// FromMicros returns the time that Micros has encoded.
func FromMicros(n int64) time.Time {
	if n == 0 {
		return time.Time{}
	}
	return time.UnixMicro(n)
}

// AppendPlace appends a place.
func AppendPlace(dst []byte, p session.Place) []byte {
	return binary.AppendUvarint(record.AppendText(dst, p.Node), p.Conn)
}

// AppendParams appends the parameters of a session.
func AppendParams(dst []byte, params map[string]string) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(params)))
	if len(params) == 1 { // the usual case needs no sorted copy of the keys
		for k, v := range params {
			dst = record.AppendText(record.AppendText(dst, k), v)
		}
		return dst
	}
	for _, k := range slices.Sorted(maps.Keys(params)) {
		dst = record.AppendText(record.AppendText(dst, k), params[k])
	}
	return dst
}

// AppendValues appends the values of a session. A nil value is encoded as an empty one.
func AppendValues(dst []byte, values map[string][]byte) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(values)))
	for _, k := range slices.Sorted(maps.Keys(values)) {
		dst = record.AppendText(record.AppendText(dst, k), values[k])
	}
	return dst
}

// AppendChanges appends changes in any order. A nil value, which deletes, differs from an empty one.
func AppendChanges(dst []byte, changes session.Changes) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(changes)))
	for k, v := range changes {
		dst = record.AppendText(dst, k)
		if v == nil {
			dst = append(dst, 0)
			continue
		}
		dst = record.AppendText(append(dst, 1), v)
	}
	return dst
}

// AppendSession appends a session without its values.
func AppendSession(dst []byte, s session.Session) []byte {
	dst = append(dst, s.ID[:]...)
	dst = record.AppendText(dst, s.User)
	dst = AppendParams(dst, s.Params)
	dst = AppendTime(AppendTime(dst, s.Created), s.Seen)
	dst = binary.AppendVarint(dst, int64(s.TTL))
	return AppendPlace(dst, s.Place)
}

// AppendKeys appends keys of values.
func AppendKeys(dst []byte, keys []string) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(keys)))
	for _, k := range keys {
		dst = record.AppendText(dst, k)
	}
	return dst
}

// AppendSaved appends a session with its values.
func AppendSaved(dst []byte, s session.Saved) []byte {
	return AppendValues(AppendSession(dst, s.Session), s.Values)
}

// AppendSessions appends a list of sessions without their values.
func AppendSessions(dst []byte, list []session.Session) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(list)))
	for _, s := range list {
		dst = AppendSession(dst, s)
	}
	return dst
}

// AppendRefs appends a list of references.
func AppendRefs(dst []byte, refs []session.Ref) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(refs)))
	for _, r := range refs {
		dst = binary.AppendUvarint(append(dst, r.ID[:]...), r.Conn)
	}
	return dst
}

// AppendIDs appends a list of ids.
func AppendIDs(dst []byte, ids []session.ID) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(ids)))
	for _, id := range ids {
		dst = append(dst, id[:]...)
	}
	return dst
}

// Size returns the number of bytes of all keys and values.
func Size[V string | []byte](values map[string]V) (n int) {
	for k, v := range values {
		n += len(k) + len(v)
	}
	return n
}
