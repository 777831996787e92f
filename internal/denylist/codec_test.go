package denylist

import (
	"errors"
	"strings"
	"testing"
	"time"
)

// TestCodec: Parse reads what Append wrote, entry by entry, and refuses what is cut off.
func TestCodec(t *testing.T) {
	list := []Entry{
		{User, "alice", time.Unix(1_800_000_000, 0)},
		{Token, strings.Repeat("\x01", maxValue), time.Unix(1, 0)},
		{Session, "s", time.Unix(-5, 0)},
	}
	var b []byte
	for _, d := range list {
		b = Append(b, d)
	}
	rest := b
	for _, want := range list {
		got, n, err := Parse(rest)
		if err != nil || got != want {
			t.Fatalf("got %+v, %v, want %+v", got, err, want)
		}
		rest = rest[n:]
	}
	if len(rest) != 0 {
		t.Errorf("%d bytes are left", len(rest))
	}
	one := Append(nil, list[0])
	for end := range one {
		if _, _, err := Parse(one[:end]); !errors.Is(err, ErrEntry) {
			t.Errorf("the first %d bytes: got %v, want %v", end, err, ErrEntry)
		}
	}
}

// FuzzParse: no input causes a panic, and what Parse reads is encoded in the same way.
func FuzzParse(f *testing.F) {
	f.Add(Append(nil, Entry{User, "alice", time.Unix(1_800_000_000, 0)}))
	f.Add([]byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1})
	f.Fuzz(func(t *testing.T, b []byte) {
		d, n, err := Parse(b)
		if err != nil {
			return
		}
		if again, _, err := Parse(Append(nil, d)); err != nil || again != d || n > len(b) {
			t.Errorf("got %+v, %v, want %+v", again, err, d)
		}
	})
}
