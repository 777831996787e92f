package registry

import (
	"testing"
	"time"
)

// TestDrainIsTold: workers are told of each change of a drain once, with the time that is left; those that start later
// are told of the latest one, without the notice.
func TestDrainIsTold(t *testing.T) {
	s := newServer(t, "")
	_, first, early := join(t, s)
	s.SetDrain(Drain{Number: 1, Unready: true})
	s.SetDrain(Drain{Number: 2, Unready: true, Close: true, By: time.Now().Add(time.Hour), Notice: "bye"})
	s.SetDrain(Drain{Number: 2, Unready: true, Close: true, By: time.Now().Add(time.Hour)}) // by the next program
	if err := first.greet(); err != nil {
		t.Fatal(err)
	}
	_, _, late := join(t, s)
	for name, got := range map[string][]Drain{"early": early.drains, "late": late.drains} {
		last := got[len(got)-1]
		if left := time.Until(last.By); last.Number != 2 || !last.Close || left < 59*time.Minute || left > time.Hour {
			t.Errorf("%s: got %+v", name, last)
		}
		if (last.Notice == "bye") != (name == "early") {
			t.Errorf("%s: got the notice %q", name, last.Notice)
		}
	}
	if len(early.drains) != 2 || len(late.drains) != 1 {
		t.Errorf("told %d and %d times, want 2 and 1", len(early.drains), len(late.drains))
	}
}
