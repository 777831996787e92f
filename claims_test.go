package expedite

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/expedite-go/expedite/auth"
	"github.com/expedite-go/expedite/session"
	"github.com/expedite-go/expedite/ws"
)

// member is one of a crowd; err is what it heard in place of a greeting.
type member struct {
	*guest
	err error
}

// crowdOf lets clients connect at once, and returns them.
func crowdOf(t *testing.T, d *door, clients int, target func(i int) string) []member {
	t.Helper()
	guests := make([]member, clients)
	var wg sync.WaitGroup
	for i := range guests {
		wg.Go(func() {
			g, _, err := d.dial(target(i), nil)
			if _, closed := errors.AsType[websocket.CloseError](err); err != nil && !closed {
				t.Errorf("client %d: %v", i, err)
			}
			guests[i] = member{g, err}
		})
	}
	wg.Wait()
	return guests
}

// wantLeft waits until all but some have been closed with a code, and checks that those are served.
func wantLeft(t *testing.T, guests []member, left int, code ws.CloseCode) {
	t.Helper()
	ended := make(chan int, len(guests))
	for i, g := range guests {
		go func() { // ends with the connection, at the latest when the test closes it
			err := g.err
			if err == nil {
				_, _, err = g.conn.Read(context.Background())
			}
			if websocket.CloseStatus(err) == websocket.StatusCode(code) {
				ended <- i
			}
		}()
	}
	gone := make(map[int]bool)
	deadline := time.After(patience)
	for len(gone) < len(guests)-left {
		select {
		case i := <-ended:
			gone[i] = true
		case <-deadline:
			t.Fatalf("%d of %d connections were closed with %d, want all but %d", len(gone), len(guests), code, left)
		}
	}
	for i, g := range guests {
		if !gone[i] {
			if err := g.conn.Ping(t.Context()); err != nil {
				t.Errorf("client %d, which may stay: %v", i, err)
			}
		}
	}
	if len(ended) > 0 {
		t.Error("more were closed than should be")
	}
}

// TestSessionLimitOfManyAtOnce: however many connections of a user come at once, as many stay as may.
func TestSessionLimitOfManyAtOnce(t *testing.T) {
	for round := range 3 {
		d := openDoor(t, Config{Sessions: Sessions{MaxPerUser: 2}})
		guests := crowdOf(t, d, 40, func(i int) string { return fmt.Sprintf("/?access_token=alice/%d.%d/99", round, i) })
		wantLeft(t, guests, 2, CloseTooMany)
	}
}

// TestResumptionByManyAtOnce: of many connections that resume a session at once, one keeps it.
func TestResumptionByManyAtOnce(t *testing.T) {
	for range 3 {
		d := openDoor(t, Config{})
		first := d.enter("/?access_token=alice/1/99")
		guests := crowdOf(t, d, 30, func(i int) string {
			return fmt.Sprintf("/?access_token=alice/%d/99&session=%v", i, first.Session)
		})
		wantLeft(t, append(guests, member{guest: first}), 1, CloseReplaced)
	}
}

// slowDoor is a door whose /slow lets nobody in before the test says so.
func slowDoor(t *testing.T, cfg Config) (d *door, coming <-chan struct{}, let chan<- struct{}) {
	t.Helper()
	in, out := make(chan struct{}), make(chan struct{})
	d = openDoor(t, cfg, func(a *App) {
		a.Handle("/slow", Handler{
			Session: true, Open: func(c *Conn) { c.Send(Text("{}")) },
			Authorize: func(*http.Request, *auth.Identity) error {
				in <- struct{}{}
				<-out
				return nil
			},
		})
	})
	return d, in, out
}

// arrival is how a client of slowDoor fares.
type arrival struct {
	*guest
	status int // of a refusal
	err    error
}

func (d *door) arrive(target string) <-chan arrival {
	done := make(chan arrival, 1)
	go func() { // ends when it is let in or refused
		g, resp, err := d.dial(target, nil)
		a := arrival{guest: g, err: err}
		if resp != nil {
			a.status = resp.StatusCode
		}
		done <- a
	}()
	return done
}

// TestRefusedClientTakesNothing: a client that is refused at last, when its token and its session were good, has
// neither closed another connection of its user nor taken its session.
func TestRefusedClientTakesNothing(t *testing.T) {
	for name, resume := range map[string]bool{"a new session": false, "the session of another connection": true} {
		d, coming, let := slowDoor(t, Config{MaxConnections: 2, Sessions: Sessions{MaxPerUser: 1}})
		alice := d.enter("/?access_token=alice/1/99")
		target := "/slow?access_token=alice/2/99"
		if resume {
			target += "&session=" + alice.Session.String()
		}
		late := d.arrive(target)
		<-coming
		d.enter("/?access_token=bob/1/99") // takes the last place
		let <- struct{}{}
		if a := <-late; a.status != http.StatusServiceUnavailable {
			t.Errorf("%s: got %d, %v, want 503", name, a.status, a.err)
		}
		if got := alice.ask("set k v"); got != "done" {
			t.Errorf("%s: the good connection's session: got %q", name, got)
		}
		store := d.app.role.Load().worker.Tracker().Store
		until(t, "only the good session is left", func() bool {
			list, err := store.List(t.Context(), "alice", session.Page{})
			return err == nil && len(list) == 1 && list[0].ID == alice.Session &&
				list[0].Place.Conn == uint64(alice.Conn)
		})
	}
}

