package cluster

import (
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// makeHandleFor returns a handle of a type, and a function that checks that the worker serves it.
func makeHandleFor(t *testing.T, what string) (h Handle, check func(wantSlot int)) {
	t.Helper()
	must := func(v any, err error) any {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	at := func(network, address string) func(int) {
		return func(slot int) {
			t.Helper()
			if c, err := dialAt(t, network, address); err != nil || c.slot != slot {
				t.Errorf("%s is served by worker %d (%v), want %d", what, c.slot, err, slot)
			}
		}
	}
	pair := func(network, address string) (Handle, func(int)) {
		ln := must(net.Listen(network, address)).(net.Listener)
		t.Cleanup(func() { _ = ln.Close() })
		out := must(net.Dial(network, ln.Addr().String())).(net.Conn)
		t.Cleanup(func() { _ = out.Close() })
		return must(ln.Accept()).(Handle), func(slot int) {
			t.Helper()
			if c, err := greet(out); err != nil || c.slot != slot {
				t.Errorf("%s is served by worker %d (%v), want %d", what, c.slot, err, slot)
			}
		}
	}
	switch what {
	case "*net.TCPListener":
		ln := must(net.Listen("tcp", anyPort)).(*net.TCPListener)
		return ln, at("tcp", ln.Addr().String())
	case "*net.UnixListener":
		ln := must(net.Listen("unix", filepath.Join(t.TempDir(), "s"))).(*net.UnixListener)
		return ln, at("unix", ln.Addr().String())
	case "*net.TCPConn":
		return pair("tcp", anyPort)
	case "*net.UnixConn":
		return pair("unix", filepath.Join(t.TempDir(), "s"))
	case "*net.UDPConn":
		pc := must(net.ListenPacket("udp", anyPort)).(*net.UDPConn)
		return pc, at("udp", pc.LocalAddr().String())
	default:
		name := filepath.Join(t.TempDir(), "f")
		must(nil, os.WriteFile(name, []byte("content"), 0o600))
		return must(os.Open(name)).(*os.File), func(int) {}
	}
}

func TestHandlesArriveAsWhatTheyAre(t *testing.T) {
	o := startOrders(t, Config{Workers: 2}, "ask")
	w := o.Workers()[1]
	for _, what := range []string{
		"*net.TCPListener", "*net.UnixListener", "*net.TCPConn", "*net.UnixConn", "*net.UDPConn", "*os.File",
	} {
		for _, keep := range []bool{false, true} {
			name := what
			if keep {
				name += " kept open"
			}
			t.Run(name, func(t *testing.T) {
				h, check := makeHandleFor(t, what)
				var opts []HandleOption
				if keep {
					opts = append(opts, KeepOpen)
				}
				if err := w.SendHandle([]byte("take"), h, opts...); err != nil {
					t.Fatal(err)
				}
				if isClosed(h) == keep {
					t.Errorf("closed here: %t, want %t", isClosed(h), !keep)
				}
				if keep { // only the worker's copy may serve
					if ul, ok := h.(*net.UnixListener); ok {
						ul.SetUnlinkOnClose(false)
					}
					_ = h.Close()
				}
				want := "take " + what
				if what == "*os.File" {
					want = "take content <nil>"
				}
				if got := o.answer(); got != want {
					t.Errorf("the worker got %q, want %q", got, want)
				}
				check(2)
			})
		}
	}
}

func TestHandlesToThePrimary(t *testing.T) {
	type received struct {
		w *Worker
		m string
		h Handle
	}
	got := make(chan received, 10)
	o := startOrders(t, Config{Workers: 2, OnHandle: func(w *Worker, m []byte, h Handle) {
		got <- received{w, string(m), h}
	}}, "ask")
	w := o.Workers()[1]
	o.expect(w, "send pipe", "sent <nil> closed true")
	r := <-got
	b, err := io.ReadAll(r.h.(*os.File))
	if r.w != w || r.m != "pipe" || string(b) != "from the worker" || err != nil {
		t.Errorf("worker %d sent %q with %q (%v)", r.w.Slot(), r.m, b, err)
	}
	_ = r.h.Close()
	o.expect(w, "send listener", "sent <nil> closed true")
	r = <-got
	ln := r.h.(*net.TCPListener)
	defer ln.Close()
	c, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	_ = c.Close()
	if n := o.Stats().HandlesLost; n != 0 {
		t.Errorf("%d handles lost, want 0", n)
	}
}

func TestHandlesThatNobodyTakesAreClosed(t *testing.T) {
	o := startOrders(t, Config{Workers: 2}, "ask serve")
	before := openFDs(t, os.Getpid())
	o.expect(o.Workers()[0], "send pipe", "sent <nil> closed true")
	eventually(t, "it is counted", func() bool { return o.Stats().HandlesLost == 1 })
	if after := openFDs(t, os.Getpid()); after > before {
		t.Errorf("%d descriptors are open here, %d were", after, before)
	}
	w := o.Workers()[1] // it has no hook, and echoes messages
	worker := openFDs(t, w.PID())
	h, _ := makeHandleFor(t, "*net.UDPConn")
	if err := w.SendHandle(nil, h); err != nil {
		t.Fatal(err)
	}
	o.expect(w, "in order", "in order")
	if after := openFDs(t, w.PID()); after != worker {
		t.Errorf("%d descriptors are open in the worker, %d were", after, worker)
	}
}

// strange is a Handle of a type that cannot be sent.
type strange struct{ *os.File }

func TestHandlesThatCannotBeSent(t *testing.T) {
	g := start(t, Config{Workers: 2}, "serve")
	gone, alive := g.Workers()[0], g.Workers()[1]
	if err := gone.Disconnect(t.Context()); err != nil {
		t.Fatal(err)
	}
	closed, _ := makeHandleFor(t, "*net.TCPListener")
	_ = closed.Close()
	open := func() Handle { h, _ := makeHandleFor(t, "*os.File"); return h }
	tests := []struct {
		name string
		w    *Worker
		h    Handle
		m    []byte
		want error
	}{
		{"to a worker that is gone", gone, open(), nil, ErrDisconnected},
		{"of another type", alive, strange{open().(*os.File)}, nil, ErrHandle},
		{"none", alive, nil, nil, ErrHandle},
		{"closed before", alive, closed, nil, ErrHandle},
		{"with a message that is too long", alive, open(), make([]byte, MaxMessage), ErrTooLong},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			before := openFDs(t, os.Getpid())
			if err := tt.w.SendHandle(tt.m, tt.h, KeepOpen); !errors.Is(err, tt.want) {
				t.Errorf("kept open: %v, want %v", err, tt.want)
			}
			if tt.h != nil && tt.h != closed && isClosed(tt.h) {
				t.Error("closed, though it was to be kept open")
			}
			if err := tt.w.SendHandle(tt.m, tt.h); !errors.Is(err, tt.want) {
				t.Errorf("error %v, want %v", err, tt.want)
			}
			if tt.h != nil && !isClosed(tt.h) {
				t.Error("not closed")
			}
			if after := openFDs(t, os.Getpid()); after > before {
				t.Errorf("%d descriptors are open, %d were", after, before)
			}
		})
	}
}

