package engine

import (
	"testing"
	"time"
)

// TestTicker: a ticker continues, and changes its period with Reset.
func TestTicker(t *testing.T) {
	f := start(t, Config{}, nil)
	tick := f.NewTicker(time.Hour)
	tick.Reset(time.Millisecond)
	for range 3 {
		select {
		case <-tick.C:
		case <-time.After(patience):
			t.Fatal("no tick")
		}
	}
}
