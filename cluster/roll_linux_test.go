package cluster

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// ask sends a byte and reads the name of the worker.
func (c *client) ask(t *testing.T) (slot, generation int) {
	t.Helper()
	if _, err := c.Write([]byte("x")); err != nil {
		t.Fatal(err)
	}
	k, err := greet(c.Conn)
	if err != nil {
		t.Fatal(err)
	}
	return k.slot, k.generation
}

// dialSome makes n connections.
func (g *group) dialSome(n int) (list []client) {
	g.t.Helper()
	for range n {
		c, err := g.dial()
		if err != nil {
			g.t.Fatal(err)
		}
		list = append(list, c)
	}
	return list
}

// until returns the events up to one of a kind in a slot, as "kind slot.generation".
func (g *group) until(kind EventKind, slot, generation int) (list []string) {
	g.t.Helper()
	limit := time.After(patience)
	for {
		select {
		case e := <-g.events:
			list = append(list, fmt.Sprintf("%v %d.%d", e.Kind, e.Worker.Slot(), e.Worker.Generation()))
			if e.Kind == kind && e.Worker.Slot() == slot && e.Worker.Generation() == generation {
				return list
			}
		case <-limit:
			g.t.Fatalf("no event %v of worker %d.%d in %v", kind, slot, generation, list)
		}
	}
}

// life returns the events of one generation of a slot, in order.
func life(events []string, slot, generation int) (list []string) {
	for _, e := range events {
		if name, ok := strings.CutSuffix(e, fmt.Sprintf(" %d.%d", slot, generation)); ok {
			list = append(list, name)
		}
	}
	return list
}

func pids(p *Primary) (list []int) {
	for _, w := range p.Workers() {
		list = append(list, w.PID())
	}
	return list
}

// processIsGone reports whether no process has that id.
func processIsGone(pid int) bool { return errors.Is(syscall.Kill(pid, 0), syscall.ESRCH) }

// steps records the progress of a roll.
type steps struct {
	mu   sync.Mutex
	list []string
	most int // workers at the same time
}

func (s *steps) watch(g *group) func(Progress) {
	return func(p Progress) {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.most = max(s.most, len(g.Workers()))
		if step := fmt.Sprint(p.Step, " ", p.Slot); len(s.list) == 0 || s.list[len(s.list)-1] != step {
			s.list = append(s.list, step)
		}
	}
}

func TestReloadReplacesOneSlotAfterTheOther(t *testing.T) {
	for _, tt := range []struct {
		name, play string
		moved      int
		policy     Policy
	}{
		{"workers that move nothing are drained", "serve", 0, RoundRobin},
		{"workers that accept by themselves", "serve", 0, None},
		{"workers that move", "move", 12, RoundRobin},
		{"workers that move, by load", "move", 12, LeastConnections},
	} {
		t.Run(tt.name, func(t *testing.T) {
			g := start(t, Config{Workers: 3, Listen: anyPort, Scheduling: tt.policy}, tt.play)
			ready := make(map[int]bool)
			for len(ready) < 3 {
				ready[g.await(EventReady, 0).Worker.Slot()] = true
			}
			clients := g.dialSome(12)
			before := pids(g.Primary)
			var s steps
			res, err := g.Reload(t.Context(), RollOptions{Progress: s.watch(g)})
			if err != nil {
				t.Fatal(err)
			}
			if res.Workers != 3 || res.Moved != tt.moved || res.Failed != 0 || res.Took <= 0 {
				t.Errorf("result %+v, want 3 workers, %d moved", res, tt.moved)
			}
			want := []string{
				"starting 1", "moving 1", "draining 1", "starting 2", "moving 2", "draining 2",
				"starting 3", "moving 3", "draining 3", "done 3",
			}
			if !slices.Equal(s.list, want) || s.most != 4 {
				t.Errorf("steps %v with up to %d workers, want %v with 4", s.list, s.most, want)
			}
			for i, w := range g.Workers() {
				if w.Slot() != i+1 || w.Generation() != 2 || w.State() != StateReady || w.Crashes() != 0 {
					t.Errorf("worker %d.%d is %v", w.Slot(), w.Generation(), w.State())
				}
			}
			if n := len(g.Workers()); n != 3 {
				t.Errorf("%d workers, want 3", n)
			}
			for _, pid := range before {
				if !processIsGone(pid) {
					t.Errorf("the old process %d is there", pid)
				}
			}
			judgeLives(t, g.until(EventExit, 3, 1))
			for _, c := range clients[:tt.moved] {
				if slot, generation := c.ask(t); slot != c.slot || generation != 2 {
					t.Errorf("a client of worker %d.1 is with %d.%d, want %d.2", c.slot, slot, generation, c.slot)
				}
			}
			if by := g.dialMany(30); by[1]+by[2]+by[3] != 30 {
				t.Errorf("connections by worker: %v, want 30", by)
			}
			if got := g.RollTotals(); got.Moved != uint64(tt.moved) || got.Last != res.Took {
				t.Errorf("sums %+v, want %d moved", got, tt.moved)
			}
		})
	}
}

