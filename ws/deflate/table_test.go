package deflate

import (
	"math/rand/v2"
	"testing"
)

// shape is one of the tables that an inflater makes.
type shape struct {
	symbols, width, longest int
	lone                    bool
}

var shapes = []shape{
	{288, literalBits, maxCode, true}, {30, distanceBits, maxCode, true}, {19, lengthBits, 7, false},
}

// randomCode returns the lengths of a complete code, most of them near the longest or of all kinds.
func (s shape) randomCode(rng *rand.Rand) []uint8 {
	leaves := []uint8{1, 1}
	deep := rng.IntN(4)
	for range rng.IntN(s.symbols - 1) {
		i := rng.IntN(len(leaves))
		if rng.IntN(4) < deep {
			i = len(leaves) - 1
		}
		if n := leaves[i]; int(n) < s.longest {
			leaves[i] = n + 1
			leaves = append(leaves, n+1)
		}
	}
	leaves = append(leaves, make([]uint8, s.symbols-len(leaves))...)
	rng.Shuffle(len(leaves), func(i, j int) { leaves[i], leaves[j] = leaves[j], leaves[i] })
	return leaves
}

// symbolEntries returns an entry for each symbol, without its code.
func symbolEntries(n int) []uint32 {
	entries := make([]uint32, n)
	for s := range entries {
		entries[s] = uint32(s) << entryValue
	}
	return entries
}

// decoded returns the symbol that a table has for bits, and the number of bits of its code.
func decoded(table []uint32, width int, hold uint64) (symbol, n int) {
	e := table[hold&(1<<width-1)]
	if e&entryLink != 0 {
		n, hold = int(e&63), hold>>(e&63)
		e = table[linked(e, hold)]
	}
	if e&entryOther != 0 || e&63 != e>>entryCode&63 {
		return -1, 0
	}
	return int(e >> entryValue), n + int(e&63)
}

// checkTable decodes the code of every symbol, with any bits behind it.
func checkTable(t *testing.T, table []uint32, width int, lengths []uint8) {
	t.Helper()
	plain := make([]int, len(lengths))
	for s, n := range lengths {
		plain[s] = int(n)
	}
	for s, n := range plain {
		if n == 0 {
			continue
		}
		var code block
		code.symbol(plain, s)
		for _, behind := range []uint64{0, 0x5555, 0xaaaa, 0xffff} {
			hold := behind << n
			for i, b := range code.b {
				hold |= uint64(b) << (8 * i)
			}
			if got, bits := decoded(table, width, hold); got != s || bits != n {
				t.Fatalf("%d: got symbol %d of %d bits, want %d of %d", lengths, got, bits, s, n)
			}
		}
	}
}

// TestTablesOfEveryCode builds the tables of random codes in no more space than they need: one entry less is refused.
// Without one of its codes, or with one more, a code is refused.
func TestTablesOfEveryCode(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 3))
	var b builder
	for _, s := range shapes {
		for range 300 {
			lengths, entries := s.randomCode(rng), symbolEntries(s.symbols)
			table := make([]uint32, 2048)
			width := b.build(table, lengths, entries, s.width, s.lone)
			size := len(table)
			for size > 1<<width && table[size-1] == 0 {
				size--
			}
			table = make([]uint32, size)
			if got := b.build(table, lengths, entries, s.width, s.lone); got != width || width == 0 || width > s.width {
				t.Fatalf("%d: got width %d in %d entries, %d in 2048", lengths, got, size, width)
			}
			checkTable(t, table, width, lengths)
			if size > 1<<width && b.build(table[:size-1], lengths, entries, s.width, s.lone) != 0 {
				t.Fatalf("%d: got a table of %d entries, want %d", lengths, size-1, size)
			}
			for i, n := range lengths {
				if n <= 1 {
					continue
				}
				for _, wrong := range []uint8{0, n - 1} { // incomplete, over-subscribed
					lengths[i] = wrong
					if got := b.build(make([]uint32, 2048), lengths, entries, s.width, s.lone); got != 0 {
						t.Fatalf("%d: got width %d, want the code to be refused", lengths, got)
					}
				}
				lengths[i] = n
				break
			}
		}
	}
}

// TestTablesOfFewCodes holds what zlib accepts for literals and distances only: no code, and one of one bit.
func TestTablesOfFewCodes(t *testing.T) {
	rows := []struct {
		name    string
		lengths []uint8
		lone    bool
		want    int
	}{
		{"no code", []uint8{0, 0, 0}, true, 1},
		{"no code, not allowed", []uint8{0, 0, 0}, false, 0},
		{"one bit", []uint8{0, 1, 0}, true, 1},
		{"one bit, not allowed", []uint8{0, 1, 0}, false, 0},
		{"one code of two bits", []uint8{0, 2, 0}, true, 0},
		{"two codes of one bit", []uint8{1, 0, 1}, false, 1},
		{"three codes of one bit", []uint8{1, 1, 1}, true, 0},
		{"one and two bits", []uint8{1, 0, 2}, true, 0},
		{"all of two bits", []uint8{2, 2, 2, 2}, false, 2},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			var b builder
			table := make([]uint32, 16)
			width := b.build(table, row.lengths, symbolEntries(len(row.lengths)), 7, row.lone)
			if width != row.want {
				t.Fatalf("got width %d, want %d", width, row.want)
			}
			if width == 0 {
				return
			}
			checkTable(t, table, width, row.lengths)
			if b.count[1] < 2 && width == 1 && table[1] != entryInvalid {
				t.Errorf("got %#x for a code that does not exist, want %#x", table[1], entryInvalid)
			}
		})
	}
}