func TestUnsentHandlesAreClosedAndTold(t *testing.T) {
	g := start(t, Config{Workers: 1}, "serve")
	w := g.Workers()[0]
	before := openFDs(t, os.Getpid())
	if err := w.Kill(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	eventually(t, "it stands still", func() bool { return standsStill(t, w.PID()) })
	fill := make([]byte, 1<<20) // more than the socket's buffer: later messages stay in the queue
	var err error
	for err == nil {
		h, _ := makeHandleFor(t, "*os.File")
		err = w.SendHandle(fill, h)
	}
	if !errors.Is(err, ErrOverloaded) || w.Overloads() == 0 {
		t.Fatalf("error %v, want ErrOverloaded", err)
	}
	if err := w.Kill(syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	if e := g.await(EventError, 1); !errors.Is(e.Err, ErrDisconnected) || e.Worker != w {
		t.Errorf("event %+v, want ErrDisconnected", e)
	}
	if n := g.Stats().HandlesLost; n == 0 {
		t.Error("not counted")
	}
	g.await(EventReady, 1)
	eventually(t, "all closed", func() bool { return openFDs(t, os.Getpid()) <= before })
}

// Handles have a limit of their own, because many of them need few bytes.
func TestHandlesThatWaitAreLimited(t *testing.T) {
	g := start(t, Config{Workers: 1}, "serve")
	w := g.Workers()[0]
	if err := w.Kill(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	eventually(t, "it stands still", func() bool { return standsStill(t, w.PID()) })
	if err := w.Send(make([]byte, 4<<20)); err != nil { // more than the socket's buffer
		t.Fatal(err)
	}
	n := 0
	for ; n <= maxHandles; n++ {
		h, _ := makeHandleFor(t, "*os.File")
		if err := w.SendHandle(nil, h); err != nil {
			if !errors.Is(err, ErrOverloaded) {
				t.Error(err)
			}
			break
		}
	}
	if n != maxHandles {
		t.Errorf("%d handles wait, want %d", n, maxHandles)
	}
	if err := w.Kill(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	if err := w.Wait(t.Context()); err != nil {
		t.Error(err)
	}
	h, _ := makeHandleFor(t, "*os.File")
	if err := w.SendHandle(nil, h); err != nil {
		t.Errorf("after Wait: %v", err)
	}
}

// EMFILE: the message arrives without the handle, and both sides report it.
func TestHandleForAWorkerWithoutDescriptors(t *testing.T) {
	o := startOrders(t, Config{Workers: 1}, "ask")
	w := o.Workers()[0]
	before := openFDs(t, os.Getpid())
	o.expect(w, "limit 0", "<nil>")
	h, _ := makeHandleFor(t, "*net.TCPListener")
	if err := w.SendHandle([]byte("take"), h); err != nil {
		t.Fatal(err)
	}
	if got, want := o.answer(), "take <nil>"; got != want {
		t.Errorf("the worker got %q, want %q", got, want)
	}
	o.expect(w, "lost", "1 true")
	if after := openFDs(t, os.Getpid()); after > before {
		t.Errorf("%d descriptors are open, %d were", after, before)
	}
	if got := o.order(w, "listen tcp "+anyPort); !strings.Contains(got, "too many open files") {
		t.Errorf("Listen: %q, want EMFILE", got)
	}
}

// EMFILE: sockets that the kernel drops go to another worker.
func TestWorkerWithoutDescriptorsRefuses(t *testing.T) {
	for _, room := range []string{"0", "5"} {
		t.Run(room+" left", func(t *testing.T) {
			o := startOrders(t, Config{Workers: 2, Listen: anyPort}, "short serve")
			w := o.Workers()[0]
			o.expect(w, "limit "+room, "<nil>")
			before := openFDs(t, os.Getpid())
			worker := openFDs(t, w.PID())
			by := o.dialMany(100)
			if most := int(room[0] - '0'); by[1] > most || by[1]+by[2] != 100 {
				t.Errorf("connections by worker: %v, want at most %d with 1, 100 in all", by, most)
			}
			s := o.Stats()
			if s.Accepted != 100 || s.Redistributed == 0 || s.Refused != 0 {
				t.Errorf("stats %+v, want 100 accepted, some redistributed, none refused", s)
			}
			eventually(t, "copies closed", func() bool { return openFDs(t, os.Getpid()) <= before+100 })
			eventually(t, "worker 1 has the descriptors of its clients, and no others", func() bool {
				return openFDs(t, w.PID()) == worker+by[1]
			})
		})
	}
}

func TestWaitForRoom(t *testing.T) {
	o := startOrders(t, Config{Workers: 1, QueueLimit: 1 << 20}, "ask")
	w := o.Workers()[0]
	if err := w.Wait(t.Context()); err != nil {
		t.Errorf("with an empty queue: %v", err)
	}
	if err := w.Kill(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	eventually(t, "it stands still", func() bool { return standsStill(t, w.PID()) })
	m := append([]byte("env "), make([]byte, 64<<10)...)
	var err error
	for err == nil {
		err = w.Send(m)
	}
	select {
	case <-w.Drained():
		t.Error("drained while nobody reads")
	case <-time.After(50 * time.Millisecond):
	}
	if err := w.Kill(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	if err := w.Wait(t.Context()); err != nil {
		t.Errorf("with a worker that reads: %v", err)
	}
	if err := w.Send(m); err != nil {
		t.Errorf("Send after Wait: %v", err)
	}
	if err := w.Disconnect(t.Context()); err != nil {
		t.Error(err)
	}
	if err := w.Wait(t.Context()); !errors.Is(err, ErrDisconnected) {
		t.Errorf("without a worker: %v, want ErrDisconnected", err)
	}
}

func TestWorkerWaitsForRoom(t *testing.T) {
	gate := make(chan struct{})
	answers := make(chan string, 100)
	g := start(t, Config{Workers: 1, OnMessage: func(_ *Worker, m []byte) {
		<-gate
		if len(m) < 100 {
			answers <- string(m)
		}
	}}, "ask")
	if err := g.Workers()[0].Send([]byte("flood")); err != nil {
		t.Fatal(err)
	}
	close(gate)
	for {
		select {
		case s := <-answers:
			if s == "" {
				continue // it only showed that there is room
			}
			if s != "drained true<nil>" && s != "drained true <nil>" {
				t.Errorf("the worker says %q", s)
			}
			return
		case <-time.After(patience):
			t.Fatal("no room")
		}
	}
}
