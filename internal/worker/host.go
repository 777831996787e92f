package worker

import (
	"log/slog"
	"os"
	"sync/atomic"
	"time"

	"github.com/expedite-go/expedite/cluster"
	"github.com/expedite-go/expedite/internal/access"
	"github.com/expedite-go/expedite/internal/broker"
	"github.com/expedite-go/expedite/internal/connid"
	"github.com/expedite-go/expedite/internal/engine"
	"github.com/expedite-go/expedite/internal/handoff"
	"github.com/expedite-go/expedite/internal/reactor"
	"github.com/expedite-go/expedite/internal/resource"
)

// hostConfig is what a host works with.
type hostConfig struct {
	engine   *engine.Engine
	local    *broker.Local
	orders   *access.Orders
	tracker  *access.Tracker
	clientOf func(owner any) *access.Client
	log      *slog.Logger
	slot     int
	version  string        // of the build, for the other side
	stall    time.Duration // silence of the other side; 0 is the default
	straggle time.Duration // how long a move waits for callbacks that do not return
}

// host moves connections to other workers and takes those that arrive: it is internal/handoff's Host. Its methods run
// on the loop unless they say otherwise.
type host struct {
	hostConfig
	full   atomic.Bool   // no sockets are taken: all connections move away. Any goroutine
	active atomic.Bool   // a move is under way. Any goroutine
	begun  chan struct{} // receives when active is set
	end    *handoff.End  // nil while nothing moves
	order  cluster.Move  // of the primary, on the giving side
	cross  bool          // arrivals change their slot: the hub has to know
	come   []uint64      // those arrivals, until the end of the move
	leaves bool          // accepting is paused
	moved  int           // at the last tick that saw progress
	since  int64         // time of that tick in ns

	token  uint64 // of the latest fence
	fences []fence
	clear  uint64 // messages that the hub is known to have passed on

	left map[*engine.Batch]int64 // batches under way, with the time of Orders.Since
}

// fence waits for the hub to report that it has passed on all messages up to a number.
type fence struct {
	token, sent uint64
	done        []func()
}

func newHost(c hostConfig) *host {
	return &host{hostConfig: c, begun: make(chan struct{}, 1), left: make(map[*engine.Batch]int64)}
}

// options returns those of a move; count is that of handoff.Options.
func (h *host) options(count int) handoff.Options {
	return handoff.Options{
		Hello: handoff.Hello{StateMin: engine.StateVersionMin, StateMax: engine.StateVersion, Build: h.version},
		Count: count, Stall: h.stall, Now: reactor.Monotonic,
	}
}

// give moves connections away over f. Given receives the outcome; stuck is called if the other side has to be killed.
// Any goroutine.
func (h *host) give(f *os.File, order cluster.Move, given func(handoff.Outcome), stuck func()) {
	h.begin(f, func() (*handoff.End, error) {
		h.order = order
		o := h.options(order.Count)
		o.Given = func(out handoff.Outcome) {
			if out.Err != nil && order.Count < 0 { // nothing is settled after a failure
				h.over()
				h.stayOpen()
			}
			given(out)
		}
		o.Stuck = stuck
		return handoff.Give(h, f, o)
	}, given)
}

// take takes connections that arrive over f. Taken receives the outcome. Any goroutine.
func (h *host) take(f *os.File, cross bool, taken func(handoff.Outcome)) {
	h.begin(f, func() (*handoff.End, error) {
		h.cross, h.order = cross, cluster.Move{}
		o := h.options(-1)
		o.Taken = func(out handoff.Outcome) {
			h.arrived()
			h.over()
			if out.Err != nil { // this worker was about to be replaced, and stays
				h.stayOpen()
			}
			taken(out)
		}
		return handoff.Take(h, f, o)
	}, taken)
}

func (h *host) begin(f *os.File, start func() (*handoff.End, error), failed func(handoff.Outcome)) {
	posted := h.engine.Post(func() {
		end, err := start()
		if err != nil {
			failed(handoff.Outcome{Err: err})
			return
		}
		h.end = end
		h.active.Store(true)
		select {
		case h.begun <- struct{}{}:
		default:
		}
	})
	if !posted {
		_ = f.Close()
		failed(handoff.Outcome{Err: ErrStopped})
	}
}

