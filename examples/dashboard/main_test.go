package main

import (
	"testing"
	"time"

	"github.com/expedite-go/expedite"
	"github.com/expedite-go/expedite/expeditetest"
)

func start(t *testing.T, period time.Duration) *expeditetest.Server {
	return expeditetest.Start(t, func(cfg expedite.Config) (*expedite.App, error) { return setup(cfg, period) })
}

func TestSamples(t *testing.T) {
	t.Parallel()
	c := start(t, time.Millisecond).Dial("/live")
	var before, s sample
	c.ReceiveJSON(&before)
	for s.Values["viewers"] != 1 { // the first ones may be from before this client
		s = sample{}
		c.ReceiveJSON(&s)
		if s.Host == "" || !s.Time.After(before.Time) || s.Values["goroutines"] == 0 {
			t.Fatalf("got %+v after %+v", s, before)
		}
		before = s
	}
}

// TestLatestFirst: who comes between two samples gets the latest one at once.
func TestLatestFirst(t *testing.T) {
	t.Parallel()
	s := start(t, time.Hour)
	var one, two sample
	s.Dial("/live").ReceiveJSON(&one)
	s.Dial("/live").ReceiveJSON(&two)
	if one.Time.IsZero() || !one.Time.Equal(two.Time) {
		t.Errorf("got samples of %v and %v, want the same one", one.Time, two.Time)
	}
}

func TestOnlyToLookAt(t *testing.T) {
	t.Parallel()
	c := start(t, time.Hour).Dial("/live")
	c.Send("hello")
	if code, reason := c.Closed(); code != 1008 {
		t.Errorf("got %d %q, want 1008", code, reason)
	}
}
