//go:build unix

package handoff

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/sys/unix"

	"github.com/expedite-go/expedite/internal/fdpass"
)

// patience bounds every wait in these tests. Reaching it is a failure; nothing depends on being faster.
const patience = 30 * time.Second

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// ledger knows who reads each connection, and finds two that do.
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

// host is a worker without WebSockets. All but the loop belongs to the loop; hooks are set before the move.
type host struct {
	name   string
	ledger *ledger

	mu      sync.Mutex
	work    sync.Cond
	queue   []func()
	stopped bool
	ended   chan struct{}
	changed chan struct{}

	end       *End
	live      map[uint64]int // descriptors
	order     []uint64       // of those that are live
	busy      map[uint64]bool
	events    []string
	said      map[uint64][]string
	astray    []string
	expecting int
	position  uint64
	free      int
	fences    []func() // those that wait, if fenced
	fenced    bool
	syncs     []func()

	onAdmit func(ids []uint64) error
	onStart func()
	given   []Outcome
	taken   []Outcome
	stuck   int
}

// group is connections on their way.
type group struct {
	ids []uint64
	fds []int
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

// stop ends the loop after what was posted.
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
	<-done
}

// await waits until cond holds, which is called on the loop.
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
func (h *host) Expect()          { h.expecting++ }
func (h *host) Expected()        { h.expecting-- }

