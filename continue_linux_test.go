package expedite

import (
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/expedite-go/expedite/internal/control"
	"github.com/expedite-go/expedite/internal/redistest"
)

// roomer is a client of a room.
type roomer struct {
	*visitor
	Session string
	Resumed bool
}

func enterRoom(t *testing.T, addr, path string, query url.Values) *roomer {
	t.Helper()
	r := &roomer{visitor: talk(t, addr, path+"?"+query.Encode())}
	if err := json.Unmarshal([]byte(r.hear()), r); err != nil {
		t.Fatal(err)
	}
	r.want("subscribed")
	return r
}

// TestSessionsGoOn: a client that comes back with its session gets what it has missed, exactly once, whether the
// connection before has ended, or has not been noticed to be gone.
func TestSessionsGoOn(t *testing.T) {
	for _, workers := range []int{2, -1} {
		for _, path := range []string{"/room", "/room/inline"} {
			t.Run(fmt.Sprint(workers, path), func(t *testing.T) {
				addr, app := runApp(t, Config{Workers: workers})
				query := url.Values{"user": {"ann"}, "topic": {"kept.s"}}
				first := enterRoom(t, addr, path, query)
				publishAll(t, app, "kept.s", "z")
				first.want("1 z")
				_ = first.conn.Close(websocket.StatusNormalClosure, "")
				publishAll(t, app, "kept.s", "a")
				query.Set("session", first.Session)
				second := enterRoom(t, addr, path, query)
				if !second.Resumed || second.Session != first.Session {
					t.Fatalf("got %+v", second)
				}
				second.want("2 a")
				second.want("kept.s: ok true, missed 1")
				publishAll(t, app, "kept.s", "b")
				second.want("3 b")
				third := enterRoom(t, addr, path, query) // the second one is still open
				second.wantClosed(websocket.StatusCode(CloseReplaced))
				third.want("kept.s: ok true, missed 0")
				publishAll(t, app, "kept.s", "c")
				third.want("4 c")
				_ = third.conn.CloseNow()
				publishAll(t, app, "kept.s", "d", "e")
				fourth := enterRoom(t, addr, path, query)
				fourth.want("5 d")
				fourth.want("6 e")
				fourth.want("kept.s: ok true, missed 2")
				_ = fourth.conn.Close(websocket.StatusNormalClosure, "")
				publishAll(t, app, "kept.s", "f", "g", "h", "i", "j", "k") // one more than the topic keeps
				fifth := enterRoom(t, addr, path, query)
				fifth.want("kept.s: ok false, missed 0")
				publishAll(t, app, "kept.s", "l")
				fifth.want("13 l")
				_ = fifth.conn.Close(websocket.StatusNormalClosure, "")
				query.Set("user", "bob") // the session of another user
				other := enterRoom(t, addr, path, query)
				if other.Resumed {
					t.Error("a session was resumed by another user")
				}
				publishAll(t, app, "kept.s", "m")
				other.want("14 m")
			})
		}
	}
}

// TestStrangersGoOn: a client without a name that has only listened for a moment goes on, too.
func TestStrangersGoOn(t *testing.T) {
	addr, app := runApp(t, Config{Workers: 1})
	query := url.Values{"topic": {"kept.s"}}
	for i := range 3 {
		v := enterRoom(t, addr, "/room/inline", query)
		if v.Resumed != (i > 0) {
			t.Fatalf("visit %d: resumed %v", i, v.Resumed)
		}
		if i > 0 {
			v.want(fmt.Sprint(2*i, " between"))
			v.want("kept.s: ok true, missed 1")
		}
		publishAll(t, app, "kept.s", "here")
		v.want(fmt.Sprint(2*i+1, " here"))
		_ = v.conn.Close(websocket.StatusNormalClosure, "")
		publishAll(t, app, "kept.s", "between")
		query.Set("session", v.Session)
	}
}

// TestReservedValues: an application neither sees nor changes what a session has received.
func TestReservedValues(t *testing.T) {
	d := openDoor(t, Config{})
	g := d.enter("/?access_token=alice/1/99")
	if got := g.ask("set \x00received x"); !strings.HasPrefix(got, "error: ") {
		t.Errorf("got %q", got)
	}
	if got := g.ask("get \x00received"); got != "" {
		t.Errorf("got %q", got)
	}
}

// hearOrEnd returns the next message; false after the last one.
func (v *visitor) hearOrEnd() (text string, ok bool) {
	v.t.Helper()
	ctx, cancel := context.WithTimeout(v.t.Context(), patience)
	defer cancel()
	_, b, err := v.conn.Read(ctx)
	if err != nil {
		v.t.Logf("ended: %v", err)
	}
	return string(b), err == nil
}

