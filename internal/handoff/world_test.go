//go:build unix

package handoff

import (
	"errors"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/expedite-go/expedite/internal/fdpass"
)

// world is two workers and the clients of their connections.
type world struct {
	t            *testing.T
	ledger       *ledger
	giver, taker *host
	clients      map[uint64]int
	clock        atomic.Int64
	before       int // descriptors
	opt          Options
	takerHello   Hello
}

func newWorld(t *testing.T, n int) *world {
	t.Helper()
	l := &ledger{owner: make(map[uint64]string)}
	w := &world{t: t, ledger: l, clients: make(map[uint64]int), before: openFDs()}
	w.giver, w.taker = newHost("giver", l), newHost("taker", l)
	w.opt = Options{Count: -1, Hello: Hello{StateMin: 1, StateMax: 2, Build: "a build"}, Now: w.clock.Load}
	w.takerHello = w.opt.Hello
	w.clock.Store(int64(time.Hour))
	for i := range n {
		w.connect(uint64(i + 1))
	}
	t.Cleanup(w.end)
	return w
}

// connect adds a connection with a client to the giver. Call it before the move.
func (w *world) connect(id uint64) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM, 0)
	if err != nil {
		w.t.Fatal(err)
	}
	w.clients[id] = fds[1]
	w.giver.live[id] = fds[0]
	w.giver.order = append(w.giver.order, id)
	w.ledger.enter(id, "giver")
}

// options returns options of one side that record its outcome.
func (w *world) options(h *host) Options {
	opt := w.opt
	opt.Given = func(o Outcome) { h.note("given"); h.given = append(h.given, o) }
	opt.Taken = func(o Outcome) { h.note("taken"); h.taken = append(h.taken, o) }
	opt.Stuck = func() { h.note("stuck"); h.stuck++ }
	return opt
}

func (w *world) give(f *os.File) {
	w.t.Helper()
	var err error
	w.giver.do(w.t, func() { w.giver.end, err = Give(w.giver, f, w.options(w.giver)) })
	if err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) take(f *os.File) {
	w.t.Helper()
	opt := w.options(w.taker)
	opt.Hello = w.takerHello
	var err error
	w.taker.do(w.t, func() { w.taker.end, err = Take(w.taker, f, opt) })
	if err != nil {
		w.t.Fatal(err)
	}
}

// start starts a move between the two.
func (w *world) start() {
	w.t.Helper()
	a, b := pair(w.t)
	w.take(b)
	w.give(a)
}

func pair(t *testing.T) (a, b *os.File) {
	t.Helper()
	a, b, err := fdpass.Pair()
	if err != nil {
		t.Fatal(err)
	}
	return a, b
}

// given waits for the outcome at the giver, and taken for the one at the taker.
func (w *world) given() (o Outcome) {
	w.t.Helper()
	w.giver.await(w.t, "given", func() bool { return len(w.giver.given) > 0 })
	w.giver.do(w.t, func() { o = w.giver.given[0] })
	return o
}

func (w *world) taken() (o Outcome) {
	w.t.Helper()
	w.taker.await(w.t, "taken", func() bool { return len(w.taker.taken) > 0 })
	w.taker.do(w.t, func() { o = w.taker.taken[0] })
	return o
}

func (w *world) settle() { w.giver.do(w.t, w.giver.end.Settle) }

// tick advances the clock of the giver.
func (w *world) tick(d time.Duration) {
	w.clock.Add(int64(d))
	w.giver.do(w.t, w.giver.end.Tick)
}

// wait waits until both channels have ended, so that no goroutine posts to a loop any more.
func (w *world) wait() {
	for _, h := range []*host{w.giver, w.taker} {
		if h.end != nil {
			h.await(w.t, "end", func() bool { return h.end.role == roleDone })
			<-h.end.ch.closed
		}
	}
}

// end checks everything that must hold after any move, and cleans up.
func (w *world) end() {
	if !w.t.Failed() {
		w.wait()
	}
	for _, h := range []*host{w.giver, w.taker} {
		if w.t.Failed() && h.end != nil {
			h.end.ch.close()
		}
		h.stop()
		if h.expecting != 0 {
			w.t.Errorf("%s: Expect and Expected differ by %d", h.name, h.expecting)
		}
		if len(h.given) > 1 || len(h.taken) > 1 {
			w.t.Errorf("%s: given %v, taken %v, want once", h.name, h.given, h.taken)
		}
		if n := strings.Count(strings.Join(h.events, " "), "depart"); n != count(h.events, "stay") {
			w.t.Errorf("%s: %d Depart, %d Stay", h.name, n, count(h.events, "stay"))
		}
	}
	for _, s := range w.ledger.violations() {
		w.t.Error(s)
	}
	w.talk()
	for _, h := range []*host{w.giver, w.taker} {
		for _, fd := range h.live {
			closeFD(fd)
		}
		h.live = nil
	}
	for _, fd := range w.clients {
		closeFD(fd)
	}
	w.leaks()
}

// leaks compares the numbers of descriptors, once everything has ended.
func (w *world) leaks() {
	if n := openFDs(); n != w.before && !w.t.Failed() {
		w.t.Errorf("%d descriptors are open, %d were", n, w.before)
	}
}

// talk checks that each live connection reaches its client.
func (w *world) talk() {
	for _, h := range []*host{w.giver, w.taker} {
		for id, fd := range h.live {
			if _, ok := w.clients[id]; !ok {
				continue // made up by a fuzz test
			}
			m, got := message(id, h.name), make([]byte, 64)
			if _, err := unix.Write(fd, m); err != nil {
				w.t.Errorf("%s: connection %d: %v", h.name, id, err)
				continue
			}
			if n, err := unix.Read(w.clients[id], got); err != nil || string(got[:n]) != string(m) {
				w.t.Errorf("client %d has %q, %v, want %q", id, got[:max(n, 0)], err, m)
			}
		}
	}
}

// owned checks the numbers of connections on both sides.
func (w *world) owned(giver, taker int) {
	w.t.Helper()
	for h, want := range map[*host]int{w.giver: giver, w.taker: taker} {
		h.do(w.t, func() {
			if len(h.live) != want {
				w.t.Errorf("%s has %d connections, want %d: %v", h.name, len(h.live), want, h.events)
			}
		})
	}
	w.ledger.mu.Lock()
	defer w.ledger.mu.Unlock()
	if len(w.ledger.owner) != giver+taker {
		w.t.Errorf("%d connections have an owner, want %d", len(w.ledger.owner), giver+taker)
	}
}

func count(list []string, s string) (n int) {
	for _, e := range list {
		if e == s {
			n++
		}
	}
	return n
}

// openFDs returns the number of open descriptors of this process, or -1 if it is unknown.
func openFDs() int {
	list, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return -1
	}
	return len(list)
}

// wantErr checks that an error wraps another.
func wantErr(t *testing.T, got, want error) {
	t.Helper()
	if !errors.Is(got, want) {
		t.Errorf("error %v, want %v", got, want)
	}
}
