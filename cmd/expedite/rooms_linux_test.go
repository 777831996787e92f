package main

import (
	"context"
	"fmt"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/expedite-go/expedite"
	"github.com/expedite-go/expedite/internal/control"
	"github.com/expedite-go/expedite/internal/redistest"
)

// guest hears a room with a history, and notes what is missing, comes twice or in the wrong order.
type guest struct {
	*client

	mu      sync.Mutex
	joined  string
	at      expedite.Position // the latest
	last    map[string]int    // by sender
	placed  []string          // what has come with its position
	faults  []string
	without int // messages without a position
	ended   bool
}

// enter connects a guest to a machine, who has everything up to a position and so much of each sender.
func enter(ctx context.Context, m *server, at expedite.Position, last map[string]int) *guest {
	g := &guest{client: m.mustDial(ctx, "/hear?at="+at.String()), last: last}
	go g.listen(ctx) // ends with the connection
	eventually(m.t, "the guest is in the room", func() bool {
		g.mu.Lock()
		defer g.mu.Unlock()
		return g.joined != ""
	})
	return g
}

func (g *guest) fault(format string, args ...any) {
	if len(g.faults) < 20 {
		g.faults = append(g.faults, fmt.Sprintf(format, args...))
	}
}

// listen reads until the connection ends.
func (g *guest) listen(ctx context.Context) {
	for {
		_, b, err := g.Read(ctx)
		g.mu.Lock()
		if err != nil {
			if ctx.Err() == nil && !g.ended {
				g.fault("%v", err)
			}
			g.mu.Unlock()
			return
		}
		place, text, _ := strings.Cut(string(b), " ")
		at, err := expedite.ParsePosition(place)
		from, number, _ := strings.Cut(text, ":")
		switch n, _ := strconv.Atoi(number); {
		case err != nil || from == "gap":
			g.fault("%s", b)
		case from == "joined":
			g.joined, g.at = text, at
		default:
			g.take(at, from, n)
		}
		g.mu.Unlock()
	}
}

// take takes a message.
func (g *guest) take(at expedite.Position, from string, n int) {
	if want := g.last[from] + 1; n != want {
		g.fault("%s:%d instead of %d", from, n, want)
	}
	g.last[from] = n
	if at.Epoch == 0 {
		g.without++
		return
	}
	if g.joined != "" && at.Offset <= g.at.Offset {
		g.fault("%s:%d at %s after %s", from, n, at, g.at)
	}
	g.at = at
	g.placed = append(g.placed, fmt.Sprintf("%s %s:%d", at, from, n))
}

// hotel is two machines with a room, a sender and a guest on each.
type hotel struct {
	machines [2]*server
	counters [2]*counter
	guests   [2]*guest
}

func startHotel(ctx context.Context, t *testing.T, redis string) *hotel {
	t.Helper()
	program := filepath.Join(t.TempDir(), "room")
	if out, err := exec.Command("go", "build", "-o", program, "./testdata/room").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	h := new(hotel)
	for i := range h.machines {
		s := &server{t: t, control: filepath.Join(t.TempDir(), "control"), output: &syncBuffer{}, ended: make(chan struct{})}
		s.start(func(cmd *exec.Cmd) {
			cmd.Path, cmd.Args = program, []string{program, "-control", s.control, "-redis", redis}
		}, nil)
		h.machines[i] = s
		s.await("it is connected", func(st control.Status) bool { return st.Backplane != nil && st.Backplane.Up })
		h.counters[i] = &counter{client: s.mustDial(ctx, "/say"), name: fmt.Sprint("m", i)}
		go h.counters[i].discard(ctx, t) // ends with the connection
		h.guests[i] = enter(ctx, s, expedite.Position{}, make(map[string]int))
	}
	return h
}

// during runs f while both machines have traffic.
func (h *hotel) during(ctx context.Context, t *testing.T, f func()) {
	stop := make(chan struct{})
	var senders sync.WaitGroup
	for _, c := range h.counters {
		senders.Go(func() { c.sendFor(ctx, t, stop) })
	}
	f()
	close(stop)
	senders.Wait()
}

// wantAll waits until everybody has everything, and checks that nothing was missing.
func (h *hotel) wantAll(t *testing.T) {
	t.Helper()
	for i, g := range h.guests {
		eventually(t, "everybody has everything", func() bool {
			g.mu.Lock()
			defer g.mu.Unlock()
			return g.last["m0"] == h.counters[0].sent && g.last["m1"] == h.counters[1].sent
		})
		g.mu.Lock()
		if len(g.faults) > 0 {
			t.Errorf("on machine %d: %q", i, g.faults)
		}
		t.Logf("on machine %d: %d messages with a position, %d without", i, len(g.placed), g.without)
		g.mu.Unlock()
	}
}

