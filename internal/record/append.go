package record

import "encoding/binary"

// Optional is the lowest tag that a decoder may skip if it does not know it.
const Optional = 0x80

// Append appends a record to dst and returns the extended slice.
func Append[T string | []byte](dst []byte, tag byte, value T) []byte {
	return append(AppendHeader(dst, tag, len(value)), value...)
}

// AppendHeader appends the tag and the length of a record whose value the caller appends next. The value must be
// exactly size bytes long.
func AppendHeader(dst []byte, tag byte, size int) []byte {
	return binary.AppendUvarint(append(dst, tag), uint64(size))
}

// AppendUint64 appends a record whose value is v in 8 bytes, little-endian.
func AppendUint64(dst []byte, tag byte, v uint64) []byte {
	return binary.LittleEndian.AppendUint64(AppendHeader(dst, tag, 8), v)
}

// AppendText appends s with its length (uvarint) before it: a record without a tag.
func AppendText[T string | []byte](dst []byte, s T) []byte {
	return append(binary.AppendUvarint(dst, uint64(len(s))), s...)
}
