package cluster

import (
	"errors"
	"testing"
)

func TestForkedWorkerIsOneOfThem(t *testing.T) {
	for _, policy := range []Policy{RoundRobin, LeastConnections, None} {
		t.Run(policy.String(), func(t *testing.T) {
			o := startOrders(t, Config{Workers: 1, Listen: anyPort, Scheduling: policy}, "ask")
			w, err := o.Fork("COLOUR=green")
			if err != nil {
				t.Fatal(err)
			}
			o.await(EventFork, 2)
			o.await(EventReady, 2)
			if w.Slot() != 2 || o.Worker(w.ID()) != w || len(o.Workers()) != 2 || o.Workers()[1] != w {
				t.Errorf("slot %d of %d", w.Slot(), len(o.Workers()))
			}
			by := o.dialMany(60)
			if by[1] == 0 || by[2] == 0 {
				t.Errorf("connections by worker: %v, want some for each", by)
			}
			_ = w.Kill(9)
			o.await(EventReady, 2)
			again := o.Workers()[1]
			if again.Generation() != 2 {
				t.Errorf("generation %d, want 2", again.Generation())
			}
			o.expect(again, "env COLOUR", "green")
			o.expect(o.Workers()[0], "env COLOUR", "")
		})
	}
}

func TestForkTakesTheLowestFreeSlot(t *testing.T) {
	for _, policy := range []Policy{RoundRobin, None} {
		t.Run(policy.String(), func(t *testing.T) {
			g := start(t, Config{Workers: 3, Listen: anyPort, Scheduling: policy}, "serve")
			if err := g.Workers()[1].Disconnect(t.Context()); err != nil {
				t.Fatal(err)
			}
			g.await(EventExit, 2)
			if n := len(g.Workers()); n != 2 {
				t.Fatalf("%d workers, want 2", n)
			}
			if by := g.dialMany(20); by[2] != 0 || by[1]+by[3] != 20 {
				t.Errorf("connections by worker: %v, want all with 1 and 3", by)
			}
			w, err := g.Fork()
			if err != nil || w.Slot() != 2 || w.Generation() != 1 {
				t.Fatalf("slot %d (%v), want the free one", w.Slot(), err)
			}
			g.await(EventReady, 2)
			if by := g.dialMany(60); by[2] == 0 {
				t.Errorf("connections by worker: %v, want some for 2", by)
			}
			if g.Worker(w.ID()).ID() != 4 {
				t.Errorf("id %d, want 4: none is used twice", w.ID())
			}
			for i, w := range g.Workers() {
				if w.Slot() != i+1 {
					t.Errorf("worker %d is of slot %d", i, w.Slot())
				}
			}
		})
	}
}

func TestForkHasLimits(t *testing.T) {
	full := &supervisor{slots: make(slotTable, MaxWorkers)}
	if _, err := full.fork(nil); err == nil || err.Error() != "cluster: the limit is 1000 workers" {
		t.Errorf("one more than MaxWorkers: %v", err)
	}
	g := start(t, Config{Workers: 1}, "serve")
	g.Stop()
	if _, err := g.Fork(); !errors.Is(err, ErrStopped) {
		t.Errorf("after Stop: %v, want ErrStopped", err)
	}
}