// judgeLives checks the order of events of a reload of three slots.
func judgeLives(t *testing.T, events []string) {
	t.Helper()
	for slot := 1; slot <= 3; slot++ {
		if got, want := life(events, slot, 2), []string{"fork", "online", "ready"}; !slices.Equal(got, want) {
			t.Errorf("events of worker %d.2: %v, want %v", slot, got, want)
		}
		if got, want := life(events, slot, 1), []string{"disconnect", "exit"}; !slices.Equal(got, want) {
			t.Errorf("events of worker %d.1: %v, want %v", slot, got, want)
		}
		ready := slices.Index(events, fmt.Sprintf("ready %d.2", slot))
		gone := slices.Index(events, fmt.Sprintf("disconnect %d.1", slot))
		if ready > gone {
			t.Errorf("worker %d.1 left before its successor was ready: %v", slot, events)
		}
		if exit, next := slices.Index(events, fmt.Sprintf("exit %d.1", slot)),
			slices.Index(events, fmt.Sprintf("fork %d.2", slot+1)); slot < 3 && exit > next {
			t.Errorf("worker %d.2 started before %d.1 had ended: %v", slot+1, slot, events)
		}
	}
}

// Messages that the primary sends to a worker before it knows that connections have left arrive before Settle. The
// steps come in order, on one goroutine.
func TestSettleComesAfterTheLastMessage(t *testing.T) {
	var mu sync.Mutex
	var steps, heard []string
	g := start(t, Config{
		Workers: 1, Listen: anyPort,
		OnMove: func(m MoveEvent) {
			mu.Lock()
			defer mu.Unlock()
			steps = append(steps, fmt.Sprintf("%d from %d to %d whole %t; the slot's is %d",
				m.Step, m.From.Generation(), m.To.Generation(), m.Whole, m.From.at.worker.Generation()))
			for i := range 50 {
				_ = m.From.Send(fmt.Appendf(nil, "%d %d", m.Step, i))
			}
		},
		OnMessage: func(_ *Worker, m []byte) {
			mu.Lock()
			defer mu.Unlock()
			heard = append(heard, string(m))
		},
	}, "move")
	g.dialSome(3)
	old := g.Workers()[0]
	for i := range 50 {
		_ = old.Send(fmt.Appendf(nil, "before %d", i))
	}
	res, err := g.Replace(t.Context(), 1, RollOptions{})
	if err != nil || res.Moved != 3 || res.Workers != 1 || res.Freeze != time.Millisecond {
		t.Errorf("result %+v, %v", res, err)
	}
	mu.Lock()
	defer mu.Unlock()
	want := []string{
		"0 from 1 to 2 whole true; the slot's is 1",
		"1 from 1 to 2 whole true; the slot's is 2",
	}
	if !slices.Equal(steps, want) {
		t.Errorf("steps %q, want %q", steps, want)
	}
	settled := slices.Index(heard, "settled")
	if settled != 100 {
		t.Fatalf("settled after %d messages of %d, want 100: %q", settled, len(heard), heard)
	}
	for i := range 50 {
		if heard[i] != fmt.Sprint("before ", i) || heard[50+i] != fmt.Sprint("0 ", i) {
			t.Fatalf("messages %q: want all in their order", heard)
		}
	}
}

