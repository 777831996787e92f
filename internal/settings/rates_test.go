package settings

import (
	"testing"

	"github.com/expedite-go/expedite"
)

// TestEventRate checks which texts are rates.
func TestEventRate(t *testing.T) {
	for text, want := range map[string]expedite.EventRate{
		"50/100": {PerSecond: 50, Burst: 100}, "0.5/1": {PerSecond: 0.5, Burst: 1}, "off": {},
		"5": {PerSecond: 5},
	} {
		var got expedite.EventRate
		if err := eventRate(&got).set([]string{text}); err != nil || got != want {
			t.Errorf("%s: got %v, %v; want %v", text, got, err, want)
		}
	}
	for _, text := range []string{"", "5/", "/5", "0/5", "-1/5", "5/0", "5/-1", "5/1.5", "inf/5", "nan/5", "5/5/5", "5s/5"} {
		var got expedite.EventRate
		if err := eventRate(&got).set([]string{text}); err == nil {
			t.Errorf("%q: got %v, want an error", text, got)
		}
	}
}

// TestSmallSize checks that a size that does not fit is an error.
func TestSmallSize(t *testing.T) {
	var got int
	if err := smallSize(&got).set([]string{"16KiB"}); err != nil || got != 16<<10 {
		t.Errorf("got %d, %v", got, err)
	}
	for _, text := range []string{"2GiB", "0B", "16"} {
		if err := smallSize(&got).set([]string{text}); err == nil {
			t.Errorf("%s: got no error", text)
		}
	}
}
