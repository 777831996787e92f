package deflate

import (
	"bytes"
	"compress/flate"
	"errors"
	"math/rand/v2"
	"testing"
)

// block builds the bits of a message. RFC 1951 §3.1.1.
type block struct {
	b []byte
	n int // bits
}

// add appends n bits of v, the lowest first.
func (b *block) add(v, n int) {
	for i := range n {
		if b.n%8 == 0 {
			b.b = append(b.b, 0)
		}
		b.b[b.n/8] |= byte(v>>i&1) << (b.n % 8)
		b.n++
	}
}

// symbol appends the code of a symbol, the highest bit first. RFC 1951 §3.2.2.
func (b *block) symbol(lengths []int, s int) {
	code := 0
	for n := 1; n <= lengths[s]; n++ {
		code <<= 1
		for i, l := range lengths {
			if l == n && (n < lengths[s] || i < s) {
				code++
			}
		}
	}
	for i := lengths[s] - 1; i >= 0; i-- {
		b.add(code>>i, 1)
	}
}

// dynamic begins a block with its own codes. RFC 1951 §3.2.7. The code for their lengths has 16 codes of 4 bits, for the
// lengths from 0 to 15.
func (b *block) dynamic(literals, distances []int) {
	b.add(2<<1, 3)
	b.add(len(literals)-257, 5)
	b.add(len(distances)-1, 5)
	b.add(19-4, 4)
	plain := make([]int, 19)
	for _, s := range codeOrder {
		if s < 16 {
			plain[s] = 4
		}
		b.add(plain[s], 3)
	}
	for _, list := range [][]int{literals, distances} {
		for _, n := range list {
			b.symbol(plain, n)
		}
	}
}

// message ends the message with an empty block without compression, whose last bytes Decompress appends.
func (b *block) message() []byte {
	b.add(0, 3)
	return b.b
}

// chain returns the lengths 1, 2, … 14, 15, 15 of the given symbols, and 0 for the others.
func chain(of int, symbols ...int) []int {
	lengths := make([]int, of)
	for i, s := range symbols {
		lengths[s] = min(i+1, len(symbols)-1)
	}
	return lengths
}

// longCodes returns a message of the longest codes: its match has a length and a distance of 15 bits and most extra bits.
func longCodes() []byte {
	literal := chain(286, 'a', 'b', 'c', 'd', 'e', 'f', 'g', 'h', 'i', 'j', 'k', 'l', 'm', endOfBlock, 284, 'z')
	distance := chain(30, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 29, 28)
	var b block
	b.dynamic(literal, distance)
	for range 3 {
		for _, s := range "azbzaazzz" {
			b.symbol(literal, int(s))
			b.symbol(literal, 284)
			b.add(int(s)&31, 5)
			b.symbol(distance, 29)
			b.add(8000+int(s), 13)
		}
	}
	b.symbol(literal, endOfBlock)
	return b.message()
}

// deflated returns a message that compress/flate makes.
func deflated(t *testing.T, level int, p, dict []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	w, err := flate.NewWriterDict(&b, level, dict)
	if err != nil {
		t.Fatal(err)
	}
	_, _ = w.Write(p)
	_ = w.Flush()
	return bytes.TrimSuffix(b.Bytes(), []byte(tail))
}

// fewSymbols returns text of few symbols, whose codes are short, with matches of every length and of distances from 1.
func fewSymbols(n int) []byte {
	rng := rand.New(rand.NewPCG(2, 2))
	var p []byte
	for len(p) < n {
		for range 1 + rng.IntN(4) {
			p = append(p, "abcd"[rng.IntN(4)])
		}
		distance := 1 + rng.IntN(min(len(p), 40))
		for range rng.IntN(270) {
			p = append(p, p[len(p)-distance])
		}
	}
	return p[:n]
}

// TestOutputOfAnyCapacity decompresses into slices of every capacity: nothing is written behind them, and they grow
// when they have to.
func TestOutputOfAnyCapacity(t *testing.T) {
	var codec Codec
	p := fewSymbols(1500)
	for _, level := range []int{flate.HuffmanOnly, flate.NoCompression, 1, 6, 9} {
		payload := deflated(t, level, p, nil)
		for n := range len(p) + 600 {
			array := bytes.Repeat([]byte{'-'}, n+8)
			got, err := codec.Decompress(array[:1:n+1], payload, nil, len(p))
			if err != nil || !bytes.Equal(got[1:], p) || got[0] != '-' || string(array[n+1:]) != "-------" {
				t.Fatalf("level %d, capacity %d: got %d bytes, %v, and %q behind them", level, n, len(got), err, array[n+1:])
			}
		}
	}
}

