package engine

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/expedite-go/expedite/ws"
)

// contextRoute returns a route whose callbacks pass on the context of their connection.
func contextRoute(inline bool, got chan context.Context) *Route {
	return &Route{Inline: inline, CloseTimeout: 10 * time.Millisecond, Handler: funcs{
		open:  func(c *Conn) { got <- c.Context() },
		close: func(c *Conn, _ ws.CloseCode, _ string) { got <- c.Context() },
	}}
}

// TestContextOfAClosedConnection checks that a context ends with its connection, whoever closes it and however, and that
// a later one has ended too.
func TestContextOfAClosedConnection(t *testing.T) {
	for name, end := range map[string]func(f *fixture, p *peer){
		"close frame": func(_ *fixture, p *peer) { p.write(ws.AppendMaskedFrame(nil, ws.OpClose, 1, []byte{3, 232})) },
		"end":         func(_ *fixture, p *peer) { _ = p.conn.Close() },
		"broken rule": func(_ *fixture, p *peer) { p.write(ws.AppendFrame(nil, ws.OpText, nil)) },
		"server":      func(f *fixture, _ *peer) { _ = f.Lookup(1).Close(ws.CloseNormal, "") },
		"end of loop": func(f *fixture, _ *peer) { f.Stop() },
		"timeout": func(f *fixture, _ *peer) {
			f.Post(func() { f.Lookup(1).beginClose(ending{code: ws.CloseGoingAway}, "idle timeout") })
		},
	} {
		for _, inline := range []bool{true, false} {
			t.Run(name, func(t *testing.T) {
				onEachTransport(t, func(t *testing.T, transport bool) {
					got := make(chan context.Context, 2)
					f := start(t, portable(transport), map[string]*Route{"/": contextRoute(inline, got)})
					p := f.dial(t, "/")
					ctx := <-got
					if ctx.Err() != nil || context.Cause(ctx) != nil {
						t.Fatalf("it ended at once: %v", context.Cause(ctx))
					}
					if again := f.Lookup(1).Context(); again != ctx {
						t.Error("got another context, want the same")
					}
					end(f, p)
					until(t, "the context has ended", func() bool { return ctx.Err() != nil })
					if !errors.Is(ctx.Err(), context.Canceled) || !errors.Is(context.Cause(ctx), ErrClosed) {
						t.Errorf("got %v, %v; want ErrClosed", ctx.Err(), context.Cause(ctx))
					}
					if late := <-got; !errors.Is(context.Cause(late), ErrClosed) {
						t.Errorf("in Close: got %v, want ErrClosed", context.Cause(late))
					}
					f.contexts.mu.Lock()
					defer f.contexts.mu.Unlock()
					if n := len(f.contexts.list); n != 0 {
						t.Errorf("%d contexts are left", n)
					}
				})
			})
		}
	}
}

// TestContextWhileTheLastMessagesAreDelivered checks that a context does not end while callbacks still answer what the
// client sent before it closed.
func TestContextWhileTheLastMessagesAreDelivered(t *testing.T) {
	release, causes := make(chan struct{}), make(chan error, 1)
	f := start(t, Config{}, map[string]*Route{"/": {Handler: funcs{message: func(c *Conn, op ws.Opcode, b []byte) {
		ctx := c.Context()
		<-release
		causes <- context.Cause(ctx)
		c.Send(op, b)
	}}}})
	p := f.dial(t, "/")
	p.send(ws.OpText, []byte("save"))
	p.write(ws.AppendMaskedFrame(nil, ws.OpClose, 1, []byte{3, 232}))
	until(t, "the close frame was read", func() (parts bool) {
		f.onLoop(func() { parts = f.Lookup(1).parting() })
		return parts
	})
	close(release)
	if err := <-causes; err != nil {
		t.Errorf("got %v, want none", err)
	}
	p.want(ws.OpText, []byte("save"))
	p.wantClose(ws.CloseNormal)
}

// TestContextCause checks that the application gets its own errors.
func TestContextCause(t *testing.T) {
	own := errors.New("own")
	got := make(chan context.Context, 2)
	cfg := Config{Cause: func(err error) error { return errors.Join(own, err) }}
	f := start(t, cfg, map[string]*Route{"/": contextRoute(true, got)})
	p := f.dial(t, "/")
	_ = p.conn.Close()
	for range 2 {
		ctx := <-got
		<-ctx.Done()
		if err := context.Cause(ctx); !errors.Is(err, own) || !errors.Is(err, ErrClosed) {
			t.Errorf("got %v, want both errors", err)
		}
	}
}