func TestReloadThatFailsChangesNothing(t *testing.T) {
	for _, tt := range []struct {
		name, play, want string
	}{
		{
			"a successor that ends before it is ready", "spoiled serve",
			"cluster: worker 1 did not start: exit status 3: cannot open the thing",
		},
		{"a worker that will not give", "unwilling", "cluster: move failed: will not"},
		{"a successor that dies while it takes", "takerdies", "cluster: move failed: the taker is gone"},
		{"a successor that does not answer is killed", "stuck-taker", "cluster: move failed: the taker is gone"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var steps []MoveStep
			g := start(t, Config{
				Workers: 2, Listen: anyPort, OnMove: func(m MoveEvent) { steps = append(steps, m.Step) },
			}, tt.play)
			clients := g.dialSome(6)
			before, fds := pids(g.Primary), openFDs(t, os.Getpid())
			_, err := g.Reload(t.Context(), RollOptions{})
			if err == nil || err.Error() != tt.want {
				t.Errorf("error %v, want %s", err, tt.want)
			}
			var se *StartError
			if spoiled := strings.HasPrefix(tt.play, "spoiled"); errors.As(err, &se) != spoiled {
				t.Errorf("error %T", err)
			} else if spoiled && (se.Slot != 1 || !strings.HasPrefix(se.Stderr, "first line\n")) {
				t.Errorf("error %+v, want all last words", se)
			} else if !spoiled && (!errors.Is(err, ErrMove) || len(steps) == 0 || steps[0] != MoveFailed) {
				t.Errorf("error %v, steps %v, want a failed move", err, steps)
			}
			if after := pids(g.Primary); !slices.Equal(after, before) {
				t.Errorf("processes %v, want %v", after, before)
			}
			for _, w := range g.Workers() {
				if w.State() != StateReady || w.Generation() != 1 || w.Crashes() != 0 {
					t.Errorf("worker %d.%d is %v", w.Slot(), w.Generation(), w.State())
				}
			}
			if !strings.HasPrefix(tt.play, "spoiled") {
				for _, c := range clients {
					if slot, generation := c.ask(t); slot != c.slot || generation != 1 {
						t.Errorf("a client of worker %d is with %d.%d", c.slot, slot, generation)
					}
				}
			}
			if by := g.dialMany(40); by[1] == 0 || by[2] == 0 || by[1]+by[2] != 40 {
				t.Errorf("connections by worker: %v, want some with each", by)
			}
			if st := g.Stats(); st.Restarts != 0 || st.Refused != 0 {
				t.Errorf("counters %+v", st)
			}
			eventually(t, "descriptors are closed", func() bool { return openFDs(t, os.Getpid()) <= fds+80 })
		})
	}
}

// TestSuccessorThatCannotTakeOverGivesBack: clients that it had accepted move to the old worker.
func TestSuccessorThatCannotTakeOverGivesBack(t *testing.T) {
	var steps []MoveStep
	g := start(t, Config{
		Workers: 1, Listen: anyPort, OnMove: func(m MoveEvent) { steps = append(steps, m.Step) },
	}, "reluctant")
	before := g.dialSome(2)
	ended, moving, goOn := make(chan error, 1), make(chan string, 1), make(chan struct{})
	leave := sync.OnceFunc(func() { close(goOn) })
	defer leave()
	go func() { // ends with goOn
		_, err := g.Reload(t.Context(), RollOptions{Progress: func(p Progress) {
			if p.Step == StepMoving { // the old worker gets no new connections any more
				moving <- "moving"
				<-goOn
			}
		}})
		ended <- err
	}()
	wait(t, moving)
	var came []client
	eventually(t, "the successor has two clients", func() bool {
		if c := g.dialSome(1)[0]; c.generation == 2 {
			came = append(came, c)
		}
		return len(came) == 2
	})
	leave()
	if err := <-ended; !errors.Is(err, ErrMove) {
		t.Errorf("error %v, want a failed move", err)
	}
	for _, c := range append(before, came...) {
		if _, generation := c.ask(t); generation != 1 {
			t.Errorf("a client is with generation %d", generation)
		}
	}
	if !slices.Equal(steps, []MoveStep{MoveFailed, MoveGiven, MoveTaken}) {
		t.Errorf("steps %v", steps)
	}
}

func TestGiverThatDiesLeavesItsSlotToTheTaker(t *testing.T) {
	var steps []MoveStep
	g := start(t, Config{
		Workers: 2, Listen: anyPort, OnMove: func(m MoveEvent) { steps = append(steps, m.Step) },
	}, "giverdies")
	// A worker that is slow to acknowledge two sockets gets no more for a while, so workers do not strictly take turns.
	var clients []client
	for held := 0; held < 6; {
		clients = append(clients, g.dialSome(1)...)
		if clients[len(clients)-1].slot == 1 {
			held++
		}
	}
	res, err := g.Replace(t.Context(), 1, RollOptions{})
	if err != nil {
		t.Fatal(err)
	}
	// A report that crosses an acknowledgement makes a load one or two too high.
	if res.Moved != 3 || res.Failed < 3 || res.Failed > 5 {
		t.Errorf("result %+v, want 3 of 6 saved", res)
	}
	if !slices.Equal(steps, []MoveStep{MoveFailed}) {
		t.Errorf("steps %v", steps)
	}
	list := g.Workers()
	if len(list) != 2 || list[0].Generation() != 2 || list[0].State() != StateReady {
		t.Fatalf("worker 1.%d is %v", list[0].Generation(), list[0].State())
	}
	saved := 0
	for _, c := range clients {
		if c.slot != 1 {
			continue
		}
		_, _ = c.Write([]byte("x")) // the read returns the error
		if k, err := greet(c.Conn); err == nil && k.generation == 2 {
			saved++
		}
	}
	if saved != res.Moved {
		t.Errorf("%d clients are saved, the result says %d", saved, res.Moved)
	}
	if by := g.dialMany(20); by[1] == 0 {
		t.Errorf("connections by worker: %v, want some with 1", by)
	}
}

