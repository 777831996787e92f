package ws

import (
	"strings"
	"testing"
	"unicode/utf8"
)

// validPrefix returns the number of bytes of b before the first one that no text can have there.
func validPrefix(b []byte) int {
	i := 0
	for i < len(b) {
		r, n := utf8.DecodeRune(b[i:])
		if r != utf8.RuneError || n != 1 {
			i += n
			continue
		}
		for n := 1; n <= len(b)-i; n++ { // does a character start with these n bytes?
			if utf8.FullRune(b[i : i+n]) {
				return i + n - 1
			}
		}
		return len(b)
	}
	return i
}

func checkUTF8(t reporter, b []byte, cut int) {
	t.Helper()
	var u textState
	got := u.write(b[:cut])
	if got == cut {
		got += u.write(b[cut:])
	}
	if want := validPrefix(b); got != want {
		t.Fatalf("%x cut at %d: got %d valid bytes, want %d", b, cut, got, want)
	}
	if got == len(b) && u.complete() != utf8.Valid(b) {
		t.Fatalf("%x cut at %d: got complete %v, want %v", b, cut, u.complete(), utf8.Valid(b))
	}
	if !u.valid() && got == len(b) {
		t.Fatalf("%x cut at %d: got a state %+v that would not load", b, cut, u)
	}
}

// TestUTF8JudgesEverySequence tries all leads with all second bytes, and the borders of what follows.
func TestUTF8JudgesEverySequence(t *testing.T) {
	borders := []byte{0x00, 0x7f, 0x80, 0xbf, 0xc0, 0xff}
	for a := range 256 {
		for b := range 256 {
			for _, c := range borders {
				for _, d := range borders {
					checkUTF8(t, []byte{byte(a), byte(b), c, d}, (a+b)%5)
				}
			}
		}
	}
}

func TestUTF8TakesEveryCharacter(t *testing.T) {
	var u textState
	for r := rune(0); r <= utf8.MaxRune; r++ {
		if b := utf8.AppendRune(nil, r); utf8.ValidRune(r) && (u.write(b) != len(b) || !u.complete()) {
			t.Fatalf("got %U refused", r)
		}
	}
}

// TestUTF8StatesAreThoseThatATextLeaves compares the states that load with all that the beginnings of characters leave.
func TestUTF8StatesAreThoseThatATextLeaves(t *testing.T) {
	left := map[textState]bool{}
	for a := range 256 {
		for b := range 256 {
			var u textState
			for _, c := range []byte{byte(a), byte(b), 0x80} {
				if u.write([]byte{c}) == 0 || u.complete() {
					break
				}
				left[u] = true
			}
		}
	}
	for missing := 1; missing <= 5; missing++ {
		for low := range 256 {
			for high := range 256 {
				u := textState{uint8(missing), uint8(low), uint8(high)}
				if got := u.valid(); got != left[u] {
					t.Fatalf("%+v: got valid %v, want %v", u, got, left[u])
				}
			}
		}
	}
}

func TestUTF8FindsABadByteAnywhere(t *testing.T) {
	for n := range 130 {
		for _, bad := range []string{"\xff", "\xc0", "\x80", "\xe2\x28", "\xed\xa0"} {
			b := []byte(strings.Repeat("a", n) + bad + strings.Repeat("é", 40))
			checkUTF8(t, b, n/2)
			checkUTF8(t, []byte(strings.Repeat("é", n)+bad+"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"), n)
		}
	}
}

func FuzzUTF8(f *testing.F) {
	f.Add([]byte("grüße \U0001f600"), 3)
	f.Add([]byte("\xed\xa0\x80\xf4\x90"), 1)
	f.Fuzz(func(t *testing.T, b []byte, cut int) {
		checkUTF8(t, b, min(max(cut, 0), len(b)))
	})
}