// TestExpiredWhileAuthorized: a token that expires while Authorize thinks closes no other connection.
func TestExpiredWhileAuthorized(t *testing.T) {
	d, coming, let := slowDoor(t, Config{Sessions: Sessions{MaxPerUser: 1}})
	alice := d.enter("/?access_token=alice/1/99")
	late := d.arrive("/slow?access_token=alice/2/2") // long enough to get as far as Authorize
	select {
	case <-coming:
	case a := <-late:
		t.Fatalf("it did not come to Authorize: %d, %v", a.status, a.err)
	}
	end := time.Now().Add(2 * time.Second)
	until(t, "the token has expired", func() bool { return time.Now().After(end) })
	let <- struct{}{}
	if a := <-late; a.status != http.StatusUnauthorized {
		t.Errorf("got %d, %v, want 401", a.status, a.err)
	}
	if got := alice.ask("get k"); got != "" {
		t.Errorf("the good connection: got %q", got)
	}
}

// TestOrdersReachOpeningConnections: what is ordered while a connection opens holds when it is open.
func TestOrdersReachOpeningConnections(t *testing.T) {
	d, coming, let := slowDoor(t, Config{})
	spare := session.NewID("")
	for _, tt := range []struct {
		name  string
		order func(ctx context.Context) (int, error)
		code  ws.CloseCode // 0: it stays
	}{
		{"kick its user", func(ctx context.Context) (int, error) {
			return d.app.Kick(ctx, Who{User: "alice"}, "out")
		}, CloseKicked},
		{"kick its token", func(ctx context.Context) (int, error) {
			return d.app.Kick(ctx, Who{TokenID: "t1"}, "out")
		}, CloseKicked},
		{"kick others", func(ctx context.Context) (int, error) {
			if _, err := d.app.Kick(ctx, Who{User: "bob"}, "out"); err != nil {
				return 0, err
			}
			return d.app.Kick(ctx, Who{Session: spare}, "out")
		}, 0},
		{"revoke its token", func(ctx context.Context) (int, error) {
			return d.app.Revoke(ctx, Who{TokenID: "t1"}, time.Hour)
		}, CloseUnauthorized},
	} {
		done := d.arrive("/slow?access_token=alice/t1/99")
		<-coming
		if _, err := tt.order(t.Context()); err != nil {
			t.Errorf("%s: %v", tt.name, err)
		}
		let <- struct{}{}
		a := <-done
		if a.guest == nil {
			t.Fatalf("%s: %d, %v", tt.name, a.status, a.err)
		}
		if tt.code == 0 {
			if err := a.conn.Write(t.Context(), websocket.MessageText, []byte("x")); a.err != nil || err != nil {
				t.Errorf("%s: %v, %v, want it to stay", tt.name, a.err, err)
			}
			_ = a.conn.CloseNow()
			continue
		}
		if got := websocket.CloseStatus(a.err); got != websocket.StatusCode(tt.code) {
			t.Errorf("%s: got %v, want close code %d", tt.name, a.err, tt.code)
		}
	}
	again := d.arrive("/slow?access_token=alice/t2/99") // orders of before do not mean it
	<-coming
	let <- struct{}{}
	if a := <-again; a.err != nil {
		t.Errorf("a connection that came after the orders: %v", a.err)
	}
}

// TestAnonymousSessionsDoNotPileUp: clients that come and go leave nothing; one that has said something keeps its
// session for a while, and one that has stored a value as long as anybody.
func TestAnonymousSessionsDoNotPileUp(t *testing.T) {
	d := openDoor(t, Config{Sessions: Sessions{EmptyTTL: 3 * time.Second}})
	stats := d.app.role.Load().control.Registry().Stats
	for range 100 {
		_ = d.enter("/").conn.CloseNow()
	}
	until(t, "those who came and went have left nothing", func() bool { return stats().Sessions == 0 })
	if got := stats().Discarded; got != 100 {
		t.Errorf("%d were counted, want 100", got)
	}
	spoke, stored := d.enter("/"), d.enter("/")
	spoke.ask("get x")
	stored.ask("set k v")
	for _, g := range []*guest{spoke, stored} {
		_ = g.conn.CloseNow()
	}
	until(t, "both are disconnected", func() bool { return stats().Connected == 0 })
	if got := stats().Sessions; got != 2 {
		t.Errorf("%d sessions are left, want both", got)
	}
	if again := d.enter("/?session=" + spoke.Session.String()); !again.Resumed {
		t.Error("the one that has said something is not resumed")
	} else {
		_ = again.conn.CloseNow()
	}
	until(t, "the one without a value is gone", func() bool { return stats().Sessions == 1 })
	if again := d.enter("/?session=" + stored.Session.String()); !again.Resumed || again.ask("get k") != "v" {
		t.Error("the one with a value is not resumed with it")
	}
}

// until waits until ok.
func until(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !ok(); {
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain until %s", what)
		}
		<-time.After(5 * time.Millisecond)
	}
}
