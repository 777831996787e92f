package resource

import (
	"testing"
	"time"
)

// TestIdleTickerIntervals: an idle worker reports at least three times within the hang timeout.
func TestIdleTickerIntervals(t *testing.T) {
	tests := []struct{ hang, busy, idle time.Duration }{
		{0, time.Second, 10 * time.Second},
		{-1, time.Second, 10 * time.Second},
		{time.Minute, time.Second, 10 * time.Second},
		{15 * time.Second, time.Second, 5 * time.Second},
		{1500 * time.Millisecond, 500 * time.Millisecond, 500 * time.Millisecond},
		{time.Millisecond, 100 * time.Millisecond, 100 * time.Millisecond},
	}
	for _, tt := range tests {
		ticker := NewIdleTicker(tt.hang)
		if got := ticker.Next(true); got != tt.busy {
			t.Errorf("hang timeout %v: got a busy interval of %v, want %v", tt.hang, got, tt.busy)
		}
		if got := ticker.Next(false); got != tt.idle {
			t.Errorf("hang timeout %v: got an idle interval of %v, want %v", tt.hang, got, tt.idle)
		}
	}
}

// TestIdleTickerWake: only the first Wake after a tick without activity ends a sleep.
func TestIdleTickerWake(t *testing.T) {
	ticker := NewIdleTicker(0)
	ticker.Wake()
	if n := len(ticker.Woken()); n != 0 || ticker.Asleep() {
		t.Errorf("new: got %d values and asleep %t, want none and false", n, ticker.Asleep())
	}
	ticker.Next(false)
	if !ticker.Asleep() {
		t.Error("not asleep after a tick without activity")
	}
	ticker.Wake()
	ticker.Wake()
	if n := len(ticker.Woken()); n != 1 || ticker.Asleep() {
		t.Errorf("woken: got %d values and asleep %t, want one and false", n, ticker.Asleep())
	}
}
