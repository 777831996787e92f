package ws

import (
	"encoding/binary"
	"math/bits"
)

// Mask masks or unmasks b in place. offset is the position of b[0] in the payload. RFC 6455 §5.3.
func Mask(b []byte, key uint32, offset int) {
	key = bits.RotateLeft32(key, -8*(offset&3))
	if len(b) >= 8 {
		wide := uint64(key)<<32 | uint64(key)
		for len(b) >= 64 {
			p := b[:64:64]
			for i := 0; i < 64; i += 8 {
				binary.LittleEndian.PutUint64(p[i:i+8], binary.LittleEndian.Uint64(p[i:i+8])^wide)
			}
			b = b[64:]
		}
		for len(b) >= 8 {
			binary.LittleEndian.PutUint64(b, binary.LittleEndian.Uint64(b)^wide)
			b = b[8:]
		}
	}
	for i := range b {
		b[i] ^= byte(key >> (8 * (i & 3)))
	}
}