func TestOneRollAtATime(t *testing.T) {
	g := start(t, Config{Workers: 2, Listen: anyPort}, "move")
	var busy []error
	_, err := g.Replace(t.Context(), 2, RollOptions{Progress: func(p Progress) {
		if p.Step != StepMoving || busy != nil {
			return
		}
		_, a := g.Reload(t.Context(), RollOptions{})
		_, b := g.Replace(t.Context(), 1, RollOptions{})
		_, c := g.Scale(t.Context(), 3, RollOptions{})
		_, d := g.Rebalance(t.Context(), RollOptions{})
		busy = []error{a, b, c, d, g.Exec(t.Context(), ExecOptions{})}
	}})
	if err != nil {
		t.Fatal(err)
	}
	for i, err := range busy {
		if !errors.Is(err, ErrBusy) {
			t.Errorf("operation %d beside another: %v, want ErrBusy", i, err)
		}
	}
	if len(busy) != 5 {
		t.Error("nothing was tried")
	}
	res, err := g.Replace(t.Context(), 9, RollOptions{})
	if err == nil || err.Error() != "cluster: there is no worker 9" || res.Workers != 0 {
		t.Errorf("a slot that there is not: %v, %+v", err, res)
	}
	for _, n := range []int{-1, 0, MaxWorkers + 1} {
		if _, err := g.Scale(t.Context(), n, RollOptions{}); err == nil {
			t.Errorf("Scale(%d) is taken", n)
		}
	}
	g.Stop()
	if _, err := g.Reload(t.Context(), RollOptions{}); !errors.Is(err, ErrStopped) {
		t.Errorf("after Stop: %v, want ErrStopped", err)
	}
	if err := g.Exec(t.Context(), ExecOptions{}); !errors.Is(err, ErrStopped) {
		t.Errorf("Exec after Stop: %v, want ErrStopped", err)
	}
}

func TestReloadStopsBetweenSlots(t *testing.T) {
	g := start(t, Config{Workers: 3}, "move")
	ctx, cancel := context.WithCancel(t.Context())
	res, err := g.Reload(ctx, RollOptions{Progress: func(p Progress) {
		if p.Slot == 2 && p.Step == StepDraining {
			cancel()
		}
	}})
	if !errors.Is(err, context.Canceled) || res.Workers != 2 {
		t.Errorf("result %+v, %v, want 2 workers", res, err)
	}
	var got []int
	for _, w := range g.Workers() {
		got = append(got, w.Generation())
	}
	if want := []int{2, 2, 1}; !slices.Equal(got, want) {
		t.Errorf("generations %v, want %v", got, want)
	}
	if res, err = g.Reload(t.Context(), RollOptions{}); err != nil || res.Workers != 3 {
		t.Errorf("once more: %+v, %v", res, err)
	}
}

// A successor that dies within the canary time does not get the slot.
func TestCanaryThatDies(t *testing.T) {
	g := start(t, Config{Workers: 2, Listen: anyPort}, "move")
	before := pids(g.Primary)
	go func() { // ends with the event, or with the test
		for e := range g.events {
			if e.Kind == EventReady && e.Worker.Generation() == 2 {
				_ = e.Worker.Kill(syscall.SIGKILL)
				return
			}
		}
	}()
	_, err := g.Reload(t.Context(), RollOptions{Canary: patience})
	var se *StartError
	if !errors.As(err, &se) || se.Slot != 1 {
		t.Errorf("error %v, want a StartError", err)
	}
	if after := pids(g.Primary); !slices.Equal(after, before) {
		t.Errorf("processes %v, want %v", after, before)
	}
}

// A slot that is removed while others are replaced is skipped, before its turn and after it.
func TestReloadOfASlotThatGoesAway(t *testing.T) {
	for _, gone := range []int{1, 2, 3} {
		t.Run(fmt.Sprint("slot ", gone), func(t *testing.T) {
			g := start(t, Config{Workers: 3}, "move")
			once := sync.OnceFunc(func() {
				for _, w := range g.Workers() {
					if w.Slot() == gone && (gone > 1 || w.Generation() == 2) {
						_ = w.Disconnect(t.Context())
					}
				}
			})
			_, err := g.Reload(t.Context(), RollOptions{Progress: func(p Progress) {
				if p.Slot == 1 && p.Step == StepDraining {
					once()
				}
			}})
			if err != nil {
				t.Error(err)
			}
			for _, w := range g.Workers() {
				if w.Slot() == gone || w.Generation() != 2 {
					t.Errorf("worker %d.%d is %v", w.Slot(), w.Generation(), w.State())
				}
			}
			if n := len(g.Workers()); n != 2 {
				t.Errorf("%d workers, want 2", n)
			}
		})
	}
}