// settle ends a move on the giving side: all messages for the connections that have left have come.
func (h *host) settle() {
	if h.end != nil {
		h.end.Settle()
		h.over()
	}
}

// over ends a move.
func (h *host) over() {
	h.orders.Recheck(func(int) {})
	h.end, h.since, h.order = nil, 0, cluster.Move{}
	h.active.Store(false)
}

// tick checks the timeouts of a move, if there is one, and reports its progress to the primary. Any goroutine.
func (h *host) tick(self *cluster.Self) {
	if !h.active.Load() {
		return
	}
	h.engine.Post(func() {
		if len(h.fences) > 0 { // the hub's answer may have been lost in an overload
			_ = h.local.Fence(h.fences[len(h.fences)-1].token)
		}
		if h.end == nil {
			return
		}
		h.end.Tick()
		if h.end != nil && h.order.ID != 0 {
			moved, left := h.end.Moved()
			_ = self.MoveProgress(h.order, moved, left)
			h.engine.Widen()
			h.impatient(moved)
			if h.end != nil {
				h.end.Resume()
			}
		}
	})
}

// impatient gives up connections whose callbacks do not return, if nothing else has moved for long enough.
func (h *host) impatient(moved int) {
	now := reactor.Monotonic()
	if moved != h.moved || h.since == 0 {
		h.moved, h.since = moved, now
		return
	}
	if time.Duration(now-h.since) > h.straggle {
		h.since = now
		h.engine.Forsake()
		h.end.Resume()
	}
}

// forward sends a directed message to where its connection has moved. It reports false if it has not moved from here.
func (h *host) forward(e broker.Envelope) bool {
	return h.end != nil && (damaged("forward") || h.end.Forward(e.Conn, broker.AppendEnvelope(nil, e)))
}

// holds reports whether a message for a connection that is here must wait for those that are still being forwarded.
func (h *host) holds(id uint64) bool { return h.end != nil && h.end.Holds(id) }

// closed tells the hub that a connection has ended which began in another slot. Any goroutine.
func (h *host) closed(id connid.ID) {
	if id.Slot() != h.slot {
		_ = h.local.Gone(uint64(id)) // if it is lost, the hub forgets the connection with the slot
	}
}

// fenced takes the hub's answer to a fence.
func (h *host) fenced(token uint64) {
	for len(h.fences) > 0 && h.fences[0].token <= token {
		f := h.fences[0]
		h.fences = h.fences[1:]
		h.clear = max(h.clear, f.sent)
		for _, done := range f.done {
			done()
		}
	}
}

// Post runs f on the loop. Any goroutine.
func (h *host) Post(f func()) bool { return h.engine.Post(f) }

// Position returns the number of the last publication.
func (h *host) Position() uint64 {
	h.engine.Reached(h.local.Position())
	return h.local.Position()
}

// Load returns the number of connections, including those in their handshake.
func (h *host) Load() int { return h.engine.Sockets() }

// FreeFDs returns the number of descriptors that this process may still open.
func (h *host) FreeFDs() int { return resource.FreeFDs() }

// Depart prepares connections for Freeze.
func (h *host) Depart(all bool) {
	if all || h.order.Leave {
		h.leaves = true
		h.full.Store(true)
		h.engine.PauseAccept()
	}
	count := h.order.Count
	if all {
		count = -1
	}
	h.engine.Depart(count, func() {
		if h.end != nil {
			h.end.Resume()
		}
	})
}

// Freeze takes up to count connections off the loop.
func (h *host) Freeze(count int) (handoff.Batch, handoff.BatchData, int) {
	position, since := h.Position(), h.orders.Since()
	b, left := h.engine.Freeze(count)
	c := handoff.BatchData{States: b.States, FDs: b.FDs, Position: position}
	if b.Len() > 0 {
		h.left[b] = since
	}
	damage(&c)
	return departing{b}, c, left
}

// departing is a batch of handoff.
type departing struct{ *engine.Batch }

// Split implements handoff.Batch.
func (d departing) Split(places []int) handoff.Batch { return departing{d.Batch.Split(places)} }

// arriving are arrivals of handoff.
type arriving struct{ *engine.Arrivals }