// TestEveryLimit holds that a message is decompressed if it has no more bytes than the limit, wherever that is within a
// match or a block.
func TestEveryLimit(t *testing.T) {
	var codec Codec
	p := fewSymbols(600)
	for _, level := range []int{flate.HuffmanOnly, flate.NoCompression, 1, 9} {
		payload := deflated(t, level, p, nil)
		for limit := range len(p) + 2 {
			got, err := codec.Decompress([]byte("x"), payload, nil, limit)
			switch {
			case limit < len(p) && (!errors.Is(err, ErrTooLarge) || string(got) != "x"):
				t.Fatalf("level %d, limit %d: got %d bytes, %v, want %v", level, limit, len(got), err, ErrTooLarge)
			case limit >= len(p) && (err != nil || !bytes.Equal(got[1:], p)):
				t.Fatalf("level %d, limit %d: got %d bytes, %v, want %d", level, limit, len(got), err, len(p))
			}
		}
	}
}

// TestLimitComesBeforeWhatFollows holds that decompression stops at the limit: the invalid code behind it is never read.
func TestLimitComesBeforeWhatFollows(t *testing.T) {
	var codec Codec
	literal, distance := chain(286, 'a', endOfBlock, 258), make([]int, 30)
	distance[0] = 1
	var b block
	b.dynamic(literal, distance)
	b.symbol(literal, 'a')
	for distance := range 2 { // a match of 4 bytes, and one whose distance has no code
		b.symbol(literal, 258)
		b.add(distance, 1)
	}
	for limit := range 10 {
		want := ErrTooLarge
		if limit >= 5 {
			want = ErrCorrupt
		}
		if got, err := codec.Decompress(nil, b.b, nil, limit); !errors.Is(err, want) || len(got) != 0 {
			t.Errorf("limit %d: got %q, %v, want %v", limit, got, err, want)
		}
	}
}

// TestReferencesNeverReachDst holds that a message cannot read what was in dst before: not the bytes of another message.
func TestReferencesNeverReachDst(t *testing.T) {
	var codec Codec
	text := fewSymbols(300)
	payload := deflated(t, 9, text, text)
	dst := bytes.Repeat([]byte("secret"), 1000)
	for have := range len(text) {
		got, err := codec.Decompress(dst, payload, text[have:], 1000)
		want, _, wantErr := inflateReference(payload, text[have:], 1000)
		if (err == nil) != (wantErr == nil) || err == nil && !bytes.Equal(got[len(dst):], want) {
			t.Fatalf("%d bytes of the dictionary: got %q, %v, want %q, %v", len(text)-have, got[len(dst):], err, want, wantErr)
		}
		if have > 0 && err == nil {
			t.Fatalf("%d bytes of the dictionary: want a message that needs all", len(text)-have)
		}
	}
}

// TestMatchesOfTheLongestCodes decompresses matches of 48 bits, which is as much as is loaded for one.
func TestMatchesOfTheLongestCodes(t *testing.T) {
	var codec Codec
	payload, dict := longCodes(), fewSymbols(32<<10)
	want, farthest, err := inflateReference(payload, dict, 10_000)
	if err != nil || farthest < 32_000 {
		t.Fatalf("got %v, distance %d, want a valid message", err, farthest)
	}
	got, err := codec.Decompress(nil, payload, dict, 10_000)
	if err != nil || !bytes.Equal(got, want) {
		t.Errorf("got %q, %v, want %q", got, err, want)
	}
}

// TestNumberOfCodes holds that a block has at most 286 codes for literals and lengths, and 30 for distances, even if
// the rest of them has no bits. RFC 1951 §3.2.7, zlib.
func TestNumberOfCodes(t *testing.T) {
	var codec Codec
	for _, row := range []struct {
		literals, distances int
		want                error
	}{{286, 30, nil}, {257, 1, nil}, {287, 30, ErrCorrupt}, {286, 31, ErrCorrupt}, {257, 32, ErrCorrupt}, {288, 1, ErrCorrupt}} {
		literal, distance := chain(row.literals, 'a', endOfBlock, 'b'), make([]int, row.distances)
		var b block
		b.dynamic(literal, distance)
		for _, s := range []int{'a', 'b', endOfBlock} {
			b.symbol(literal, s)
		}
		got, err := codec.Decompress(nil, b.message(), nil, 10)
		if !errors.Is(err, row.want) || err == nil && string(got) != "ab" {
			t.Errorf("%d literals, %d distances: got %q, %v, want %v", row.literals, row.distances, got, err, row.want)
		}
	}
}

// TestMessagesCutAnywhere holds that a message without its end is refused, or is the beginning of the whole one, and
// that no byte behind the input is read.
func TestMessagesCutAnywhere(t *testing.T) {
	var codec Codec
	p := fewSymbols(2000)
	for _, payload := range [][]byte{longCodes(), deflated(t, 1, p, nil), deflated(t, 9, p, nil), deflated(t, 0, p, nil)} {
		for n := range payload {
			got, err := codec.Decompress(nil, payload[:n], p, 10_000)
			want, _, wantErr := inflateReference(payload[:n], p, 10_000)
			if n > 0 && ((err == nil) != (wantErr == nil) || err == nil && !bytes.Equal(got, want)) {
				t.Fatalf("%x: got %q, %v, want %q, %v", payload[:n], got, err, want, wantErr)
			}
		}
	}
}
