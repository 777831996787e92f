package deflate

import (
	"bytes"
	"errors"
	"testing"

	"github.com/expedite-go/expedite/internal/chatjson"
)

// FuzzAccept checks that Accept takes only what its rules allow, and that its answer is valid for any client.
func FuzzAccept(f *testing.F) {
	f.Add(Name+"; client_max_window_bits", true, uint8(15), uint8(15))
	f.Add(Name+"; server_max_window_bits=10, "+Name, true, uint8(8), uint8(0))
	f.Add(Name+`; server_max_window_bits="1\0"; client_no_context_takeover`, false, uint8(0), uint8(12))
	f.Add(",x;y=z,"+Name+"; server_max_window_bits=08", true, uint8(9), uint8(200))
	f.Fuzz(func(t *testing.T, offers string, takeover bool, server, client uint8) {
		c := Config{takeover, server, client}
		p, answer, ok := c.Accept([]string{offers})
		if !ok {
			if p != (Params{}) || answer != "" {
				t.Fatalf("got %+v, %q for a declined offer", p, answer)
			}
			return
		}
		if p.ServerMaxWindowBits > c.serverBits() || p.ServerMaxWindowBits < 8 || p.ClientMaxWindowBits < 8 ||
			p.ClientMaxWindowBits > c.clientBits() && !p.ClientNoContextTakeover ||
			!takeover && (!p.ServerNoContextTakeover || !p.ClientNoContextTakeover) {
			t.Fatalf("%+v: got %+v", c, p)
		}
		// A client that offered takeover with the largest windows may get any valid answer.
		if got, agreed, err := (Config{Takeover: true}).Agreed(answer); !agreed || err != nil || got.Pack() != p.Pack() {
			t.Fatalf("%q: got %+v, %v, %v, want %+v", answer, got, agreed, err, p)
		}
		if Unpack(p.Pack()) != p {
			t.Fatalf("got %+v, want %+v", Unpack(p.Pack()), p)
		}
	})
}

// FuzzAgreed checks that Agreed accepts no more than was offered, and that a server accepts every offer.
func FuzzAgreed(f *testing.F) {
	f.Add(Name+"; client_max_window_bits=10", true, uint8(15), uint8(15))
	f.Add(Name+"; server_no_context_takeover; server_max_window_bits=9", false, uint8(9), uint8(0))
	f.Add(Name+"; client_max_window_bits", true, uint8(0), uint8(0))
	f.Fuzz(func(t *testing.T, answer string, takeover bool, server, client uint8) {
		c := Config{takeover, server, client}
		if _, _, ok := (Config{}).Accept([]string{c.Offer()}); !ok {
			t.Fatalf("%q is declined", c.Offer())
		}
		p, ok, err := c.Agreed(answer)
		if !ok {
			if p != (Params{}) {
				t.Fatalf("got %+v with %v", p, err)
			}
			return
		}
		if err != nil || p.ServerMaxWindowBits > c.serverBits() || p.ClientMaxWindowBits > c.clientBits() ||
			!takeover && (!p.ServerNoContextTakeover || !p.ClientNoContextTakeover) {
			t.Fatalf("%+v, %q: got %+v, %v", c, answer, p, err)
		}
	})
}

// FuzzDecompress compares Decompress with the reference, and checks that it never exceeds its limit.
func FuzzDecompress(f *testing.F) {
	var codec Codec
	for _, row := range rfcExamples {
		f.Add([]byte(row.payload), []byte(row.dict), uint16(100))
	}
	text := chatjson.New(1).Append(nil, 2000)
	f.Add(codec.Compress(nil, text, nil, 15), []byte{}, uint16(2000))
	f.Add(codec.Compress(nil, text[1000:], text[:1000], 10), text[:1000], uint16(999))
	f.Add(codec.Compress(nil, bytes.Repeat([]byte("a"), 5000), nil, 8), []byte{}, uint16(300))
	f.Fuzz(func(t *testing.T, payload, dict []byte, limit uint16) {
		before := bytes.Clone(payload)
		got, err := codec.Decompress([]byte("x"), payload, dict, int(limit))
		want, _, wantErr := inflateReference(payload, dict, int(limit))
		switch {
		case len(payload) == 0:
			want, wantErr = nil, nil
		case errors.Is(wantErr, errReference):
			wantErr = ErrCorrupt
		}
		if !bytes.Equal(payload, before) {
			t.Fatal("the payload has changed")
		}
		if wantErr != nil {
			if err == nil || string(got) != "x" {
				t.Fatalf("got %q, %v, want %v", got, err, wantErr)
			}
			return
		}
		if err != nil || !bytes.Equal(got[1:], want) || got[0] != 'x' {
			t.Fatalf("got %q, %v, want %q", got, err, want)
		}
	})
}

// FuzzCompress checks that every message comes back, and refers no further back than its window.
func FuzzCompress(f *testing.F) {
	text := chatjson.New(2).Append(nil, 3000)
	f.Add(text[1000:], text[:1000], uint8(8))
	f.Add(text[:500], []byte{}, uint8(15))
	f.Add(bytes.Repeat([]byte("ab"), 400), text, uint8(9))
	f.Add([]byte{}, []byte{}, uint8(10))
	f.Fuzz(func(t *testing.T, payload, dict []byte, bits uint8) {
		bits = 8 + bits%8
		var codec Codec // a new one: what its pools hold would change the coverage
		roundTrip(t, &codec, payload, dict, bits)
	})
}

// roundTrip compresses and decompresses a message.
func roundTrip(t *testing.T, codec *Codec, payload, dict []byte, bits uint8) {
	t.Helper()
	packed := codec.Compress([]byte("x"), payload, dict, bits)
	if packed[0] != 'x' || len(packed) < 2 {
		t.Fatalf("got %q, want at least a byte behind what was there", packed)
	}
	history := dict[max(0, len(dict)-1<<bits):]
	got, err := codec.Decompress(nil, packed[1:], history, len(payload))
	if err != nil || !bytes.Equal(got, payload) {
		t.Fatalf("got %d bytes, %v, want the payload of %d", len(got), err, len(payload))
	}
	got, farthest, err := inflateReference(packed[1:], history, len(payload))
	if err != nil || !bytes.Equal(got, payload) || farthest > 1<<bits {
		t.Fatalf("got %d bytes, distance %d, %v, want at most %d", len(got), farthest, err, 1<<bits)
	}
}

// FuzzWindow compares a Window with the end of everything that was appended.
func FuzzWindow(f *testing.F) {
	f.Add([]byte("abcdefghijklmnop"), []byte{3, 0, 9, 2}, uint16(8))
	f.Add([]byte(""), []byte{}, uint16(0))
	f.Fuzz(func(t *testing.T, all, cuts []byte, size uint16) {
		var w Window
		rest := all
		for _, n := range append(cuts, 255) {
			n := min(int(n), len(rest))
			w.Append(rest[:n], int(size))
			rest = rest[n:]
			done := all[:len(all)-len(rest)]
			want := done[max(0, len(done)-int(size)):]
			if !bytes.Equal(w.Bytes(), want) || w.Cap() > int(size) {
				t.Fatalf("got %q in %d bytes, want %q", w.Bytes(), w.Cap(), want)
			}
			var restored Window
			restored.Append(w.Bytes(), int(size))
			if !bytes.Equal(restored.Bytes(), want) {
				t.Fatalf("got %q after restoring, want %q", restored.Bytes(), want)
			}
		}
	})
}
