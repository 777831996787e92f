package storeguard

import (
	"encoding/binary"
	"errors"

	"github.com/expedite-go/expedite/internal/sessionwire"
	"github.com/expedite-go/expedite/session"
)

// What Carry returns is flags (1 byte), followed by the number of writes (uvarint) and the writes, as package
// sessionwire encodes changes.

// carriedSpare is the flag of a session in the spare store.
const carriedSpare = 1

// maxCarried is the largest number of writes that are carried for one session.
const maxCarried = 1 << 16

var errCarried = errors.New("session: bad carried writes")

func appendCarried(dst []byte, spare bool, writes []session.Changes) []byte {
	flags := byte(0)
	if spare {
		flags = carriedSpare
	}
	dst = binary.AppendUvarint(append(dst, flags), uint64(len(writes)))
	for _, changes := range writes {
		dst = sessionwire.AppendChanges(dst, changes)
	}
	return dst
}

func parseCarried(b []byte) (spare bool, writes []session.Changes, err error) {
	d := sessionwire.NewDecoder(b)
	spare = d.Byte()&carriedSpare != 0
	writes = make([]session.Changes, d.Count(1, maxCarried))
	for i := range writes {
		writes[i] = d.Changes()
	}
	if err := d.End(); err != nil {
		return false, nil, errors.Join(errCarried, err)
	}
	return spare, writes, nil
}
