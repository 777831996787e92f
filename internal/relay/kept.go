package relay

import (
	"encoding/binary"

	"github.com/expedite-go/expedite/internal/broker"
)

// keptKind is the first byte of a publication on a topic with a history.
const keptKind = 0x40

// identity tells a kept publication from all others on its topic. The zero identity is not known.
type identity struct{ publisher, number uint64 }

// entry is a kept publication: of the history, or from the backplane.
type entry struct {
	at broker.Place
	id identity
	m  broker.Kept
}

// appendKept appends the encoding of a kept publication: keptKind, publisher (8), number as uvarint, except (8), opcode
// and payload.
func appendKept(b []byte, id identity, m *broker.Kept) []byte {
	b = append(b, keptKind)
	b = binary.LittleEndian.AppendUint64(b, id.publisher)
	b = binary.AppendUvarint(b, id.number)
	b = binary.LittleEndian.AppendUint64(b, m.Except)
	return append(append(b, m.Opcode), m.Payload...)
}

// parseKept reads a kept publication. Its payload aliases b.
func parseKept(b []byte) (id identity, m broker.Kept, err error) {
	if len(b) < headLen || b[0] != keptKind {
		return id, m, errMessage
	}
	id.publisher = binary.LittleEndian.Uint64(b[1:])
	number, n := binary.Uvarint(b[headLen:])
	if b = b[headLen:]; n <= 0 || len(b) < n+9 {
		return id, m, errMessage
	}
	id.number, b = number, b[n:]
	m = broker.Kept{Except: binary.LittleEndian.Uint64(b), Opcode: b[8], Payload: b[9:]}
	return id, m, nil
}