// TestRooms: a topic with a history has one order on two machines, while both are reloaded at the same time, primary and
// workers. A client who leaves in the middle recovers on the other machine.
func TestRooms(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), 6*patience)
	defer cancel()
	h := startHotel(ctx, t, redistest.Start(t).URL())
	traveller := enter(ctx, h.machines[0], expedite.Position{}, make(map[string]int))
	h.during(ctx, t, func() {
		for range 2 {
			var reloads sync.WaitGroup
			for _, m := range h.machines {
				reloads.Go(func() {
					if out, err := m.expedite("reload", "--canary", "0s"); err != nil {
						t.Errorf("reload: %v\n%s", err, out)
					}
				})
			}
			reloads.Wait()
			traveller.mu.Lock()
			traveller.ended = true
			at, last, faults := traveller.at, traveller.last, traveller.faults
			traveller.mu.Unlock()
			if len(faults) > 0 {
				t.Errorf("the traveller: %q", faults)
			}
			_ = traveller.CloseNow()
			before := h.guests[1].heard()
			eventually(t, "others hear more", func() bool { return h.guests[1].heard() > before+100 })
			traveller = enter(ctx, h.machines[1], at, last)
			if !strings.HasPrefix(traveller.joined, "joined:true:") || strings.HasPrefix(traveller.joined, "joined:true:0") {
				t.Errorf("the traveller: %s", traveller.joined)
			}
		}
	})
	h.wantAll(t)
	traveller.mu.Lock()
	if len(traveller.faults) > 0 {
		t.Errorf("the traveller: %q", traveller.faults)
	}
	traveller.mu.Unlock()
	first, second := h.guests[0], h.guests[1]
	last := min(len(first.placed), len(second.placed), 1000) // they may have come at different times
	if last < 100 || !slices.Equal(first.placed[len(first.placed)-last:], second.placed[len(second.placed)-last:]) ||
		first.without+second.without > 0 {
		t.Errorf("the order is not the same: %d and %d have no position", first.without, second.without)
	}
	for i, m := range h.machines {
		if st := m.await("all workers serve", allReady); st.Generation != 3 || st.Backplane.Events["gaps"] > 0 {
			t.Errorf("machine %d: generation %d, %v", i, st.Generation, st.Backplane.Events)
		}
	}
}

// heard returns how many messages have come with their position.
func (g *guest) heard() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return len(g.placed)
}

// of returns the latest number of a sender.
func (g *guest) of(name string) int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.last[name]
}

// TestRoomsWithoutRedis: a Redis that saves everything is killed, and one that is silent comes back: nothing is missing
// and nothing comes twice.
func TestRoomsWithoutRedis(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), 6*patience)
	defer cancel()
	redis := redistest.Start(t, "--appendonly", "yes", "--appendfsync", "always")
	h := startHotel(ctx, t, redis.URL())
	for _, outage := range []struct {
		begin, end func()
		noticed    bool
		lasts      time.Duration
	}{
		{redis.Kill, redis.Restart, true, 0},
		{redis.Stop, redis.Continue, false, 2 * time.Second},
		{redis.Stop, redis.Continue, true, 0},
	} {
		h.during(ctx, t, func() {
			outage.begin()
			for _, m := range h.machines {
				if outage.noticed {
					m.await("it tells that it is alone", func(st control.Status) bool { return !st.Backplane.Up })
				}
			}
			<-time.After(outage.lasts)
			for i, g := range h.guests {
				before := g.of(h.counters[i].name)
				eventually(t, "the own machine is heard", func() bool { return g.of(h.counters[i].name) > before+50 })
			}
			outage.end()
			for _, m := range h.machines {
				m.await("it is connected again", func(st control.Status) bool { return st.Backplane.Up })
			}
		})
		h.wantAll(t)
	}
	for i, m := range h.machines {
		st, err := m.status()
		if err != nil || st.Backplane.Events["gaps"] > 0 || st.Backplane.Events["unplaced"] == 0 {
			t.Errorf("machine %d: %v, %v", i, st.Backplane.Events, err)
		}
	}
	h.during(ctx, t, func() { // what has come without a position may come again: let the latest have one
		for _, g := range h.guests {
			before := g.heard()
			eventually(t, "messages have positions again", func() bool { return g.heard() > before+100 })
		}
	})
	h.wantAll(t)
	g := enter(ctx, h.machines[1], h.guests[0].at, make(map[string]int))
	if g.joined != "joined:true:0:<nil>" {
		t.Errorf("a position of the other machine: %s", g.joined)
	}
}
