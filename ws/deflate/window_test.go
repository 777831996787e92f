package deflate

import (
	"strings"
	"testing"
)

func TestWindow(t *testing.T) {
	rows := []struct {
		name   string
		append []string
		want   string
	}{
		{"nothing", nil, ""},
		{"less than its size", []string{"abc", "de"}, "abcde"},
		{"exactly its size", []string{"abc", "defgh"}, "abcdefgh"},
		{"the oldest bytes go first", []string{"abcd", "efgh", "ij"}, "cdefghij"},
		{"a message larger than the size", []string{"abcd", "0123456789"}, "23456789"},
		{"a message of exactly the size", []string{"abcd", "01234567"}, "01234567"},
		{"empty messages", []string{"", "ab", ""}, "ab"},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			var w Window
			for _, p := range row.append {
				w.Append([]byte(p), 8)
			}
			if got := string(w.Bytes()); got != row.want || w.Cap() > 8 {
				t.Errorf("got %q in %d bytes, want %q in at most 8", got, w.Cap(), row.want)
			}
		})
	}
}

func TestWindowOfAShortHistoryIsSmall(t *testing.T) {
	var w Window
	w.Append([]byte(strings.Repeat("x", 300)), 32<<10)
	if w.Cap() > 600 {
		t.Errorf("got %d bytes for a history of 300", w.Cap())
	}
	w.Reset()
	if w.Cap() != 0 || len(w.Bytes()) != 0 {
		t.Errorf("got %d bytes after Reset, want none", w.Cap())
	}
}

// TestFullWindowDoesNotAllocate: each message would cost as much as the window has bytes.
func TestFullWindowDoesNotAllocate(t *testing.T) {
	var w Window
	p := make([]byte, 100)
	for w.Cap() < 1000 {
		w.Append(p, 1000)
	}
	got := testing.AllocsPerRun(100, func() { w.Append(p, 1000) })
	if got != 0 || w.Cap() != 1000 {
		t.Errorf("got %v allocations, %d bytes, want none, 1000", got, w.Cap())
	}
}
