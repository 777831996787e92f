package ratchet_test

import (
	"slices"
	"testing"
	"time"

	"github.com/expedite-go/expedite/internal/ratchet"
)

// TestRatchet: tickets of a day are good for that day and the next one, also where the clock is a little ahead, and an
// earlier key cannot be found later.
func TestRatchet(t *testing.T) {
	now := time.Date(2026, 1, 2, 23, 59, 0, 0, time.UTC)
	r := ratchet.New(now)
	other, err := ratchet.Parse(r.Append(nil))
	if err != nil {
		t.Fatal(err)
	}
	has := slices.Contains[[][32]byte]
	today := r.Keys(now, nil)
	ahead := other.Keys(now.Add(2*time.Minute), nil) // the next day
	if today[0] == ahead[0] || !has(today, ahead[0]) || !has(ahead, today[0]) {
		t.Error("a server that is ahead by two minutes has other keys")
	}
	if has(r.Keys(now, []byte("other authorities")), today[0]) {
		t.Error("the context does not matter")
	}
	if keys := r.Keys(now.Add(48*time.Hour), nil); has(keys, today[0]) {
		t.Error("a key of the day before yesterday is accepted")
	}
	if keys := r.Keys(now, nil); has(keys, today[0]) { // the clock went back
		t.Error("an earlier key was found")
	}
	if _, err := ratchet.Parse([]byte("short")); err == nil {
		t.Error("not a ratchet")
	}
}
