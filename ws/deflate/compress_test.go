package deflate

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/expedite-go/expedite/internal/chatjson"
)

// rfcExamples are the examples of RFC 7692 §7.2.3, and more of their kind.
var rfcExamples = []struct{ name, payload, dict, want string }{
	{"§7.2.3.1 one block", "\xf2\x48\xcd\xc9\xc9\x07\x00", "", "Hello"},
	{"§7.2.3.2 sharing the window", "\xf2\x00\x11\x00\x00", "Hello", "Hello"},
	{"§7.2.3.3 a block without compression", "\x00\x05\x00\xfa\xff\x48\x65\x6c\x6c\x6f\x00", "", "Hello"},
	{"§7.2.3.4 a block with BFINAL", "\xf3\x48\xcd\xc9\xc9\x07\x00\x00", "", "Hello"},
	{"§7.2.3.5 two blocks", "\xf2\x48\x05\x00\x00\x00\xff\xff\xca\xc9\xc9\x07\x00", "", "Hello"},
	{"§7.2.3.6 an empty message", "\x00", "", ""},
	{"no bytes at all", "", "", ""},
	{"an empty block with BFINAL", "\x03\x00\x00", "", ""},
	{"two blocks with BFINAL", "\xf3\x48\xcd\xc9\xc9\x07\x00\xf3\x48\xcd\xc9\xc9\x07\x00\x00", "", "HelloHello"},
	{"a reference behind BFINAL", "\xf3\x48\xcd\xc9\xc9\x07\x00\xf2\x00\x11\x00\x00", "", "HelloHello"},
}

func TestRFCExamples(t *testing.T) {
	var codec Codec
	for _, row := range rfcExamples {
		t.Run(row.name, func(t *testing.T) {
			got, err := codec.Decompress([]byte("x"), []byte(row.payload), []byte(row.dict), len(row.want))
			if string(got) != "x"+row.want || err != nil {
				t.Errorf("got %q, %v, want %q", got, err, "x"+row.want)
			}
		})
	}
}

func TestDecompressRefuses(t *testing.T) {
	var codec Codec
	rows := []struct {
		name, payload string
		limit         int
		want          error
	}{
		{"block type 3", "\x06", 100, ErrCorrupt},
		{"a length without its complement", "\x00\x05\x00\xfa\xfe\x48\x65\x6c\x6c\x6f\x00", 100, ErrCorrupt},
		{"a stored block that ends early", "\x00\x50\x00\xaf\xff\x48\x65", 100, ErrCorrupt},
		{"a reference behind the window", "\xf2\x00\x11\x00\x00", 100, ErrCorrupt},
		{"one byte more than the limit", "\xf2\x48\xcd\xc9\xc9\x07\x00", 4, ErrTooLarge},
		{"no byte is allowed", "\xf2\x48\xcd\xc9\xc9\x07\x00", 0, ErrTooLarge},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			got, err := codec.Decompress([]byte("x"), []byte(row.payload), nil, row.limit)
			if string(got) != "x" || !errors.Is(err, row.want) {
				t.Errorf("got %q, %v, want %v and nothing appended", got, err, row.want)
			}
		})
	}
}

// TestRoundTrip compresses and decompresses with all windows, and with sizes around their limits.
func TestRoundTrip(t *testing.T) {
	var codec Codec
	rng := rand.New(rand.NewPCG(1, 2))
	text := make([]byte, 0, 200_000)
	for g := chatjson.New(1); len(text) < 120_000; {
		text = g.Append(text, 200+rng.IntN(2000))
		for range 20 {
			text = append(text, byte(rng.IntN(256))) // finds no match
		}
	}
	for bits := uint8(8); bits <= 15; bits++ {
		for _, n := range []int{0, 1, 20, 255, 256, 257, 1000, 1 << bits, 70_000} {
			for _, d := range []int{0, 1, 100, 1 << bits, 40_000} {
				t.Run(fmt.Sprintf("%d bits, %d bytes, dictionary of %d", bits, n, d), func(t *testing.T) {
					roundTrip(t, &codec, text[d:d+n], text[:d], bits)
				})
			}
		}
	}
}
