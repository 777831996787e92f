package main

import (
	"context"
	"encoding/json"
	"slices"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/expedite-go/expedite/internal/control"
	"github.com/expedite-go/expedite/internal/lobby"
	"github.com/expedite-go/expedite/internal/redistest"
)

// onlooker is a client of the lobby that notes who comes and goes, but for itself.
type onlooker struct {
	*client
	t      *testing.T
	user   string
	mu     sync.Mutex
	events []string
}

// onlook connects a user who notes what happens until the connection ends.
func onlook(ctx context.Context, t *testing.T, s *server, user string) *onlooker {
	t.Helper()
	o := &onlooker{client: visitLobby(ctx, t, s, user), t: t, user: user}
	go func() { // ends with the connection
		for {
			_, b, err := o.Read(ctx)
			if err != nil {
				return
			}
			var e lobby.Event
			if json.Unmarshal(b, &e) == nil && e.Member.User != user {
				o.mu.Lock()
				o.events = append(o.events, e.Type+" "+e.Member.User)
				o.mu.Unlock()
			}
		}
	}()
	return o
}

// visitLobby connects a user.
func visitLobby(ctx context.Context, t *testing.T, s *server, user string) *client {
	t.Helper()
	return s.mustDial(ctx, "/?access_token="+tokenFor(t, user, "", time.Hour, nil))
}

// want waits until something was told, and checks that nothing else was.
func (o *onlooker) want(events ...string) {
	o.t.Helper()
	var got []string
	for deadline := time.Now().Add(patience); len(got) < len(events) && time.Now().Before(deadline); {
		<-time.After(10 * time.Millisecond)
		o.mu.Lock()
		got = slices.Clone(o.events)
		o.mu.Unlock()
	}
	if !slices.Equal(got, events) {
		o.t.Fatalf("%s: got %q, want %q", o.user, got, events)
	}
}

// TestPresenceOfMachines: a user with tabs on two machines is one member: it comes once and goes once, whatever happens
// to the machines and to Redis meanwhile.
func TestPresenceOfMachines(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), 6*patience)
	defer cancel()
	redis := redistest.Start(t)
	args := []string{"--workers", "2", "--redis", redis.URL(), "--presence", "lobby", "--presence-lease", "4s"}
	one, two := serveSecret(t, args...), serveSecret(t, args...)
	alice := onlook(ctx, t, one, "alice")
	present := func(m *server, members int64) {
		t.Helper()
		m.await("its members are known", func(st control.Status) bool {
			return st.Presence != nil && st.Presence.Members == members && !st.Presence.Degraded
		})
	}
	present(one, 1)
	bob := onlook(ctx, t, two, "bob")
	alice.want("join bob")
	here, there := visitLobby(ctx, t, one, "carol"), visitLobby(ctx, t, two, "carol")
	alice.want("join bob", "join carol")
	bob.want("join carol")
	var reloads sync.WaitGroup
	for _, m := range []*server{one, two} {
		reloads.Go(func() {
			if out, err := m.expedite("reload", "--canary", "0s"); err != nil {
				t.Errorf("reload: %v\n%s", err, out)
			}
		})
	}
	reloads.Wait()
	for _, m := range []*server{one, two} {
		if st := m.await("all workers serve", allReady); st.Generation != 2 {
			t.Errorf("generation %d, want 2", st.Generation)
		}
		present(m, 2)
	}
	_ = here.CloseNow()
	present(one, 1) // and on the other machine she stays
	visitLobby(ctx, t, one, "dave")
	bob.want("join carol", "join dave")
	_ = there.CloseNow()
	alice.want("join bob", "join carol", "join dave", "leave carol")
	redis.Do("FLUSHALL")
	eventually(t, "the members are in Redis again", func() bool {
		return redis.Do("HLEN", "expedite:presence:{expedite:0:lobby}:m") == "3"
	})
	visitLobby(ctx, t, two, "erin")
	bob.want("join carol", "join dave", "leave carol", "join erin")
	alice.want("join bob", "join carol", "join dave", "leave carol", "join erin") // else it may be lost with Redis
	redis.Kill()
	redis.Restart()
	visitLobby(ctx, t, one, "frank")
	bob.want("join carol", "join dave", "leave carol", "join erin", "join frank")
	two.signal(syscall.SIGKILL)
	killed := time.Now()
	alice.want("join bob", "join carol", "join dave", "leave carol", "join erin", "join frank")
	eventually(t, "the members of the other machine have gone", func() bool {
		return redis.Do("HLEN", "expedite:presence:{expedite:0:lobby}:m") == "3"
	})
	t.Logf("the members of a machine that died were gone after %v", time.Since(killed))
	eventually(t, "alice is told of both", func() bool {
		alice.mu.Lock()
		defer alice.mu.Unlock()
		return len(alice.events) == 8 && slices.Contains(alice.events, "leave bob") && slices.Contains(alice.events, "leave erin")
	})
}
