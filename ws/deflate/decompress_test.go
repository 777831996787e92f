package deflate

import (
	"bytes"
	"compress/flate"
	"errors"
	"math/rand/v2"
	"runtime"
	"strings"
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
	{"a block without compression that has the tail", "\x00\x04\x00\xfb\xff", "", tail}, // §7.2.2 appends it
	{"a match from the dictionary into the message", "\x42\x26\x00\x00", "Hello", "HelloHelloHe"},
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
		{"a stored block that ends behind the tail", "\x00\x05\x00\xfa\xff", 100, ErrCorrupt},
		{"a reference behind the window", "\xf2\x00\x11\x00\x00", 100, ErrCorrupt},
		{"a length that does not exist", "\x1b\x03\x00", 100, ErrCorrupt}, // fixed code 286
		{"286 codes are the most", "\xfc\x00\x00\x00\x00", 100, ErrCorrupt},
		{"30 distances are the most", "\x04\x1e\x00\x00\x00", 100, ErrCorrupt},
		{"an empty code for code lengths", "\x04\x00\x00\x00\x00\x00\x00", 100, ErrCorrupt},
		{"one byte more than the limit", "\xf2\x48\xcd\xc9\xc9\x07\x00", 4, ErrTooLarge},
		{"one byte more than the limit, stored", "\x00\x05\x00\xfa\xff\x48\x65\x6c\x6c\x6f\x00", 4, ErrTooLarge},
		{"no byte is allowed", "\xf2\x48\xcd\xc9\xc9\x07\x00", 0, ErrTooLarge},
		{"a negative limit", "\xf2\x48\xcd\xc9\xc9\x07\x00", -1, ErrTooLarge},
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

// bomb is a message of n zeros, which takes about n/1000 bytes.
func bomb(t testing.TB, n int) []byte {
	t.Helper()
	var b bytes.Buffer
	w, err := flate.NewWriter(&b, 9)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(make([]byte, n)); err != nil {
		t.Fatal(err)
	}
	if err := w.Flush(); err != nil {
		t.Fatal(err)
	}
	return bytes.TrimSuffix(b.Bytes(), []byte(tail))
}

// TestBombCostsNoMoreThanTheLimit counts the memory that a message of 64 MiB takes with a limit of 1 MiB.
func TestBombCostsNoMoreThanTheLimit(t *testing.T) {
	const limit = 1 << 20
	payload := bomb(t, 64<<20)
	var codec Codec
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	got, err := codec.Decompress(nil, payload, nil, limit)
	runtime.ReadMemStats(&after)
	if len(got) != 0 || !errors.Is(err, ErrTooLarge) {
		t.Fatalf("got %d bytes, %v, want %v", len(got), err, ErrTooLarge)
	}
	// The output grows by doubling, so that the sum of its sizes is at most twice the last one.
	if got := after.TotalAlloc - before.TotalAlloc; got > 3*limit && !raceEnabled {
		t.Errorf("got %d bytes allocated, want at most %d", got, 3*limit)
	}
}

// TestOutputGrowsNoFartherThanItsLimit allows a quarter more, which the runtime adds.
func TestOutputGrowsNoFartherThanItsLimit(t *testing.T) {
	var codec Codec
	for limit := 100_000; limit < 200_000; limit += 10_000 { // the output doubles at one of them
		got, err := codec.Decompress(nil, bomb(t, limit), nil, limit)
		if len(got) != limit || cap(got) > limit*5/4+8192 || err != nil {
			t.Errorf("got %d of %d bytes, %v, want exactly the limit of %d", len(got), cap(got), err, limit)
		}
	}
	dst := make([]byte, 250_000) // of other messages: the output grows by what belongs to this one
	got, err := codec.Decompress(dst, bomb(t, 100_000), nil, 1_000_000)
	if len(got) != 350_000 || cap(got) > 500_000 || err != nil {
		t.Errorf("got %d of %d bytes, %v, want 350000 of at most 500000", len(got), cap(got), err)
	}
}

// TestBlocksWithoutOutput checks that messages of many empty blocks take time and memory in proportion to their payload:
// no block costs what a whole message does. BenchmarkHostile has the figures.
func TestBlocksWithoutOutput(t *testing.T) {
	var codec Codec
	for name, payload := range emptyBlocks() {
		t.Run(name, func(t *testing.T) {
			got, err := codec.Decompress(nil, payload, make([]byte, 32<<10), 10)
			if len(got) != 0 || err != nil {
				t.Errorf("got %d bytes, %v, want none", len(got), err)
			}
		})
	}
}

// emptyBlocks returns messages of 1 MiB without output.
func emptyBlocks() map[string][]byte {
	repeat := func(block string) []byte { return []byte(strings.Repeat(block, 1<<20/len(block)) + "\x00") }
	return map[string][]byte{
		"stored":             repeat("\x00\x00\x00\xff\xff"),
		"stored with BFINAL": repeat("\x01\x00\x00\xff\xff"),
		"fixed with BFINAL":  repeat("\x03\x00"),
		"dynamic and fixed":  repeat("\x05\xc0\x81\x00\x00\x00\x00\x00\x90\xff\x6b\x00\x03\x00"),
	}
}

// TestDecompressDoesNotAllocate holds when dst has enough space.
func TestDecompressDoesNotAllocate(t *testing.T) {
	var codec Codec
	text := chatjson.New(1).Append(nil, 2000)
	packed := codec.Compress(nil, text[1000:], text[:1000], 15)
	dst := make([]byte, 0, 4096)
	got := testing.AllocsPerRun(100, func() {
		if _, err := codec.Decompress(dst, packed, text[:1000], 1000); err != nil {
			t.Fatal(err)
		}
	})
	if got >= 1 && !raceEnabled { // a collection may empty the pool
		t.Errorf("got %v allocations, want none", got)
	}
}

// TestOutputIsReservedByItsLimit holds that a message takes one allocation if it has at most four times the bytes of its
// payload, and that no more is reserved than the limit.
func TestOutputIsReservedByItsLimit(t *testing.T) {
	var codec Codec
	text := chatjson.New(1).Append(nil, 1000)
	packed := codec.Compress(nil, text, nil, 15)
	if 4*len(packed) < len(text) {
		t.Fatalf("got %d bytes of %d, want at least a quarter", len(packed), len(text))
	}
	got := testing.AllocsPerRun(100, func() {
		if _, err := codec.Decompress(nil, packed, nil, len(text)); err != nil {
			t.Fatal(err)
		}
	})
	if got >= 2 && !raceEnabled { // a collection may empty the pool
		t.Errorf("got %v allocations, want 1", got)
	}
	out, err := codec.Decompress(make([]byte, 1000), emptyBlocks()["stored"], nil, 10)
	if len(out) != 1000 || cap(out) > 3000 || err != nil {
		t.Errorf("got %d of %d bytes, %v, want 1000 of at most 3000", len(out), cap(out), err)
	}
}

// TestDamagedMessages damages messages of all kinds, and compares the result with that of the reference.
func TestDamagedMessages(t *testing.T) {
	var codec Codec
	rng := rand.New(rand.NewPCG(1, 1))
	text := chatjson.New(1).Append(nil, 700)
	noise := make([]byte, 300)
	for i := range noise {
		noise[i] = byte(rng.IntN(256))
	}
	messages := [][]byte{codec.Compress(nil, text[:40], nil, 15), codec.Compress(nil, text[:100], text, 8)}
	for level := flate.HuffmanOnly; level <= 9; level++ {
		for _, p := range [][]byte{text, noise, append(text[:200:200], noise...)} {
			var b bytes.Buffer
			w, err := flate.NewWriterDict(&b, level, text[:100])
			if err != nil {
				t.Fatal(err)
			}
			_, _ = w.Write(p)
			_ = w.Flush()
			messages = append(messages, bytes.TrimSuffix(b.Bytes(), []byte(tail)))
		}
	}
	valid := 0
	for range 20_000 {
		payload := bytes.Clone(messages[rng.IntN(len(messages))])
		for range 1 + rng.IntN(2) {
			switch rng.IntN(4) {
			case 0:
				payload = payload[:1+rng.IntN(len(payload))]
			case 1:
				payload[rng.IntN(min(len(payload), 20))] ^= 1 << rng.IntN(8)
			default:
				payload[rng.IntN(len(payload))] ^= 1 << rng.IntN(8)
			}
		}
		limit := 100 + rng.IntN(2000)
		want, _, wantErr := inflateReference(payload, text[:100], limit)
		got, err := codec.Decompress(nil, payload, text[:100], limit)
		if (err != nil) != (wantErr != nil) || err == nil && !bytes.Equal(got, want) {
			t.Fatalf("%x: got %q, %v, want %q, %v", payload, got, err, want, wantErr)
		}
		if err == nil {
			valid++
		}
	}
	if valid < 100 {
		t.Errorf("got %d messages that are still valid, want more", valid)
	}
}
