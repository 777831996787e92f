package traffic

import (
	"fmt"
	"testing"

	"github.com/expedite-go/expedite/internal/control"
)

// TestMovedConnectionIsTheSame checks that a move preserves id, query, subscriptions and the application's state of a
// connection.
func TestMovedConnectionIsTheSame(t *testing.T) {
	t.Parallel()
	s := launch(t, "", serverConfig{Workers: 2})
	users := s.call(10, func(int) string { return pathUser })
	counters := s.call(10, func(int) string { return pathCount })
	// Two clients on each of five topics. They publish to the topic of their query and receive through their
	// subscription.
	topical := s.call(10, func(i int) string { return fmt.Sprintf("%s?topic=t%d", pathTopic, i/2) })
	ids := make([]string, len(users.list))
	for i, c := range users.list {
		var err error
		if ids[i], err = c.hear(); err != nil {
			t.Fatal(err)
		}
	}
	number := 0
	same := func(when string) {
		t.Helper()
		number++
		for i, c := range users.list {
			// Send to itself and to another client.
			for to := i; to <= i+1; to++ {
				to := to % len(ids)
				m := fmt.Sprintf(`{"to":%q,"text":"%d from %d"}`, ids[to], number, i)
				if err := c.say(m); err != nil {
					t.Errorf("%s: user %d: %v", when, i, err)
				}
				if got, err := users.list[to].hear(); err != nil || got != m {
					t.Errorf("%s: user %d: got %q, %v, want %q", when, to, got, err, m)
				}
			}
		}
		for i, c := range counters.list {
			if err := c.exchange("x", fmt.Sprintf("%d opens=1 x", number)); err != nil {
				t.Errorf("%s: counter %d: %v", when, i, err)
			}
		}
		for i, c := range topical.list {
			m := fmt.Sprintf("%d from %d", number, i)
			if err := c.say(m); err != nil {
				t.Errorf("%s: subscriber %d: %v", when, i, err)
			}
			for _, one := range topical.list[i/2*2 : i/2*2+2] {
				if got, err := one.hear(); err != nil || got != m {
					t.Errorf("%s: topic of %d: got %q, %v, want %q", when, i, got, err, m)
				}
			}
		}
	}
	same("before")
	for _, step := range []struct {
		name string
		do   func() (control.Result, error)
	}{
		{"reload", func() (control.Result, error) { return s.reload(control.ReloadRequest{}) }},
		{"scale to 4", func() (control.Result, error) { return s.scale(4) }},
		{"scale to 1", func() (control.Result, error) { return s.scale(1) }},
		{"another reload", func() (control.Result, error) { return s.reload(control.ReloadRequest{}) }},
	} {
		if res, err := step.do(); err != nil || res.Failed+res.Drained != 0 || res.Moved == 0 {
			t.Errorf("%s: got %+v, %v, want some moved and none failed", step.name, res, err)
		}
		same("after " + step.name)
	}
}
