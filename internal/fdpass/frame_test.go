package fdpass

import (
	"bytes"
	"errors"
	"testing"
)

func TestParseFrame(t *testing.T) {
	const limit = 8
	whole := AppendFrame(nil, 7, 3, []byte("payload"))
	tests := []struct {
		name    string
		in      []byte
		n, need int
		wantErr bool
	}{
		{"nothing asks for a header", nil, 0, headerLen, false},
		{"a cut header asks for the rest of it", whole[:headerLen-1], 0, headerLen, false},
		{"a header alone asks for the whole frame", whole[:headerLen], 0, len(whole), false},
		{"a cut payload asks for the whole frame", whole[:len(whole)-1], 0, len(whole), false},
		{"a whole frame is found", whole, len(whole), len(whole), false},
		{"what follows a frame is left", append(bytes.Clone(whole), 1, 2), len(whole), len(whole), false},
		{"an empty payload is a frame", AppendFrame(nil, 7, 3, nil), headerLen, headerLen, false},
		{"a payload at the limit passes", AppendFrame(nil, 7, 3, make([]byte, limit)), 14, 14, false},
		{"a payload beyond the limit is refused by its header", AppendFrame(nil, 7, 3, make([]byte, limit+1))[:6], 0, 0, true},
		{"more descriptors than the kernel passes are refused", []byte{0, 0, 0, 0, 7, MaxFDs + 1}, 0, 0, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f, fds, n, need, err := parseFrame(tt.in, limit)
			if got := errors.Is(err, ErrFrame); got != tt.wantErr {
				t.Fatalf("error %v, want ErrFrame %t", err, tt.wantErr)
			}
			if n != tt.n || need != tt.need {
				t.Errorf("n, need = %d, %d, want %d, %d", n, need, tt.n, tt.need)
			}
			if n > 0 && (f.Kind != 7 || fds != 3 || !bytes.Equal(f.Payload, tt.in[headerLen:n])) {
				t.Errorf("frame %+v with %d descriptors", f, fds)
			}
		})
	}
}

func FuzzParseFrame(f *testing.F) {
	f.Add([]byte{})
	f.Add(AppendFrame(nil, 1, 0, []byte("x")))
	f.Add(AppendFrame(AppendFrame(nil, 2, 253, nil), 3, 1, make([]byte, 300)))
	f.Add([]byte{255, 255, 255, 255, 0, 0})
	f.Fuzz(func(t *testing.T, in []byte) {
		const limit = 256
		for b := in; ; {
			frame, fds, n, need, err := parseFrame(b, limit)
			switch {
			case err != nil:
				return
			case n == 0:
				if need <= len(b) || need > headerLen+limit {
					t.Fatalf("%d bytes are not enough, yet %d are", len(b), need)
				}
				return
			}
			if again := AppendFrame(nil, frame.Kind, fds, frame.Payload); !bytes.Equal(again, b[:n]) {
				t.Fatalf("frame %x reads back as %x", b[:n], again)
			}
			b = b[n:]
		}
	})
}
