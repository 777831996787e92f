package ws

import (
	"bytes"
	"errors"
	"testing"
)

func TestHeaderTakesItsShortestForm(t *testing.T) {
	rows := []struct {
		name string
		h    Header
		want []byte
	}{
		{"7 bits", Header{Fin: true, Opcode: OpText, Length: 125}, []byte{0x81, 125}},
		{"16 bits", Header{Opcode: OpBinary, Length: 126}, []byte{0x02, 126, 0, 126}},
		{"16 bits, longest", Header{Opcode: OpBinary, Length: 65535}, []byte{0x02, 126, 0xff, 0xff}},
		{"64 bits", Header{Opcode: OpBinary, Length: 65536}, []byte{0x02, 127, 0, 0, 0, 0, 0, 1, 0, 0}},
		{"masked", Header{Fin: true, Opcode: OpPing, Masked: true, Key: 0x04030201}, []byte{0x89, 0x80, 1, 2, 3, 4}},
		{"reserved bits", Header{RSV: 4, Opcode: OpText}, []byte{0x41, 0}},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			if got := AppendHeader(nil, row.h); !bytes.Equal(got, row.want) {
				t.Errorf("got %x, want %x", got, row.want)
			}
			got, n, err := ParseHeader(row.want)
			if got != row.h || n != len(row.want) || err != nil {
				t.Errorf("got %+v, %d, %v, want %+v, %d", got, n, err, row.h, len(row.want))
			}
			for i := range row.want {
				if _, n, err := ParseHeader(row.want[:i]); n != 0 || err != nil {
					t.Errorf("got %d, %v of %d bytes, want more to be asked for", n, err, i)
				}
			}
		})
	}
}

func TestAppendFrameIsHeaderAndPayload(t *testing.T) {
	for _, n := range []int{0, 1, 125, 126, 65535, 65536} {
		payload := bytes.Repeat([]byte{0x5a}, n)
		got := AppendFrame([]byte("x"), OpBinary, payload)
		want := append(AppendHeader([]byte("x"), Header{Fin: true, Opcode: OpBinary, Length: uint64(n)}), payload...)
		if !bytes.Equal(got, want) {
			t.Errorf("%d bytes: got %.20x, want %.20x", n, got, want)
		}
		if FrameLen(n) != len(got)-1 {
			t.Errorf("%d bytes: got FrameLen %d, want %d", n, FrameLen(n), len(got)-1)
		}
		masked := AppendMaskedFrame([]byte("x"), OpBinary, testKey, payload)
		if want := append([]byte("x"), rawFrame(Header{Fin: true, Opcode: OpBinary, Masked: true, Length: uint64(n)},
			string(payload))...); !bytes.Equal(masked, want) {
			t.Errorf("%d bytes: got masked %.20x, want %.20x", n, masked, want)
		}
		if n > 0 && payload[0] != 0x5a {
			t.Error("got a changed payload")
		}
	}
}

func TestAppendFrameMatchesTheExamplesOfTheRFC(t *testing.T) {
	if got, want := AppendFrame(nil, OpText, []byte("Hello")), []byte("\x81\x05Hello"); !bytes.Equal(got, want) {
		t.Errorf("got %x, want %x", got, want) // RFC 6455 §5.7
	}
	want := []byte{0x81, 0x85, 0x37, 0xfa, 0x21, 0x3d, 0x7f, 0x9f, 0x4d, 0x51, 0x58}
	if got := AppendMaskedFrame(nil, OpText, 0x3d21fa37, []byte("Hello")); !bytes.Equal(got, want) {
		t.Errorf("got %x, want %x", got, want)
	}
}

func FuzzParseHeader(f *testing.F) {
	f.Add([]byte{0x81, 0x85, 1, 2, 3, 4})
	f.Add([]byte{0x82, 0xff, 0, 0, 0, 0, 0, 1, 0, 0, 1, 2, 3, 4})
	f.Fuzz(func(t *testing.T, b []byte) {
		h, n, err := ParseHeader(b)
		var fault *ProtocolError
		switch {
		case err != nil && (!errors.As(err, &fault) || n != 0):
			t.Fatalf("got %d, %v, want a *ProtocolError", n, err)
		case err == nil && n == 0 && len(b) >= MaxHeader:
			t.Fatal("got a wish for more than the longest header")
		case n > 0:
			if got := AppendHeader(nil, h); !bytes.Equal(got, b[:n]) {
				t.Fatalf("got %x, want %x", got, b[:n])
			}
		}
	})
}