func (h *host) Freeze(n int) (b Batch, c Cargo, left int) {
	g := &group{}
	var rest []uint64
	for _, id := range h.order {
		switch {
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
	h.note("thaw %d", b.Len())
	h.admit(b.(*group))
	h.enter(b.(*group))
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
}

func (h *host) Admit(c Cargo) (Arrivals, error) {
	g := &group{fds: c.FDs}
	for b := c.States; len(b) >= 8; b = b[8:] {
		g.ids = append(g.ids, binary.LittleEndian.Uint64(b))
	}
	err := error(nil)
	if len(g.ids) != len(g.fds) {
		err = fmt.Errorf("%d states, %d descriptors", len(g.ids), len(g.fds))
	} else if h.onAdmit != nil {
		err = h.onAdmit(g.ids)
	}
	if err != nil {
		h.note("refuse %d", g.Len())
		closeAll(g.fds)
		return nil, err
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
	case ok:
		h.said[id] = append(h.said[id], text)
	case h.end == nil || !h.end.Forward(id, m):
		h.astray = append(h.astray, text)
	}
}

// message is one for a connection.
func message(id uint64, text string) []byte {
	return append(binary.LittleEndian.AppendUint64(nil, id), text...)
}

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
	for i := range n {
		w.connect(uint64(i + 1))
	}
	t.Cleanup(w.end)
	return w
}

// connect adds a client to the giver. Before the move.
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

// options are those of a side, which record what it tells.
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

// start begins a move between the two.
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

// given waits for the outcome at the giver, taken for that at the taker.
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

// tick lets time pass at the giver.
func (w *world) tick(d time.Duration) {
	w.clock.Add(int64(d))
	w.giver.do(w.t, w.giver.end.Tick)
}

// wait waits until both channels have ended, so that no goroutine posts any more.
func (w *world) wait() {
	for _, h := range []*host{w.giver, w.taker} {
		if h.end != nil {
			h.await(w.t, "end", func() bool { return h.end.role == roleDone })
			<-h.end.ch.wrote
		}
	}
}

// end looks at all that must hold after any move, and cleans up.
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

// leaks compares the descriptors. A channel closes its own a moment after it has told of its end.
func (w *world) leaks() {
	for late := time.Now().Add(patience); openFDs() != w.before; {
		if time.Now().After(late) {
			w.t.Errorf("%d descriptors are open, %d were", openFDs(), w.before)
			return
		}
	}
}

// talk sees to it that each connection that is live leads to its client.
func (w *world) talk() {
	for _, h := range []*host{w.giver, w.taker} {
		for id, fd := range h.live {
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

// owned looks at the numbers of connections on both sides.
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

// openFDs counts the descriptors of this process, where that can be known.
func openFDs() int {
	list, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return -1
	}
	return len(list)
}

// peer is a worker played by hand.
type peer struct {
	t    *testing.T
	mu   sync.Mutex // a host may read in its place
	conn *fdpass.Conn
}

func newPeer(t *testing.T, f *os.File) *peer {
	t.Helper()
	c, err := fdpass.NewConn(f, maxFrame)
	if err != nil {
		t.Fatal(err)
	}
	late := time.AfterFunc(patience, func() { _ = c.Close() })
	t.Cleanup(func() { late.Stop(); _ = c.Close() })
	return &peer{t: t, conn: c}
}

// read expects a frame of a kind.
func (p *peer) read(kind byte) fdpass.Frame {
	p.t.Helper()
	p.mu.Lock()
	defer p.mu.Unlock()
	f, err := p.conn.Read()
	if err != nil || f.Kind != kind {
		p.t.Fatalf("read kind %d, %q, %v, want kind %d", f.Kind, f.Payload, err, kind)
	}
	return f
}

// batch expects a batch, whose descriptors it closes, and returns its number.
func (p *peer) batch() uint32 {
	p.t.Helper()
	f := p.read(kindBatch)
	closeAll(f.FDs)
	no, _, c, err := parseBatch(f.Payload, f.FDs)
	if err != nil || len(c.States) != 8*len(c.FDs) {
		p.t.Fatalf("batch of %d bytes, %d descriptors: %v", len(c.States), len(c.FDs), err)
	}
	return no
}

func (p *peer) write(kind byte, payload []byte) {
	p.t.Helper()
	if err := p.conn.Write(fdpass.AppendFrame(nil, kind, 0, payload)); err != nil {
		p.t.Fatal(err)
	}
}

func (p *peer) hello() {
	p.t.Helper()
	p.write(kindHello, Hello{StateMin: 1, StateMax: 1, FreeFDs: 1 << 20}.append(nil))
}

func (p *peer) ack(no uint32) {
	p.t.Helper()
	p.write(kindAck, binary.LittleEndian.AppendUint32(nil, no))
}

func (p *peer) nack(no uint32, why string) {
	p.t.Helper()
	p.write(kindNack, append(binary.LittleEndian.AppendUint32(nil, no), why...))
}

func (p *peer) close() { _ = p.conn.Close() }

// eof expects the end.
func (p *peer) eof() {
	p.t.Helper()
	if f, err := p.conn.Read(); err == nil {
		p.t.Errorf("read kind %d, want the end", f.Kind)
	}
}

// send gives connections as a giver would, and keeps nothing.
func (p *peer) send(w *world, no uint32, ids ...uint64) {
	p.t.Helper()
	c := Cargo{}
	for _, id := range ids {
		fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM, 0)
		if err != nil {
			p.t.Fatal(err)
		}
		w.clients[id] = fds[1]
		c.FDs, c.States = append(c.FDs, fds[0]), binary.LittleEndian.AppendUint64(c.States, id)
	}
	frame := fdpass.AppendFrame(nil, kindBatch, len(c.FDs), appendBatch(nil, no, 0, c))
	if err := p.conn.WriteFDs(frame, c.FDs); err != nil {
		p.t.Fatal(err)
	}
	closeAll(c.FDs)
}

// wantErr compares an error with the one that must be in it.
func wantErr(t *testing.T, got, want error) {
	t.Helper()
	if !errors.Is(got, want) {
		t.Errorf("error %v, want %v", got, want)
	}
}

// parcels are the batches under way.
func (h *host) parcels() (list []parcel) {
	done := make(chan struct{})
	h.Post(func() { list = slices.Clone(h.end.flight); close(done) })
	<-done
	return list
}

// waiting is the kinds of the frames that wait.
func (c *channel) waiting() (kinds []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, o := range c.queue {
		kinds = append(kinds, o.frame[4])
	}
	return kinds
}
