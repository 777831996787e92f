package main

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/expedite-go/expedite/internal/control"
	"github.com/expedite-go/expedite/internal/redistest"
)

// counter sends numbered messages in the lobby of one machine.
type counter struct {
	*client
	name string
	sent int
}

// send sends the next message.
func (c *counter) send(ctx context.Context) error {
	c.sent++
	return c.Write(ctx, websocket.MessageText, fmt.Appendf(nil, "%s:%d", c.name, c.sent))
}

// sendFor sends a message every few milliseconds until stop is closed.
func (c *counter) sendFor(ctx context.Context, t *testing.T, stop <-chan struct{}) {
	tick := time.NewTicker(3 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			if err := c.send(ctx); err != nil {
				t.Errorf("%s: %v", c.name, err)
				return
			}
		case <-stop:
			return
		}
	}
}

// discard reads what the sender gets, until its connection ends with the test.
func (c *counter) discard(ctx context.Context, t *testing.T) {
	for {
		if _, _, err := c.Read(ctx); err != nil {
			if ctx.Err() == nil {
				t.Errorf("%s: %v", c.name, err)
			}
			return
		}
	}
}

// listener receives numbered messages, and notes what is missing, comes twice or in the wrong order.
type listener struct {
	*client
	name string

	mu     sync.Mutex
	last   map[string]int // by sender
	faults []string
}

// listen reads until the connection ends.
func (l *listener) listen(ctx context.Context) {
	for {
		_, b, err := l.Read(ctx)
		l.mu.Lock()
		if err != nil {
			if ctx.Err() == nil {
				l.faults = append(l.faults, err.Error())
			}
			l.mu.Unlock()
			return
		}
		from, text, _ := strings.Cut(string(b), ":")
		n, _ := strconv.Atoi(text)
		if want := l.last[from] + 1; n != want && len(l.faults) < 20 {
			l.faults = append(l.faults, fmt.Sprintf("%s:%d instead of %d", from, n, want))
		}
		l.last[from] = n
		l.mu.Unlock()
	}
}

func (l *listener) has(c *counter) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.last[c.name] == c.sent
}

// pair are two machines with the same Redis, with a sender and a listener on each.
type pair struct {
	machines  [2]*server
	counters  [2]*counter
	listeners [2]*listener
}

func startPair(ctx context.Context, t *testing.T, redis string, args ...string) *pair {
	t.Helper()
	p := new(pair)
	for i := range p.machines {
		p.machines[i] = serve(t, append([]string{"--redis", redis}, args...)...)
		p.counters[i] = &counter{client: p.machines[i].mustDial(ctx, "/"), name: fmt.Sprint("m", i)}
		go p.counters[i].discard(ctx, t) // ends with the connection
		p.listeners[i] = &listener{
			client: p.machines[i].mustDial(ctx, "/"), name: fmt.Sprint("on ", i), last: make(map[string]int),
		}
		go p.listeners[i].listen(ctx) // ends with the connection
	}
	for _, m := range p.machines {
		m.await("it hears the other", func(st control.Status) bool {
			return st.Backplane != nil && st.Backplane.Up && st.Backplane.Topics >= 3
		})
	}
	p.meet(ctx, t)
	return p
}

// meet waits until each machine hears the other, and begins to count from there.
func (p *pair) meet(ctx context.Context, t *testing.T) {
	t.Helper()
	eventually(t, "each machine hears the other", func() bool {
		for _, c := range p.counters {
			if err := c.send(ctx); err != nil {
				t.Fatal(err)
			}
		}
		return p.complete()
	})
	for _, l := range p.listeners {
		l.mu.Lock()
		l.faults = nil // before the subscription
		l.mu.Unlock()
	}
}

// complete reports whether everybody has everything that was sent.
func (p *pair) complete() bool {
	for _, l := range p.listeners {
		for _, c := range p.counters {
			if !l.has(c) {
				return false
			}
		}
	}
	return true
}

// wantAll waits until everybody has everything, and checks that nothing was missing.
func (p *pair) wantAll(t *testing.T) {
	t.Helper()
	eventually(t, "everybody has everything", p.complete)
	for _, l := range p.listeners {
		l.mu.Lock()
		if len(l.faults) > 0 {
			t.Errorf("%s: %q", l.name, l.faults)
		}
		l.faults = nil
		l.mu.Unlock()
	}
}

// during runs f while both machines have traffic.
func (p *pair) during(ctx context.Context, t *testing.T, f func()) {
	stop := make(chan struct{})
	var senders sync.WaitGroup
	for _, c := range p.counters {
		senders.Go(func() { c.sendFor(ctx, t, stop) })
	}
	f()
	close(stop)
	senders.Wait()
}

// TestMachinesTalk: what is said on one machine is heard on the other, once and in order, while both are reloaded at the
// same time, primary and workers.
func TestMachinesTalk(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), 6*patience)
	defer cancel()
	p := startPair(ctx, t, redistest.Start(t).URL(), "--workers", "2")
	p.during(ctx, t, func() {
		for range 3 {
			var reloads sync.WaitGroup
			for _, m := range p.machines {
				reloads.Go(func() {
					if out, err := m.expedite("reload", "--canary", "0s"); err != nil {
						t.Errorf("reload: %v\n%s", err, out)
					}
				})
			}
			reloads.Wait()
		}
	})
	p.wantAll(t)
	for i, m := range p.machines {
		st := m.await("all workers serve", allReady)
		if st.Generation != 4 {
			t.Errorf("machine %d: generation %d, want 4", i, st.Generation)
		}
		if e := st.Backplane.Events; e["gaps"] > 0 || e["malformed"] > 0 {
			t.Errorf("machine %d: %v", i, e)
		}
		t.Logf("machine %d: %d sent, %v", i, p.counters[i].sent, st.Backplane.Events)
	}
}

// TestMachinesWithoutRedis: while Redis is away, machines go on by themselves; when it is back they hear each other.
func TestMachinesWithoutRedis(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), 6*patience)
	defer cancel()
	redis := redistest.Start(t)
	p := startPair(ctx, t, redis.URL(), "--workers", "2")
	p.during(ctx, t, func() {
		redis.Kill()
		for _, m := range p.machines {
			m.await("it tells that it is alone", func(st control.Status) bool {
				return !st.Backplane.Up && st.Backplane.Cause != ""
			})
		}
	})
	for i, l := range p.listeners {
		eventually(t, "the own machine is heard", func() bool { return l.has(p.counters[i]) })
	}
	redis.Restart()
	for _, m := range p.machines {
		m.await("it is connected again", func(st control.Status) bool { return st.Backplane.Up })
	}
	eventually(t, "what was said meanwhile has come, or is known to be missing", func() bool {
		for i := range p.machines {
			st, err := p.machines[i].status()
			if err != nil || st.Backplane.QueuedBytes > 0 || st.Backplane.Events["resyncs"] == 0 {
				return false
			}
		}
		return true
	})
	p.meet(ctx, t)
	p.during(ctx, t, func() {})
	p.wantAll(t)
}
