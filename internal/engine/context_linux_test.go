package engine

import (
	"context"
	"errors"
	"testing"

	"github.com/expedite-go/expedite/ws"
)

// TestContextOfAMovedConnection checks that a context ends where the connection was, and that there is another one where
// it is. A move that fails ends nothing.
func TestContextOfAMovedConnection(t *testing.T) {
	for _, inline := range []bool{true, false} {
		got := make(chan context.Context, 2)
		p := startPair(t, func() map[string]*Route { return map[string]*Route{"/": contextRoute(inline, got)} })
		c := p.here.dial(t, "/")
		before := <-got
		left := p.here.Lookup(1)

		on(t, p.here, func() {
			p.here.Depart(-1, nil)
			b, _ := p.here.Freeze(1)
			if ctx := left.Context(); ctx != before {
				t.Error("frozen: got another context, want the same")
			}
			p.here.Thaw(b)
			p.here.Stay()
		})
		if before.Err() != nil {
			t.Fatalf("a move that failed has ended the context: %v", context.Cause(before))
		}
		if n := p.move(); n != 1 {
			t.Fatalf("%d moved, want 1", n)
		}
		<-before.Done()
		if err := context.Cause(before); !errors.Is(err, ErrMoved) {
			t.Errorf("got %v, want ErrMoved", err)
		}
		if err := context.Cause(left.Context()); !errors.Is(err, ErrMoved) {
			t.Errorf("asked later: got %v, want ErrMoved", err)
		}
		arrived := p.here.Lookup(1).Context()
		if arrived.Err() != nil {
			t.Fatalf("it has ended where it arrived: %v", context.Cause(arrived))
		}
		c.write(ws.AppendMaskedFrame(nil, ws.OpClose, 1, []byte{3, 232}))
		<-arrived.Done()
		if err := context.Cause(arrived); !errors.Is(err, ErrClosed) {
			t.Errorf("got %v, want ErrClosed", err)
		}
		<-got
	}
}