// TestSlowClientGoesOn: a client that was closed because it did not read gets exactly what had not arrived.
func TestSlowClientGoesOn(t *testing.T) {
	addr, app := runApp(t, Config{Workers: 1})
	query := url.Values{"user": {"ann"}, "topic": {"long.s"}}
	first := enterRoom(t, addr, "/room/inline", query)
	padding := strings.Repeat("x", 10_000)
	const count = 3000
	for i := range count {
		publishAll(t, app, "long.s", fmt.Sprint(i+1, " ", padding))
	}
	wantStatusAfter(t, app, func(s control.Status) bool { return s.Totals.Limits["queue_close"] > 0 })
	got := 0
	for { // what has arrived in the meantime
		text, ok := first.hearOrEnd()
		if !ok {
			break
		}
		if got++; number(text) != fmt.Sprint(got) {
			t.Fatalf("got %s, want %d", number(text), got)
		}
	}
	query.Set("session", first.Session)
	second := enterRoom(t, addr, "/room/inline", query)
	t.Logf("%d of %d messages had arrived", got, count)
	missed := count - got
	for got < count {
		got++
		if text := number(second.hear()); text != fmt.Sprint(got) {
			t.Fatalf("got %s, want %d", text, got)
		}
	}
	second.want(fmt.Sprintf("long.s: ok true, missed %d", missed))
}

// TestSessionsGoOnAfterACrash: when a worker was killed, its clients get what came since they were looked at last, or
// are told that this is not known.
func TestSessionsGoOnAfterACrash(t *testing.T) {
	addr, app := runApp(t, Config{Workers: 2, Admin: "127.0.0.1:0"})
	query := url.Values{"user": {"ann"}, "topic": {"long.s"}}
	first := enterRoom(t, addr, "/room", query)
	for i := range 10 {
		publishAll(t, app, "long.s", fmt.Sprint(i+1))
		first.want(fmt.Sprint(i + 1))
	}
	for end := time.Now().Add(patience); ; {
		if _, metrics := adminGet(t, app, "/metrics"); strings.Contains(metrics, `"received_saved"`) {
			break
		}
		if time.Now().After(end) {
			t.Fatal("what was received is not saved")
		}
	}
	kill(t, app, first.Slot)
	publishAll(t, app, "long.s", "11", "12")
	query.Set("session", first.Session)
	second := enterRoom(t, addr, "/room", query)
	for want := 0; ; {
		text := second.hear()
		n, err := strconv.Atoi(text)
		switch {
		case err != nil && (want != 13 || !strings.HasPrefix(text, "long.s: ok true")):
			t.Fatalf("got %q after message %d", text, want-1)
		case err != nil:
			return
		case want == 0 && n > 11 || want != 0 && n != want:
			t.Fatalf("got %d, want %d", n, max(want, 11))
		}
		want = n + 1
	}
}

// wantStatusAfter waits for a status.
func wantStatusAfter(t *testing.T, app *App, is func(control.Status) bool) {
	t.Helper()
	for end := time.Now().Add(patience); ; {
		st, err := app.role.Load().control.Status(t.Context())
		switch {
		case err == nil && is(st):
			return
		case time.Now().After(end):
			t.Fatalf("waited in vain: %+v, %v", st, err)
		}
	}
}

// kill kills a worker.
func kill(t *testing.T, app *App, slot int) {
	t.Helper()
	for _, w := range wantStatus(t, app, 1).Workers {
		if w.Slot == slot {
			p, err := os.FindProcess(w.PID)
			if err == nil {
				err = p.Signal(syscall.SIGKILL)
			}
			if err != nil {
				t.Fatal(err)
			}
			return
		}
	}
	t.Fatalf("there is no worker %d", slot)
}

// TestSessionsGoOnElsewhere: a session goes on on another machine, whether its connection has ended or is still open.
func TestSessionsGoOnElsewhere(t *testing.T) {
	cfg := Config{Workers: -1}
	cfg.Sessions.Redis = redistest.Start(t).URL()
	here, a := runApp(t, cfg)
	there, b := runApp(t, cfg)
	query := url.Values{"user": {"ann"}, "topic": {"kept.s"}}
	first := enterRoom(t, here, "/room", query)
	publishAll(t, a, "kept.s", "z") // before it has come back, other machines may not be heard
	first.want("1 z")
	publishAll(t, b, "kept.s", "a")
	first.want("2 a")
	_ = first.conn.Close(websocket.StatusNormalClosure, "")
	publishAll(t, a, "kept.s", "b")
	publishAll(t, b, "kept.s", "c")
	query.Set("session", first.Session)
	second := enterRoom(t, there, "/room/inline", query)
	got := []string{second.hear(), second.hear()} // two publishers
	slices.Sort(got)
	if order := strings.Join(got, ", "); order != "3 b, 4 c" && order != "3 c, 4 b" {
		t.Errorf("got %s", order)
	}
	second.want("kept.s: ok true, missed 2")
	third := enterRoom(t, here, "/room", query)
	second.wantClosed(websocket.StatusCode(CloseReplaced))
	third.want("kept.s: ok true, missed 0")
	publishAll(t, b, "kept.s", "d")
	third.want("5 d")
}
