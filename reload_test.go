//go:build linux

package expedite

import (
	"errors"
	"net/http"
	"testing"

	"github.com/coder/websocket"

	"github.com/expedite-go/expedite/internal/control"
)

// TestWhatCannotMoveIsDrained: a connection whose Suspend fails is closed with 1012 and counted; the others move.
func TestWhatCannotMoveIsDrained(t *testing.T) {
	addr, app := runApp(t, Config{Workers: 1})
	alice, bob := visit(t, addr, "user=alice"), visit(t, addr, "user=bob&stay=1")
	closed := make(chan error, 1)
	go func() { // ends with the connection
		_, _, err := bob.conn.Read(t.Context())
		closed <- err
	}()
	res, err := app.role.Load().control.Reload(t.Context(), control.ReloadRequest{KeepPrimary: true}, control.Discard{})
	if err != nil || res.Moved != 1 || res.Drained != 1 || res.Failed != 0 {
		t.Errorf("reload: %+v, %v; want 1 moved, 1 drained", res, err)
	}
	err = <-closed
	if got, ok := errors.AsType[websocket.CloseError](err); !ok || got.Code != websocket.StatusServiceRestart {
		t.Errorf("bob: %v, want close code 1012", err)
	}
	alice.say(wish{Send: alice.ID, Text: "still here"})
	alice.want("still here")
	st, err := app.role.Load().control.Status(t.Context())
	if err != nil || st.Handoff.Moved != 1 || st.Handoff.Drained != 1 || st.Handoff.Failed != 0 {
		t.Errorf("status: %+v, %v", st.Handoff, err)
	}
}

// TestReloadIsForPrimaries: an app that serves in one process cannot reload.
func TestReloadIsForPrimaries(t *testing.T) {
	_, app := runApp(t, Config{Workers: -1})
	if err := app.Reload(t.Context()); !errors.Is(err, ErrNotRunning) {
		t.Errorf("got %v, want ErrNotRunning", err)
	}
	if err := New(Config{}).Reload(t.Context()); !errors.Is(err, ErrNotRunning) {
		t.Errorf("before Run: got %v, want ErrNotRunning", err)
	}
}

// TestReloadWithoutBody: a reload ends a request whose body does not come, and the client gets its answer.
func TestReloadWithoutBody(t *testing.T) {
	addr, app := runApp(t, Config{Workers: 1})
	c := (&site{t: t, addr: addr}).call(stuck)
	visit(t, addr, "user=a") // the request, which was there before, has begun
	if _, err := app.role.Load().control.Reload(t.Context(), control.ReloadRequest{KeepPrimary: true}, control.Discard{}); err != nil {
		t.Fatal(err)
	}
	c.want(http.StatusNotFound, "")
	c.wantEnd()
}
