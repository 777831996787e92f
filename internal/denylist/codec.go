package denylist

import (
	"encoding/binary"
	"fmt"
	"time"

	"github.com/expedite-go/expedite/internal/record"
)

// Append appends e to dst in the form that Parse reads: kind and value with their lengths before them, and the expiry
// in seconds since 1970 as a varint.
func Append(dst []byte, e Entry) []byte {
	dst = record.AppendText(dst, string(e.Kind))
	dst = record.AppendText(dst, e.Value)
	return binary.AppendVarint(dst, e.Until.Unix())
}

// Parse reads the entry at the start of b and returns its length. The entry does not alias b. If b does not start with
// an entry, the error is ErrEntry.
func Parse(b []byte) (e Entry, n int, err error) {
	d := record.NewDecoder(b)
	kind, value, until := d.Text(), d.Text(), d.Varint()
	if d.Err() != nil || len(kind) > maxValue || len(value) > maxValue {
		return Entry{}, 0, fmt.Errorf("%w: cut off", ErrEntry)
	}
	return Entry{Kind(kind), string(value), time.Unix(until, 0)}, len(b) - len(d.Rest()), nil
}
