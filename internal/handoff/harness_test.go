//go:build unix

package handoff

import (
	"encoding/binary"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
)

// patience limits every wait in these tests. Reaching it is a failure; no test depends on being faster.
const patience = 60 * time.Second

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// ledger records which host reads each connection, and reports a connection that two hosts read.
type ledger struct {
	mu    sync.Mutex
	owner map[uint64]string
	wrong []string
}

func (l *ledger) enter(id uint64, name string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if was, ok := l.owner[id]; ok {
		l.wrong = append(l.wrong, fmt.Sprintf("%s enters connection %d, which is with %s", name, id, was))
	}
	l.owner[id] = name
}

func (l *ledger) leave(id uint64, name string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if was := l.owner[id]; was != name {
		l.wrong = append(l.wrong, fmt.Sprintf("%s leaves connection %d, which is with %q", name, id, was))
	}
	delete(l.owner, id)
}

func (l *ledger) violations() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.wrong)
}

// host is a worker without WebSockets. Its state belongs to its loop; hooks are set before the move.
type host struct {
	name   string
	ledger *ledger

	mu      sync.Mutex
	work    sync.Cond
	queue   []func()
	stopped bool
	ended   chan struct{}
	changed chan struct{}

	end        *End
	live       map[uint64]int // descriptors
	order      []uint64       // of the keys of live
	busy       map[uint64]bool
	kept       map[uint64]bool // refused by the other side
	unreadable map[uint64]bool // are refused here, if they may be
	events     []string
	said       map[uint64][]string
	astray     []string
	expecting  int
	position   uint64
	slow       bool // the test answers syncs
	free       int
	fences     []func() // pending, if fenced is set
	fenced     bool
	syncs      []func()

	onAdmit func(ids []uint64) error
	onSpare func(int)
	onStart func()
	onThaw  func()
	given   []Outcome
	taken   []Outcome
	stuck   int
}

// group is a Batch, or Arrivals.
type group struct {
	ids     []uint64
	fds     []int
	refusal Refusal
}

func (g *group) Refused() Refusal { return g.refusal }

func (g *group) Split(places []int) Batch {
	out := &group{}
	for i := len(places) - 1; i >= 0; i-- {
		at := places[i]
		out.ids, out.fds = append(out.ids, g.ids[at]), append(out.fds, g.fds[at])
		g.ids, g.fds = slices.Delete(g.ids, at, at+1), slices.Delete(g.fds, at, at+1)
	}
	return out
}

func (g *group) Len() int { return len(g.ids) }

func (g *group) IDs(f func(uint64)) {
	for _, id := range g.ids {
		f(id)
	}
}

func newHost(name string, l *ledger) *host {
	h := &host{name: name, ledger: l, ended: make(chan struct{}), changed: make(chan struct{}, 1), free: 1 << 20}
	h.live, h.said, h.busy = make(map[uint64]int), make(map[uint64][]string), make(map[uint64]bool)
	h.kept, h.unreadable = make(map[uint64]bool), make(map[uint64]bool)
	h.work.L = &h.mu
	go h.run() // ends with stop
	return h
}

func (h *host) run() {
	defer close(h.ended)
	for {
		h.mu.Lock()
		for len(h.queue) == 0 && !h.stopped {
			h.work.Wait()
		}
		if len(h.queue) == 0 {
			h.mu.Unlock()
			return
		}
		f := h.queue[0]
		h.queue = h.queue[1:]
		h.mu.Unlock()
		f()
		select {
		case h.changed <- struct{}{}:
		default:
		}
	}
}

// stop ends the loop after everything that was posted.
func (h *host) stop() {
	h.mu.Lock()
	h.stopped = true
	h.work.Signal()
	h.mu.Unlock()
	<-h.ended
}

func (h *host) Post(f func()) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.stopped {
		return false
	}
	h.queue = append(h.queue, f)
	h.work.Signal()
	return true
}

// do runs f on the loop and waits for it.
func (h *host) do(t *testing.T, f func()) {
	t.Helper()
	done := make(chan struct{})
	if !h.Post(func() { f(); close(done) }) {
		t.Fatalf("%s: the loop has ended", h.name)
	}
	select {
	case <-done:
	case <-time.After(patience):
		t.Fatalf("%s: the loop does not go on", h.name)
	}
}

// await waits until cond, which is called on the loop, returns true.
func (h *host) await(t *testing.T, what string, cond func() bool) {
	t.Helper()
	late := time.NewTimer(patience)
	defer late.Stop()
	for {
		ok := false
		h.do(t, func() { ok = cond() })
		if ok {
			return
		}
		select {
		case <-h.changed:
		case <-late.C:
			h.do(t, func() { t.Errorf("%s: events %v", h.name, h.events) })
			t.Fatalf("%s: waited in vain: %s", h.name, what)
		}
	}
}

func (h *host) note(format string, args ...any) {
	h.events = append(h.events, fmt.Sprintf(format, args...))
}

