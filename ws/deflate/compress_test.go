package deflate

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/expedite-go/expedite/internal/chatjson"
)

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
