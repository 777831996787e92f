package auth

import (
	"errors"
	"strings"
	"testing"
	"time"
)

// TestDenialCodec: what is written is read, one behind the other, and what is cut off is an error.
func TestDenialCodec(t *testing.T) {
	list := []Denial{
		{DenyUser, "alice", time.Unix(1_800_000_000, 0)},
		{DenyToken, strings.Repeat("\x01", maxDenialValue), time.Unix(1, 0)},
		{DenySession, "s", time.Unix(-5, 0)},
	}
	var b []byte
	for _, d := range list {
		b = AppendDenial(b, d)
	}
	rest := b
	for _, want := range list {
		got, n, err := ParseDenial(rest)
		if err != nil || got != want {
			t.Fatalf("got %+v, %v, want %+v", got, err, want)
		}
		rest = rest[n:]
	}
	if len(rest) != 0 {
		t.Errorf("%d bytes are left", len(rest))
	}
	one := AppendDenial(nil, list[0])
	for end := range one {
		if _, _, err := ParseDenial(one[:end]); !errors.Is(err, ErrDenial) {
			t.Errorf("the first %d bytes: got %v, want %v", end, err, ErrDenial)
		}
	}
}

// FuzzParseDenial: no bytes make it panic, and what it reads is written the same.
func FuzzParseDenial(f *testing.F) {
	f.Add(AppendDenial(nil, Denial{DenyUser, "alice", time.Unix(1_800_000_000, 0)}))
	f.Add([]byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1})
	f.Fuzz(func(t *testing.T, b []byte) {
		d, n, err := ParseDenial(b)
		if err != nil {
			return
		}
		if again, _, err := ParseDenial(AppendDenial(nil, d)); err != nil || again != d || n > len(b) {
			t.Errorf("got %+v, %v, want %+v", again, err, d)
		}
	})
}
