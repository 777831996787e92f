package cluster

import (
	"encoding/json"
	"testing"
)

// FuzzParseMove: an order that is accepted has one meaning, which survives being written again.
func FuzzParseMove(f *testing.F) {
	f.Add(Move{ID: 1, Count: -1, Leave: true}.append(nil))
	f.Add(Move{ID: 1 << 63, Count: 7, Cross: true}.append(nil))
	f.Add(make([]byte, moveHeader))
	f.Fuzz(func(t *testing.T, b []byte) {
		m, ok := parseMove(b)
		if ok != (len(b) == moveHeader+10) {
			t.Fatalf("parseMove(%x) = %v", b, ok)
		}
		if !ok {
			return
		}
		if again, ok := parseMove(m.append(nil)); !ok || again != m {
			t.Fatalf("got %+v, want %+v", again, m)
		}
	})
}

// FuzzParseResult checks that invalid reports are errors and count nothing.
func FuzzParseResult(f *testing.F) {
	f.Add([]byte(`{"moved":3,"error":"no room"}`))
	f.Add([]byte(`{"moved":"x"}`))
	f.Add([]byte(""))
	f.Fuzz(func(t *testing.T, b []byte) {
		r := parseResult(b)
		if !json.Valid(b) && r.Error == "" {
			t.Fatalf("parseResult(%q) = %+v, want an error", b, r)
		}
	})
}
