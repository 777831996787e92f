package record

import (
	"cmp"
	"encoding/binary"
	"errors"
)

// Errors that Decoder.Err and Decoder.End return.
var (
	ErrCutOff   = errors.New("cut off")
	ErrTrailing = errors.New("bytes after the last value")
)

// Decoder reads values from the front of a string or a byte slice. It is sticky: after the first error no input is
// left, every method returns a zero value, and Err returns that error. A caller can therefore read several values and
// check once.
//
// A copy of a Decoder reads on independently of the original.
type Decoder[T string | []byte] struct {
	rest T
	err  error
}

// NewDecoder returns a Decoder that reads b.
func NewDecoder[T string | []byte](b T) Decoder[T] { return Decoder[T]{rest: b} }

// Err returns the first error.
func (d *Decoder[T]) Err() error { return d.err }

// Len returns the number of bytes that are left.
func (d *Decoder[T]) Len() int { return len(d.rest) }

// More reports whether there is input left.
func (d *Decoder[T]) More() bool { return len(d.rest) > 0 }

// End returns the first error, which is ErrTrailing if there is input left.
func (d *Decoder[T]) End() error {
	if d.More() {
		d.Fail(ErrTrailing)
	}
	return d.err
}

// Fail makes err the first error, unless there is one already, and discards the remaining input.
func (d *Decoder[T]) Fail(err error) {
	d.err = cmp.Or(d.err, err)
	d.rest = d.rest[:0]
}

// Next reads a record. The value aliases the input.
func (d *Decoder[T]) Next() (tag byte, value T) {
	if r := d.rest; len(r) >= 2 && int(r[1]) <= len(r)-2 && r[1] < 0x80 { // the short form, without the calls below
		end := 2 + int(r[1])
		d.rest = r[end:]
		return r[0], r[2:end]
	}
	tag = d.Byte()
	return tag, d.Text()
}

// Text reads what AppendText wrote. The result aliases the input.
func (d *Decoder[T]) Text() T { return d.Bytes(d.Uvarint()) }

// Rest reads all remaining input. The result aliases it.
func (d *Decoder[T]) Rest() T { return d.Bytes(uint64(len(d.rest))) }

// Bytes reads n bytes. The result aliases the input; it is empty after an error.
func (d *Decoder[T]) Bytes(n uint64) T {
	if n > uint64(len(d.rest)) {
		d.Fail(ErrCutOff)
		return d.rest
	}
	b := d.rest[:n]
	d.rest = d.rest[n:]
	return b
}

// Byte reads one byte.
func (d *Decoder[T]) Byte() byte {
	if b := d.Bytes(1); len(b) == 1 {
		return b[0]
	}
	return 0
}

// Uint16 reads 2 bytes, little-endian.
func (d *Decoder[T]) Uint16() uint16 {
	b := d.Bytes(2)
	if len(b) < 2 {
		return 0
	}
	return uint16(b[0]) | uint16(b[1])<<8
}

// Uint32 reads 4 bytes, little-endian.
func (d *Decoder[T]) Uint32() uint32 {
	b := d.Bytes(4)
	if len(b) < 4 {
		return 0
	}
	return uint32(b[0]) | uint32(b[1])<<8 | uint32(b[2])<<16 | uint32(b[3])<<24
}

// Uint64 reads 8 bytes, little-endian.
func (d *Decoder[T]) Uint64() uint64 {
	b := d.Bytes(8)
	if len(b) < 8 {
		return 0
	}
	return uint64(b[0]) | uint64(b[1])<<8 | uint64(b[2])<<16 | uint64(b[3])<<24 |
		uint64(b[4])<<32 | uint64(b[5])<<40 | uint64(b[6])<<48 | uint64(b[7])<<56
}

// Int64 reads 8 bytes, little-endian, in two's complement.
func (d *Decoder[T]) Int64() int64 { return int64(d.Uint64()) }

// Uvarint reads an unsigned varint, in the form of encoding/binary.
func (d *Decoder[T]) Uvarint() (v uint64) {
	for i := range min(len(d.rest), binary.MaxVarintLen64) {
		b := d.rest[i]
		v |= uint64(b&0x7f) << (7 * i)
		if b < 0x80 {
			if i == binary.MaxVarintLen64-1 && b > 1 {
				break // more than 64 bits
			}
			d.rest = d.rest[i+1:]
			return v
		}
	}
	d.Fail(ErrCutOff)
	return 0
}

// Varint reads a signed varint, in the form of encoding/binary.
func (d *Decoder[T]) Varint() int64 {
	u := d.Uvarint()
	return int64(u>>1) ^ -int64(u&1)
}
