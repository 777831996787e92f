package auth

import (
	"encoding/binary"
	"fmt"
	"time"
)

// AppendDenial appends an entry of a DenyList to dst, in the form that ParseDenial reads.
func AppendDenial(dst []byte, d Denial) []byte {
	for _, s := range [...]string{string(d.Kind), d.Value} {
		dst = append(binary.AppendUvarint(dst, uint64(len(s))), s...)
	}
	return binary.AppendVarint(dst, d.Until.Unix())
}

// ParseDenial reads the entry that b begins with, and returns how long it is. It keeps nothing of b, and fails with
// ErrDenial.
func ParseDenial(b []byte) (d Denial, n int, err error) {
	var text [2]string
	for i := range text {
		size, k := binary.Uvarint(b[n:])
		if k <= 0 || size > maxDenialValue || uint64(len(b)-n-k) < size {
			return d, 0, fmt.Errorf("%w: cut off", ErrDenial)
		}
		n += k
		text[i] = string(b[n : n+int(size)])
		n += int(size)
	}
	until, k := binary.Varint(b[n:])
	if k <= 0 {
		return d, 0, fmt.Errorf("%w: cut off", ErrDenial)
	}
	return Denial{DenyKind(text[0]), text[1], time.Unix(until, 0)}, n + k, nil
}
