package redisplane_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/expedite-go/expedite/backplane"
	"github.com/expedite-go/expedite/backplane/redisplane"
	"github.com/expedite-go/expedite/internal/redistest"
)

// TestDirectoryOfTwoServers: a server that fails takes no machine along, and what it did not hear it hears later.
func TestDirectoryOfTwoServers(t *testing.T) {
	one, two := redistest.Start(t), redistest.Start(t)
	r := newRedis(t, redisplane.Config{}, one.URL(), two.URL())
	defer r.Close()
	r.Start(nil)
	announce := func(name string) (known int, err error) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		return r.Announce(ctx, backplane.Machine{Name: name, About: []byte(name)}, time.Hour)
	}
	names := func() string {
		list, err := r.Machines(t.Context())
		if err != nil {
			return err.Error()
		}
		var all []string
		for _, m := range list {
			all = append(all, string(m.About))
		}
		return strings.Join(all, " ")
	}
	redistest.Until(t, "both servers know it", func() bool {
		_, err := announce("a")
		return err == nil && one.Do("ZCARD", "expedite:{machines}:leases") == "1" &&
			two.Do("ZCARD", "expedite:{machines}:leases") == "1"
	})
	one.Kill()
	if known, err := announce("b"); err != nil || known != 2 {
		t.Errorf("without one server: got %d machines, %v; want 2", known, err)
	}
	if got := names(); got != "a b" {
		t.Errorf("without one server: got %q, want a b", got)
	}
	two.Kill()
	if known, err := announce("b"); err == nil {
		t.Errorf("without servers: got %d machines", known)
	}
	if got, err := r.Machines(t.Context()); err == nil {
		t.Errorf("without servers: got %v", got)
	}
	one.Restart() // empty
	redistest.Until(t, "it is announced again", func() bool {
		known, err := announce("b")
		return err == nil && known == 1 && names() == "b"
	})
}

// TestDirectoryIsFull: a machine too many is refused, and those that are known stay.
func TestDirectoryIsFull(t *testing.T) {
	s := redistest.Start(t)
	r := newRedis(t, redisplane.Config{}, s.URL())
	defer r.Close()
	r.Start(nil)
	for _, part := range []string{"1", "2", "3", "4"} {
		s.Do("EVAL", `for i = 1, 1024 do redis.call('ZADD', KEYS[1], 1e15, ARGV[1] .. i) end`, "1",
			"expedite:{machines}:leases", part+"-")
	}
	announce := func(name string) (err error) {
		redistest.Until(t, "Redis answers", func() bool {
			_, err = r.Announce(t.Context(), backplane.Machine{Name: name}, time.Hour)
			return err == nil || !strings.Contains(err.Error(), "unavailable")
		})
		return err
	}
	if err := announce("one more"); err == nil || !strings.Contains(err.Error(), "4,096") {
		t.Errorf("got %v, want that there are 4,096 machines", err)
	}
	if err := announce("1-1"); err != nil {
		t.Errorf("one that is known: %v", err)
	}
}
