package secure

import (
	"errors"
	"net"
	"runtime"
	"slices"
	"testing"
	"time"
)

// contender is a handshake at a gate, and the channel that tells the result of enter.
type contender struct {
	*gated
	entered chan error
}

// contend lets a handshake wait at the gate. It has had a turn if begun.
func contend(t *testing.T, g *gate, begun bool) contender {
	t.Helper()
	c := contender{
		&gated{gate: g, turn: make(chan struct{}, 1), gone: make(chan struct{}), begun: begun, Conn: nopConn{}},
		make(chan error, 1),
	}
	before := waiting(g)
	go func() { c.entered <- g.enter(c.gated) }() // ends with its turn, or with abandon
	until(t, func() bool { return waiting(g) > before })
	return c
}

// until waits for a condition.
func until(t *testing.T, met func() bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); !met(); runtime.Gosched() {
		if time.Now().After(end) {
			t.Fatal("it does not happen")
		}
	}
}

func waiting(t *gate) int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return len(t.begun) + len(t.fresh)
}

type nopConn struct{ net.Conn }

func (nopConn) Close() error { return nil }

// TestGateOrder: handshakes that have begun come before those of clients that have just come, each in the order in which
// they came, and one turn in some is for a newcomer all the same.
func TestGateOrder(t *testing.T) {
	g := new(gate)
	var all []contender
	for range 2 {
		all = append(all, contend(t, g, false))
	}
	for range newcomers {
		all = append(all, contend(t, g, true))
	}
	var got []int
	for range all {
		g.leave()
		i := -1
		until(t, func() bool {
			i = slices.IndexFunc(all, func(c contender) bool { return len(c.entered) > 0 })
			return i >= 0
		})
		if err := <-all[i].entered; err != nil {
			t.Fatal(err)
		}
		got = append(got, i)
	}
	want := []int{2, 3, 4, 5, 6, 7, 8, 0, 9, 1}
	if !slices.Equal(got, want) {
		t.Errorf("turns in the order %v, want %v", got, want)
	}
	if g.leave(); g.free != 1 || g.queued != 0 {
		t.Errorf("%d turns are free and %d wait, want 1 and 0", g.free, g.queued)
	}
}

// TestGateAbandoned: a client that has left takes no turn from the others.
func TestGateAbandoned(t *testing.T) {
	g := new(gate)
	gone, stays := contend(t, g, false), contend(t, g, false)
	gone.abandon()
	if err := <-gone.entered; !errors.Is(err, net.ErrClosed) {
		t.Errorf("got %v, want %v", err, net.ErrClosed)
	}
	if g.leave(); <-stays.entered != nil || g.free != 0 {
		t.Error("the turn did not come to the one that stays")
	}
	if g.leave(); g.free != 1 || g.queued != 0 {
		t.Errorf("%d turns are free and %d wait, want 1 and 0", g.free, g.queued)
	}
}

// TestGateLimit: where too many wait, another client is refused and counted, unless its handshake has begun.
func TestGateLimit(t *testing.T) {
	s := bareServer(t, 0)
	s.gate.free, s.gate.queued = 0, maxQueued
	_, server := tcpPair(t)
	if _, err := s.Wrap(server, nil).(*Conn).Handshake(); !errors.Is(err, errBusy) || s.Counts()["refused"] != 1 {
		t.Errorf("got %v, %v", err, s.Counts())
	}
	c := contend(t, &s.gate, true)
	if s.gate.leave(); <-c.entered != nil {
		t.Error("a handshake that has begun is refused")
	}
}

// TestWaited: the time in the queue is known while it passes, and afterwards.
func TestWaited(t *testing.T) {
	s := bareServer(t, 0)
	s.gate.free = 0
	_, server := tcpPair(t)
	c := s.Wrap(server, nil).(*Conn)
	if w := c.Waited(); w != 0 {
		t.Errorf("it has waited %v before it began", w)
	}
	done := make(chan error, 1)
	go func() { done <- c.raw.enter() }() // ends with leave
	until(t, func() bool { return c.Waited() > 0 })
	during := c.Waited()
	s.gate.leave()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if after := c.Waited(); after < during || c.Waited() != after {
		t.Errorf("it has waited %v, then %v, then %v", during, after, c.Waited())
	}
}