func (h *host) Position() uint64 { return h.position }
func (h *host) Load() int        { return len(h.order) }
func (h *host) FreeFDs() int     { return h.free }
func (h *host) Depart(all bool)  { h.note("depart %v", all) }
func (h *host) Record()          { h.expecting++ }
func (h *host) StopRecording()   { h.expecting-- }

func (h *host) Freeze(n int) (b Batch, c BatchData, left int) {
	g := &group{}
	var rest []uint64
	for _, id := range h.order {
		switch {
		case h.kept[id]:
			rest = append(rest, id)
		case h.busy[id]:
			left++
			rest = append(rest, id)
		case len(g.ids) == n:
			rest = append(rest, id)
		default:
			g.ids, g.fds = append(g.ids, id), append(g.fds, h.live[id])
			c.States = binary.LittleEndian.AppendUint64(c.States, id)
			h.ledger.leave(id, h.name)
			delete(h.live, id)
		}
	}
	h.order = rest
	if g.Len() > 0 {
		h.note("freeze %d", g.Len())
	}
	c.FDs, c.Position = g.fds, h.position
	return g, c, left
}

func (h *host) Release(b Batch) {
	h.note("release %d", b.Len())
	closeAll(b.(*group).fds)
}

func (h *host) admit(g *group) {
	for i, id := range g.ids {
		h.live[id] = g.fds[i]
		h.order = append(h.order, id)
	}
}

func (h *host) enter(g *group) {
	for _, id := range g.ids {
		h.ledger.enter(id, h.name)
	}
}

func (h *host) Thaw(b Batch) {
	if h.onThaw != nil {
		h.onThaw()
	}
	h.note("thaw %d", b.Len())
	h.admit(b.(*group))
	h.enter(b.(*group))
}

func (h *host) Keep(b Batch, reason string) {
	h.note("keep %d: %s", b.Len(), reason)
	h.admit(b.(*group))
	h.enter(b.(*group))
	b.IDs(func(id uint64) { h.kept[id] = true })
}

func (h *host) Stay() int {
	h.note("stay")
	return len(h.order)
}

func (h *host) Fence(done func()) {
	if h.fenced {
		h.fences = append(h.fences, done)
		return
	}
	done()
}

func (h *host) Sync(done func()) {
	h.note("sync")
	h.syncs = append(h.syncs, done)
	if !h.slow {
		h.Post(done)
	}
}

func (h *host) Admit(c BatchData) (Arrivals, error) {
	if h.onSpare != nil {
		h.onSpare(c.Spare)
	}
	g := &group{fds: c.FDs}
	for b := c.States; len(b) >= 8; b = b[8:] {
		g.ids = append(g.ids, binary.LittleEndian.Uint64(b))
	}
	err := error(nil)
	for _, id := range g.ids {
		if _, ok := h.live[id]; ok {
			err = fmt.Errorf("connection %d is here", id)
		}
	}
	if len(g.ids) != len(g.fds) {
		err = fmt.Errorf("%d states, %d descriptors", len(g.ids), len(g.fds))
	} else if err == nil && h.onAdmit != nil {
		err = h.onAdmit(g.ids)
	}
	if err != nil {
		h.note("refuse %d", g.Len())
		closeAll(g.fds)
		return nil, err
	}
	for i := len(g.ids) - 1; i >= 0; i-- {
		if h.unreadable[g.ids[i]] && len(g.refusal.Places) < c.Spare {
			g.refusal.Places = slices.Insert(g.refusal.Places, 0, i)
			g.refusal.Reason = "unreadable"
			closeAll(g.fds[i : i+1])
			g.ids, g.fds = slices.Delete(g.ids, i, i+1), slices.Delete(g.fds, i, i+1)
		}
	}
	h.note("admit %d", g.Len())
	h.admit(g)
	return g, nil
}

func (h *host) Start(a Arrivals) {
	if h.onStart != nil {
		h.onStart()
	}
	h.enter(a.(*group))
}

func (h *host) Deliver(m []byte) {
	if len(m) < 8 {
		h.astray = append(h.astray, string(m))
		return
	}
	id, text := binary.LittleEndian.Uint64(m), string(m[8:])
	switch _, ok := h.live[id]; {
	case ok && h.end != nil && h.end.Holds(id):
		h.end.Forward(id, m)
	case ok:
		h.said[id] = append(h.said[id], text)
	case h.end == nil || !h.end.Forward(id, m):
		h.astray = append(h.astray, text)
	}
}

// message returns a message for a connection.
func message(id uint64, text string) []byte {
	return append(binary.LittleEndian.AppendUint64(nil, id), text...)
}

// parcels returns the batches in transit.
func (h *host) parcels() (list []parcel) {
	done := make(chan struct{})
	h.Post(func() { list = slices.Clone(h.end.flight); close(done) })
	<-done
	return list
}

// waiting returns the kinds of the frames that wait.
func (c *channel) waiting() (kinds []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, o := range c.queue {
		kinds = append(kinds, o.frame[4])
	}
	return kinds
}
