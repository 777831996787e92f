package deflate

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/klauspost/compress/flate"

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

// TestLevels holds that one Codec compresses messages with and without a dictionary at the level that is for each.
func TestLevels(t *testing.T) {
	var codec Codec
	text := chatjson.New(1).Append(nil, 9000)
	for range 2 { // in the second round, the compressors are those of the first
		for _, dict := range [][]byte{nil, text[:4000]} {
			level := levelAlone
			if dict != nil {
				level = levelDictionary
			}
			var want bytes.Buffer
			w, err := flate.NewWriter(nil, level)
			if err != nil {
				t.Fatal(err)
			}
			w.ResetDict(&want, dict)
			_, _ = w.Write(text[4000:])
			_ = w.Flush()
			if got := codec.Compress(nil, text[4000:], dict, 15); string(got)+tail != want.String() {
				t.Errorf("dictionary of %d bytes: got %d bytes, want the %d of level %d", len(dict), len(got),
					want.Len()-len(tail), level)
			}
		}
	}
}

// TestCompressDoesNotAllocate holds when dst has enough space.
func TestCompressDoesNotAllocate(t *testing.T) {
	var codec Codec
	text := chatjson.New(1).Append(nil, 9000)
	dst := make([]byte, 0, 4096)
	for _, bits := range []uint8{9, 13, 15} {
		got := testing.AllocsPerRun(100, func() {
			codec.Compress(dst, text[8000:], nil, bits)
			codec.Compress(dst, text[8000:], text[:8000], bits)
		})
		if got >= 1 && !raceEnabled { // a collection may empty the pools
			t.Errorf("%d bits: got %v allocations, want none", bits, got)
		}
	}
}

// TestCompressedSize holds what docs/decisions/0016 promises for 1 KiB of chat JSON: at most 605 bytes for a message by
// itself, and 400 with 8 KiB of history.
func TestCompressedSize(t *testing.T) {
	const messages, size = 400, 1024
	var codec Codec
	all := conversation(messages)
	for _, row := range []struct{ history, want int }{{0, 605}, {8 << 10, 400}} {
		sum, n := 0, 0
		for at := row.history; at < len(all); at += size {
			sum += len(codec.Compress(nil, all[at:at+size], all[at-row.history:at], 15))
			n++
		}
		if got := sum / n; got > row.want {
			t.Errorf("%d bytes of history: got %d bytes per message, want at most %d", row.history, got, row.want)
		}
	}
}
