package ws

import (
	"bytes"
	"testing"
)

// maskBytewise is a literal implementation of RFC 6455 §5.3.
func maskBytewise(b []byte, key uint32, offset int) {
	k := [4]byte{byte(key), byte(key >> 8), byte(key >> 16), byte(key >> 24)}
	for i := range b {
		b[i] ^= k[(i+offset)%4]
	}
}

func TestMaskIsTheSameAtAnyLengthOffsetAndAlignment(t *testing.T) {
	for n := range 200 {
		for offset := range 5 {
			for align := range 9 {
				got := bytes.Repeat([]byte{0x5a}, align+n+1)
				want := bytes.Clone(got)
				Mask(got[align:align+n], testKey, offset)
				maskBytewise(want[align:align+n], testKey, offset)
				if !bytes.Equal(got, want) {
					t.Fatalf("%d bytes, offset %d, alignment %d: got %x, want %x", n, offset, align, got, want)
				}
			}
		}
	}
}

func FuzzMask(f *testing.F) {
	f.Add([]byte("hello, world"), uint32(testKey), 3)
	f.Fuzz(func(t *testing.T, b []byte, key uint32, offset int) {
		offset &= 1<<30 - 1
		got, want := bytes.Clone(b), bytes.Clone(b)
		Mask(got, key, offset)
		maskBytewise(want, key, offset)
		if !bytes.Equal(got, want) {
			t.Fatalf("got %x, want %x", got, want)
		}
		Mask(got, key, offset)
		if !bytes.Equal(got, b) {
			t.Fatalf("got %x, want masking twice to give %x", got, b)
		}
	})
}
