package traffic

import (
	"fmt"
	"testing"

	"github.com/expedite-go/expedite/internal/control"
	"github.com/expedite-go/expedite/internal/redistest"
)

// TestReloadWhileRedisIsAway checks that session values written during a Redis outage are stored after it, even if the
// worker that accepted them has been replaced meanwhile. The same applies to sessions created during the outage.
func TestReloadWhileRedisIsAway(t *testing.T) {
	t.Parallel()
	redis := redistest.Start(t, "--appendonly", "yes", "--appendfsync", "always")
	s := launch(t, "", serverConfig{Workers: 2, Redis: redis.URL()})
	before := s.call(6, func(int) string { return pathNote })
	redis.Kill()
	meanwhile := s.call(6, func(int) string { return pathNote })
	write := func(f *callers, which, want string) {
		t.Helper()
		for i, c := range f.list {
			if err := c.exchange(fmt.Sprintf("%s of %d", which, i), want); err != nil {
				t.Errorf("the %s note of %d: %v", which, i, err)
			}
		}
	}
	write(before, "first", noteDeferred)
	write(meanwhile, "first", noteStored) // stored in the primary
	write(before, "second", noteDeferred)
	for range 2 {
		if res, err := s.reload(control.ReloadRequest{}); err != nil || res.Moved != 12 || res.Failed+res.Drained != 0 {
			t.Errorf("reload: got %+v, %v, want 12 moved", res, err)
		}
	}
	write(meanwhile, "last", noteStored)
	redis.Restart()
	until(t, "the end of the outage", func() bool { return !s.status().Sessions.Degraded })
	for i, c := range before.list {
		until(t, "the stored note", func() bool {
			if err := c.say(""); err != nil {
				t.Fatal(err)
			}
			got, err := c.hear()
			return err == nil && got == fmt.Sprintf("second of %d", i)
		})
	}
	for i, c := range meanwhile.list {
		if err := c.exchange("", fmt.Sprintf("last of %d", i)); err != nil {
			t.Errorf("session %d, created during the outage: %v", i, err)
		}
	}
	if keys := redis.Do("KEYS", "*:s:*"); keys == "" {
		t.Error("no session is in Redis")
	}
}
