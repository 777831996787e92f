package main

import (
	"context"
	"encoding/json"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/expedite-go/expedite/internal/control"
	"github.com/expedite-go/expedite/internal/redistest"
)

// TestSessionsUnderRaces checks, with several workers and with Redis, that as many sessions of a user stay connected as
// permitted, and that a session that many clients resume at once has one connection in the end.
func TestSessionsUnderRaces(t *testing.T) {
	t.Parallel()
	for name, more := range map[string][]string{
		"memory": nil, "redis": {"--redis", redistest.Start(t).URL()},
	} {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), 2*patience)
			defer cancel()
			s := serveSecret(t, append(more, "--workers", "2", "--max-sessions-per-user", "2")...)
			s.crowd(ctx, 40, 2, func(i int) string {
				return "/?access_token=" + tokenFor(t, "alice", fmt.Sprint(i), time.Hour, nil)
			})
			first := s.mustDial(ctx, "/?access_token="+tokenFor(t, "bob", "b", time.Hour, nil))
			s.crowd(ctx, 30, 1, func(i int) string {
				return "/?access_token=" + tokenFor(t, "bob", fmt.Sprint(i), time.Hour, nil) +
					"&session=" + first.hello.Session.String()
			})
			for user, want := range map[string]int{"alice": 2, "bob": 1} {
				if got := s.connected(user); got != want {
					t.Errorf("%s: %d sessions are connected, want %d", user, got, want)
				}
			}
		})
	}
}

// crowd connects clients at once, and waits until all but a number of them have been closed.
func (s *server) crowd(ctx context.Context, clients, left int, target func(i int) string) {
	s.t.Helper()
	ended := make(chan struct{}, clients)
	var coming sync.WaitGroup
	for i := range clients {
		path := target(i)
		coming.Add(1)
		go func() { // ends with the connection, at the latest with the test's context
			conn, _, err := websocket.Dial(ctx, "ws://"+s.addr+path, nil)
			coming.Done()
			for err == nil {
				_, _, err = conn.Read(ctx)
			}
			if websocket.CloseStatus(err) >= 4000 {
				ended <- struct{}{}
			}
		}()
	}
	coming.Wait()
	for n := range clients - left {
		select {
		case <-ended:
		case <-time.After(patience):
			s.t.Fatalf("%d of %d connections were closed, want all but %d", n, clients, left)
		}
	}
	if len(ended) > 0 {
		s.t.Errorf("%d of %d connections are left, want %d", left-len(ended), clients, left)
	}
}

// connected returns the number of connected sessions of a user.
func (s *server) connected(user string) (n int) {
	s.t.Helper()
	out, err := s.expedite("sessions", "--user", user, "--json")
	var list control.SessionList
	if err == nil {
		err = json.Unmarshal([]byte(out), &list)
	}
	if err != nil {
		s.t.Fatalf("sessions: %v: %s", err, out)
	}
	for _, one := range list.Sessions {
		if one.Connected {
			n++
		}
	}
	return n
}
