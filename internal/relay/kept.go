package relay

import (
	"encoding/binary"

	"github.com/expedite-go/expedite/internal/broker"
)

// keptKind is the first byte of a publication on a topic with a history, and oldKind that of one by an earlier release.
const keptKind, oldKind = 0x41, 0x40

// identity tells a kept publication from all others on its topic. The zero identity is not known.
type identity struct{ publisher, number uint64 }

// entry is a kept publication: of the history, or from the backplane.
type entry struct {
	at broker.Place
	id identity
	// previous is the number of the publication of the same machine on the topic before this one; 0 is not known.
	previous uint64
	m        broker.Kept
}

// appendKept appends the encoding of a kept publication, without its place: keptKind, publisher (8), number as uvarint,
// how far previous is below it, or 0, as uvarint, except (8), opcode and payload. That of an earlier release has no
// previous.
func appendKept(b []byte, e *entry) []byte {
	b = append(b, keptKind)
	b = binary.LittleEndian.AppendUint64(b, e.id.publisher)
	b = binary.AppendUvarint(b, e.id.number)
	below := uint64(0)
	if e.previous != 0 && e.previous < e.id.number {
		below = e.id.number - e.previous
	}
	b = binary.AppendUvarint(b, below)
	b = binary.LittleEndian.AppendUint64(b, e.m.Except)
	return append(append(b, e.m.Opcode), e.m.Payload...)
}

// parseKept reads a kept publication. Its payload aliases b. On an error, which is errMessage, the entry is empty.
func parseKept(b []byte) (e entry, err error) {
	if len(b) < headLen || b[0] != keptKind && b[0] != oldKind {
		return e, errMessage
	}
	numbers := []uint64{0, 0}
	if b[0] == oldKind {
		numbers = numbers[:1]
	}
	publisher := binary.LittleEndian.Uint64(b[1:])
	b = b[headLen:]
	for i := range numbers {
		v, n := binary.Uvarint(b)
		if n <= 0 {
			return e, errMessage
		}
		numbers[i], b = v, b[n:]
	}
	if len(b) < 9 {
		return e, errMessage
	}
	e.id = identity{publisher, numbers[0]}
	if len(numbers) == 2 && numbers[1] > 0 && numbers[1] < numbers[0] {
		e.previous = numbers[0] - numbers[1]
	}
	e.m = broker.Kept{Except: binary.LittleEndian.Uint64(b), Opcode: b[8], Payload: b[9:]}
	return e, nil
}