// Refused implements handoff.Arrivals.
func (a arriving) Refused() handoff.Refusal {
	places, err := a.Arrivals.Refused()
	if err == nil {
		return handoff.Refusal{}
	}
	return handoff.Refusal{Places: places, Reason: err.Error()}
}

// Release ends this worker's side of a batch: the other one has it.
func (h *host) Release(b handoff.Batch) {
	batch := b.(departing).Batch
	delete(h.left, batch)
	batch.Owners(func(owner any) {
		if c := h.clientOf(owner); c != nil {
			h.tracker.Left(c)
		}
	})
	h.engine.Release(batch)
}

// Thaw puts a batch back on the loop.
func (h *host) Thaw(b handoff.Batch) {
	batch := b.(departing).Batch
	since := h.left[batch]
	delete(h.left, batch)
	var back []uint64
	if h.orders.Pending() {
		batch.IDs(func(id uint64) { back = append(back, id) })
	}
	h.engine.Thaw(batch)
	for _, id := range back {
		h.orders.Arrived(id, since)
	}
}

// Keep puts connections back on the loop that the other worker has refused.
func (h *host) Keep(b handoff.Batch, reason string) {
	batch := b.(departing).Batch
	var back []uint64
	if h.orders.Pending() {
		batch.IDs(func(id uint64) { back = append(back, id) })
	}
	h.engine.Keep(batch, reason)
	for _, id := range back {
		h.orders.Arrived(id, 0)
	}
}

// Stay continues with the connections that have not moved, and returns their number.
func (h *host) Stay() int {
	return h.engine.Stay()
}

// stayOpen accepts again after a move that failed.
func (h *host) stayOpen() {
	if !h.leaves {
		return
	}
	h.leaves = false
	h.full.Store(false)
	if err := h.engine.ResumeAccept(); err != nil {
		h.log.Error("cannot accept after a failed handoff", "error", err)
	}
}

// Fence calls done when the hub has passed on everything that was sent so far.
func (h *host) Fence(done func()) {
	sent := h.local.Sent()
	if (len(h.fences) == 0 && sent == h.clear) || damaged("fence") {
		done()
		return
	}
	if last := len(h.fences) - 1; last >= 0 && h.fences[last].sent == sent {
		h.fences[last].done = append(h.fences[last].done, done)
		return
	}
	h.fence(sent, done)
}

// Sync calls done when all publications so far have arrived.
func (h *host) Sync(done func()) { h.fence(h.local.Sent(), done) }

func (h *host) fence(sent uint64, done func()) {
	h.token++
	h.fences = append(h.fences, fence{token: h.token, sent: sent, done: []func(){done}})
	_ = h.local.Fence(h.token) // tick sends it again if it is lost
}

// Record keeps publications for connections that arrive.
func (h *host) Record() {
	h.Position()
	h.engine.Record()
}

// Admit puts connections on the loop: all, but for some that may be refused, or none.
func (h *host) Admit(c handoff.BatchData) (handoff.Arrivals, error) {
	h.Position()
	a, err := h.engine.AdmitMost(c.FDs, c.States, c.Position, c.Spare)
	if err != nil {
		return nil, err
	}
	return arriving{a}, nil
}

// Start makes arrivals live.
func (h *host) Start(a handoff.Arrivals) {
	h.engine.Start(a.(arriving).Arrivals)
	if h.orders.Pending() {
		a.IDs(func(id uint64) { h.orders.Arrived(id, 0) })
	}
	if h.cross {
		a.IDs(func(id uint64) { h.come = append(h.come, id) })
	}
}

// arrived tells the hub which connections live in this slot now. Before the end of the move, messages that the hub
// sends here would overtake those that the other worker forwards.
func (h *host) arrived() {
	for _, id := range h.come {
		if h.engine.Lookup(id) != nil {
			_ = h.local.Here(id) // if it is lost, the hub finds the connection by asking all
		}
	}
	h.come = nil
}

// StopRecording ends Record.
func (h *host) StopRecording() { h.engine.Unrecord() }

// Deliver passes a forwarded message to its connection.
func (h *host) Deliver(b []byte) { h.local.Redirect(b) }

// handoffTick is how often the timeouts of a move are checked.
const handoffTick = 250 * time.Millisecond

var _ handoff.Host = (*host)(nil)
