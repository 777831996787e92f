package cluster

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"
)

func slotsOf(p *Primary) (list []int) {
	for _, w := range p.Workers() {
		list = append(list, w.Slot())
	}
	return list
}

func TestScaleUpAndDown(t *testing.T) {
	for _, tt := range []struct {
		play   string
		policy Policy
	}{{"move", RoundRobin}, {"move", LeastConnections}, {"serve", None}} {
		t.Run(fmt.Sprint(tt.play, " ", tt.policy), func(t *testing.T) {
			g := start(t, Config{Workers: 2, Listen: anyPort, Scheduling: tt.policy}, tt.play)
			forked, err := g.Fork("EXTRA=1")
			if err != nil {
				t.Fatal(err)
			}
			g.until(EventReady, 3, 1)
			res, err := g.Scale(t.Context(), 4, RollOptions{})
			if err != nil || res.Workers != 1 {
				t.Fatalf("up: %+v, %v", res, err)
			}
			if got := slotsOf(g.Primary); !slices.Equal(got, []int{1, 2, 3, 4}) {
				t.Errorf("slots %v, want 4", got)
			}
			if by := g.dialMany(40); len(by) < 3 || by[1]+by[2]+by[3]+by[4] != 40 {
				t.Errorf("connections by worker: %v, want 40", by)
			}
			var clients []client
			if tt.play == "move" { // the other roles wait until their clients are disconnected
				clients = g.dialSome(8)
			}
			for n := 3; n >= 1; n-- {
				if res, err = g.Scale(t.Context(), n, RollOptions{}); err != nil {
					t.Fatalf("down to %d: %v", n, err)
				}
				if res.Failed != 0 || (tt.play == "move") != (res.Moved > 0) {
					t.Errorf("down to %d: %+v", n, res)
				}
				if got, want := slotsOf(g.Primary), []int{1, 2, 3}[:n]; !slices.Equal(got, want) {
					t.Errorf("slots %v, want %v", got, want)
				}
			}
			for _, c := range clients {
				if slot, _ := c.ask(t); slot != 1 {
					t.Errorf("a client of worker %d is with %d, want 1", c.slot, slot)
				}
			}
			if !processIsGone(forked.PID()) {
				t.Error("the forked worker is there")
			}
			// With None the kernel still distributes connections to four sockets: each must be accepted from.
			if by := g.dialMany(80); by[1] != 80 {
				t.Errorf("connections by worker: %v, want all with 1", by)
			}
			if res, err = g.Scale(t.Context(), 3, RollOptions{}); err != nil || res.Workers != 2 {
				t.Fatalf("up again: %+v, %v", res, err)
			}
			if by := g.dialMany(80); by[1]+by[2]+by[3] != 80 || by[3] == 0 {
				t.Errorf("connections by worker: %v, want some with each", by)
			}
		})
	}
}

func TestScaleUpThatFails(t *testing.T) {
	g := start(t, Config{Workers: 2, Listen: anyPort}, "serve serve fail")
	_, err := g.Scale(t.Context(), 4, RollOptions{})
	if want := "cluster: worker 3 did not start: exit status 3: cannot open the thing"; err == nil || err.Error() != want {
		t.Errorf("error %v, want %s", err, want)
	}
	eventually(t, "the slot is given up", func() bool { return slices.Equal(slotsOf(g.Primary), []int{1, 2}) })
	if by := g.dialMany(20); by[1]+by[2] != 20 {
		t.Errorf("connections by worker: %v", by)
	}
}

// TestScaleDownThatFails: the worker that was to end accepts again, and its Stay hook is called.
func TestScaleDownThatFails(t *testing.T) {
	stays := make(chan int, 8)
	g := start(t, Config{Workers: 2, Listen: anyPort, OnMessage: func(w *Worker, m []byte) {
		if string(m) == "stays" {
			stays <- w.Slot()
		}
	}}, "unwilling-last")
	g.dialSome(4)
	if _, err := g.Scale(t.Context(), 1, RollOptions{}); !errors.Is(err, ErrMove) {
		t.Errorf("error %v, want ErrMove", err)
	}
	select {
	case slot := <-stays:
		if slot != 2 {
			t.Errorf("worker %d was told to stay, want 2", slot)
		}
	case <-time.After(patience):
		t.Error("nobody was told to stay")
	}
	if by := g.dialMany(20); by[1] == 0 || by[2] == 0 {
		t.Errorf("connections by worker: %v, want some with each", by)
	}
}

func TestRebalanceMakesWorkersEven(t *testing.T) {
	for _, tt := range []struct {
		load  string
		scale int // 0 is a rebalance
		mean  int
	}{
		{"900 100", 0, 500},
		{"1000 0", 0, 500},
		{"1000 0 0 0", 0, 250},
		{"10 990 500 500", 0, 500},
		{"500 500 500 900", 0, 600},
		{"333 333 334", 0, 333},
		{"600 600", 3, 400},
		{"0 0", 0, 0},
		{"1 0 1", 0, 1},
	} {
		t.Run(fmt.Sprint(tt.load, " to ", tt.scale), func(t *testing.T) {
			var n int
			for _, c := range " " + tt.load {
				if c == ' ' {
					n++
				}
			}
			g := start(t, Config{Workers: n, Env: []string{loadEnv + "=" + tt.load}}, "pretend")
			moves := 0
			o := RollOptions{Progress: func(p Progress) {
				if p.Step == StepMoving {
					moves++
				}
			}}
			var res RollResult
			var err error
			if tt.scale > 0 {
				n = tt.scale
				res, err = g.Scale(t.Context(), n, o)
			} else {
				res, err = g.Rebalance(t.Context(), o)
			}
			if err != nil || res.Drained != 0 || res.Failed != 0 {
				t.Fatalf("result %+v, %v", res, err)
			}
			near := max(tt.mean/20, 1)
			eventually(t, "all are even", func() bool {
				for _, w := range g.Workers() {
					if d := w.Load() - tt.mean; d > near || d < -near {
						return false
					}
				}
				return true
			})
			if moves > 2*n {
				t.Errorf("%d moves for %d workers", moves, n)
			}
			for _, w := range g.Workers() {
				if w.State() != StateReady {
					t.Errorf("worker %d is %v", w.Slot(), w.State())
				}
			}
		})
	}
}
