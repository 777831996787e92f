package reactor_test

import (
	"errors"
	"io"
	"net"
	"net/netip"
	"path/filepath"
	"testing"

	"github.com/expedite-go/expedite/internal/reactor"
)

// plainListener hides the type of a listener.
type plainListener struct{ net.Listener }

// greet returns an accept function that sends a greeting with the client's address and closes the socket.
func greet(r *rig) reactor.AcceptFunc {
	return func(k reactor.Key, s reactor.Socket, remote netip.AddrPort) {
		_, _ = s.Write([]byte("hello " + remote.String()))
		r.loop.Close(k, s)
	}
}

// visit connects and returns the greeting.
func visit(t *testing.T, ln net.Listener) (greeting, local string) {
	t.Helper()
	c, err := net.Dial(ln.Addr().Network(), ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	b, err := io.ReadAll(c)
	if err != nil {
		t.Fatal(err)
	}
	return string(b), c.LocalAddr().String()
}

func listen(t *testing.T, network, address string) net.Listener {
	t.Helper()
	ln, err := net.Listen(network, address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = ln.Close() })
	return ln
}

func TestListen(t *testing.T) {
	forEachKind(t, func(t *testing.T, kd kind) {
		tcp := listen(t, "tcp", "127.0.0.1:0")
		for name, ln := range map[string]net.Listener{
			"tcp": tcp, "unix": listen(t, "unix", filepath.Join(t.TempDir(), "s")),
			"of unknown kind": plainListener{listen(t, "tcp", "127.0.0.1:0")},
		} {
			r := newRig(t, kd, &script{})
			on, err := r.loop.Listen(ln, greet(r))
			if err != nil {
				t.Fatal(err)
			}
			r.start()
			for range 3 {
				got, local := visit(t, ln)
				if name == "unix" {
					local = netip.AddrPort{}.String()
				}
				if want := "hello " + local; got != want {
					t.Errorf("%s: got %q, want %q", name, got, want)
				}
			}
			if got := r.loop.Stats().Accepted; got != 3 {
				t.Errorf("%s: %d accepted, want 3", name, got)
			}
			r.do(func() { on.Stop(); on.Stop() })
			if name == "of unknown kind" {
				_ = ln.Close() // the only way to end its Accept
			}
		}
		r := newRig(t, kd, &script{})
		r.start()
		r.do(func() {
			if _, err := r.loop.Listen(tcp, greet(r)); err != nil {
				t.Errorf("listening again: %v", err)
			}
		})
		visit(t, tcp)
		r.loop.Stop()
		if _, err := r.loop.Listen(tcp, greet(r)); !errors.Is(err, reactor.ErrClosed) {
			t.Errorf("listening after Stop: %v, want ErrClosed", err)
		}
	})
}

func TestPausedListenersLeaveClientsInTheQueue(t *testing.T) {
	forEachKind(t, func(t *testing.T, kd kind) {
		ln := listen(t, "tcp", "127.0.0.1:0")
		r := newRig(t, kd, &script{})
		open := false
		if _, err := r.loop.Listen(ln, func(k reactor.Key, s reactor.Socket, a netip.AddrPort) {
			if !open {
				t.Error("accepted while paused")
			}
			greet(r)(k, s, a)
		}); err != nil {
			t.Fatal(err)
		}
		r.loop.PauseAccept()
		r.start()
		c, err := net.Dial("tcp", ln.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		for range 5 {
			r.do(func() {})
		}
		r.do(func() {
			open = true
			if err := r.loop.ResumeAccept(); err != nil {
				t.Errorf("ResumeAccept: %v", err)
			}
		})
		if got, err := io.ReadAll(c); err != nil || len(got) == 0 {
			t.Errorf("greeted with %q, %v", got, err)
		}
	})
}
