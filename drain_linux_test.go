package expedite

import (
	"net/http"
	"testing"

	"github.com/coder/websocket"

	"github.com/expedite-go/expedite/internal/control"
)

// TestDrainStaysUp: a drain closes the connections and refuses new ones until it is undone, with workers and in a
// process that serves alone. The process goes on.
func TestDrainStaysUp(t *testing.T) {
	for name, workers := range map[string]int{"workers": 2, "alone": -1} {
		t.Run(name, func(t *testing.T) {
			addr, app := runApp(t, Config{Workers: workers})
			v := visit(t, addr, "user=ann")
			ctl := app.role.Load().control
			if err := ctl.Drain(t.Context(), control.DrainRequest{}); err != nil {
				t.Fatal(err)
			}
			v.wantClosed(websocket.StatusServiceRestart)
			conn, resp, err := websocket.Dial(t.Context(), "ws://"+addr+"/tally", nil)
			if err == nil {
				_ = conn.CloseNow()
			}
			if resp == nil || resp.StatusCode != http.StatusServiceUnavailable {
				t.Errorf("a new client gets %v, %v; want 503", resp, err)
			}
			if r, err := ctl.Ready(t.Context()); err != nil || r.Ready || r.Reason == "" {
				t.Errorf("readiness: got %+v, %v", r, err)
			}
			if err := ctl.Drain(t.Context(), control.DrainRequest{Undo: true}); err != nil {
				t.Fatal(err)
			}
			visit(t, addr, "user=ann")
		})
	}
}
