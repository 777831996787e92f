package cluster

import (
	"context"
	"errors"
	"os"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

func TestWorkerDisconnect(t *testing.T) {
	tests := []struct {
		name, play string
		killed     bool
	}{
		{"a worker that ends is not replaced", "serve", false},
		{"one that does not end is killed, and not replaced", "stubborn serve", true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			g := start(t, Config{Workers: 2, Listen: anyPort}, tt.play)
			limit := patience
			if tt.killed {
				limit = 300 * time.Millisecond
			}
			ctx, cancel := context.WithTimeout(t.Context(), limit)
			defer cancel()
			w := g.Workers()[0]
			if voluntary, exited := w.ExitedAfterDisconnect(); voluntary || exited || !w.IsConnected() || w.IsDead() {
				t.Error("the worker has ended before it was asked")
			}
			err := w.Disconnect(ctx)
			if tt.killed != (err != nil) || (tt.killed && !errors.Is(err, context.DeadlineExceeded)) {
				t.Errorf("error %v, want one: %t", err, tt.killed)
			}
			if voluntary, exited := w.ExitedAfterDisconnect(); !voluntary || !exited || w.IsConnected() || !w.IsDead() {
				t.Error("it has not ended of its primary's will")
			}
			if e := g.await(EventDisconnect, 1); !e.Wanted {
				t.Error("the primary did not want the disconnect")
			}
			e := g.await(EventExit, 1)
			if !e.Wanted || (e.Signal == syscall.SIGKILL) != tt.killed {
				t.Errorf("exit %+v, want a wanted one; killed: %t", e, tt.killed)
			}
			if by := g.dialMany(10); by[2] != 10 {
				t.Errorf("connections by worker: %v, want all with 2", by)
			}
			if list := g.Workers(); len(list) != 1 || list[0].Slot() != 2 {
				t.Errorf("%d workers, want 2 alone", len(list))
			}
			if err := w.Disconnect(t.Context()); err != nil {
				t.Errorf("once more: %v", err)
			}
			if err := w.Kill(0); !errors.Is(err, os.ErrProcessDone) {
				t.Errorf("Kill: %v, want os.ErrProcessDone", err)
			}
		})
	}
}

// A worker that was asked to finish may take its time, but gets no new connections.
func TestDisconnectedWorkerGetsNoConnections(t *testing.T) {
	for _, policy := range []Policy{RoundRobin, LeastConnections} {
		t.Run(policy.String(), func(t *testing.T) {
			g := start(t, Config{Workers: 2, Listen: anyPort, Scheduling: policy}, "stubborn serve")
			ctx, cancel := context.WithCancel(t.Context())
			ended := make(chan error, 1)
			w := g.Workers()[0]
			go func() { ended <- w.Disconnect(ctx) }() // ends with cancel
			eventually(t, "it drains", func() bool { return w.State() == StateDraining })
			if by := g.dialMany(30); by[2] != 30 {
				t.Errorf("connections by worker: %v, want all with 2", by)
			}
			cancel()
			if err := <-ended; !errors.Is(err, context.Canceled) {
				t.Errorf("error %v, want that it was killed", err)
			}
		})
	}
}

func TestPrimaryDisconnect(t *testing.T) {
	g := start(t, Config{Workers: 2}, "serve")
	if err := g.Disconnect(t.Context()); err != nil {
		t.Error(err)
	}
	g = start(t, Config{Workers: 2}, "serve stubborn")
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	if err := g.Disconnect(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("error %v, want that one was killed", err)
	}
}

func TestHowWorkersEnd(t *testing.T) {
	tests := []struct {
		name, order string
		kill        syscall.Signal
		code        int
		voluntary   bool
	}{
		{name: "an exit code", order: "exit 7", code: 7},
		{name: "a signal", kill: syscall.SIGTERM, code: -1},
		{name: "of its own will", order: "disconnect", voluntary: true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			o := startOrders(t, Config{Workers: 1}, "ask")
			w := o.Workers()[0]
			if tt.kill != 0 {
				_ = w.Kill(tt.kill)
			} else if err := w.Send([]byte(tt.order)); err != nil {
				t.Fatal(err)
			}
			e := o.await(EventExit, 1)
			if e.ExitCode != tt.code || e.Signal != tt.kill || e.Wanted {
				t.Errorf("exit %+v, want code %d, signal %v", e, tt.code, tt.kill)
			}
			<-w.Done()
			if voluntary, exited := w.ExitedAfterDisconnect(); voluntary != tt.voluntary || !exited {
				t.Errorf("voluntary %t, exited %t; want %t, true", voluntary, exited, tt.voluntary)
			}
			o.await(EventReady, 1) // it is replaced
		})
	}
}

func TestWorkersAreFoundUntilTheirLastEvent(t *testing.T) {
	var p atomic.Pointer[Primary]
	found := make(chan bool, 100)
	g := start(t, Config{Workers: 1, OnEvent: func(e Event) {
		if p := p.Load(); p != nil {
			found <- p.Worker(e.Worker.ID()) == e.Worker
		}
	}}, "serve")
	p.Store(g.Primary)
	first := g.Workers()[0]
	if g.Worker(first.ID()) != first || g.Worker(99) != nil {
		t.Error("not found by id")
	}
	_ = first.Kill(9)
	for {
		if e := g.await(EventReady, 1); e.Worker != first {
			break
		}
	}
	for _, tt := range []struct {
		kind EventKind
		want bool
	}{{EventDisconnect, true}, {EventExit, false}, {EventFork, true}, {EventOnline, true}, {EventReady, true}} {
		if got := <-found; got != tt.want {
			t.Errorf("at %v: found %t, want %t", tt.kind, got, tt.want)
		}
	}
}
