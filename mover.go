package expedite

import (
	"os"
	"sync/atomic"
	"time"

	"github.com/expedite-go/expedite/cluster"
	"github.com/expedite-go/expedite/internal/broker"
	"github.com/expedite-go/expedite/internal/connid"
	"github.com/expedite-go/expedite/internal/engine"
	"github.com/expedite-go/expedite/internal/handoff"
	"github.com/expedite-go/expedite/internal/reactor"
)

// mover is the node as one whose connections move. Its methods are for the loop, unless they say otherwise.
type mover struct {
	n      *node
	active atomic.Bool   // there is something for look; any goroutine
	begun  chan struct{} // told when it becomes so
	end    *handoff.End  // nil while nothing moves
	order  cluster.Move  // of the primary, at the giver
	cross  bool          // arrivals change their slot: the hub has to know
	come   []uint64      // those arrivals, until the end of the move
	leaves bool          // accepting is off
	moved  int           // at the last look that saw progress
	since  int64         // ns, of that look

	token  uint64 // of the latest fence
	fences []fence
	clear  uint64 // messages that are known to have been passed on

	left map[*engine.Batch]int64 // batches under way, with the time of orders.unheard
}

// fence waits for the hub's word that it has passed on all messages up to a number.
type fence struct {
	token, sent uint64
	done        []func()
}

func newMover(n *node) *mover {
	return &mover{n: n, begun: make(chan struct{}, 1), left: make(map[*engine.Batch]int64)}
}

// options are those of a move; count as in handoff.Options.
func (m *mover) options(count int) handoff.Options {
	return handoff.Options{
		Hello: handoff.Hello{StateMin: engine.StateVersionMin, StateMax: engine.StateVersion, Build: m.n.build},
		Count: count, Stall: m.n.stall, Now: reactor.Monotonic,
	}
}

// give moves connections away over f. given is told how that ended, and stuck that the other side must be ended by
// force. Any goroutine.
func (m *mover) give(f *os.File, order cluster.Move, given func(handoff.Outcome), stuck func()) {
	m.begin(f, func() (*handoff.End, error) {
		m.order = order
		o := m.options(order.Count)
		o.Given = func(out handoff.Outcome) {
			if out.Err != nil && order.Count < 0 { // nothing is settled after a failure
				m.over()
				m.stayOpen()
			}
			given(out)
		}
		o.Stuck = stuck
		return handoff.Give(m, f, o)
	}, given)
}

// take lets connections come over f. taken is told how that ended. Any goroutine.
func (m *mover) take(f *os.File, cross bool, taken func(handoff.Outcome)) {
	m.begin(f, func() (*handoff.End, error) {
		m.cross, m.order = cross, cluster.Move{}
		o := m.options(-1)
		o.Taken = func(out handoff.Outcome) {
			m.arrived()
			m.over()
			if out.Err != nil { // it was to give everything back, and will be needed after all
				m.stayOpen()
			}
			taken(out)
		}
		return handoff.Take(m, f, o)
	}, taken)
}

func (m *mover) begin(f *os.File, start func() (*handoff.End, error), failed func(handoff.Outcome)) {
	posted := m.n.eng.Post(func() {
		end, err := start()
		if err != nil {
			failed(handoff.Outcome{Err: err})
			return
		}
		m.end = end
		m.active.Store(true)
		select {
		case m.begun <- struct{}{}:
		default:
		}
	})
	if !posted {
		_ = f.Close()
		failed(handoff.Outcome{Err: ErrNotRunning})
	}
}

// settle ends a move that was given: all messages for those that have left have come.
func (m *mover) settle() {
	if m.end != nil {
		m.end.Settle()
		m.over()
	}
}

// over forgets a move.
func (m *mover) over() {
	m.n.orders.Recheck(func(int) {})
	m.end, m.since, m.order = nil, 0, cluster.Move{}
	m.active.Store(false)
}

// look looks at the time, while something moves, and tells the primary how far it is. Any goroutine.
func (m *mover) look(self *cluster.Self) {
	if !m.active.Load() {
		return
	}
	m.n.eng.Post(func() {
		if len(m.fences) > 0 { // the answer may have been lost in an overload
			_ = m.n.local.Fence(m.fences[len(m.fences)-1].token)
		}
		if m.end == nil {
			return
		}
		m.end.Tick()
		if m.end != nil && m.order.ID != 0 {
			moved, left := m.end.Moved()
			_ = self.MoveProgress(m.order, moved, left)
			m.n.eng.Widen()
			m.impatient(moved)
			if m.end != nil {
				m.end.Resume()
			}
		}
	})
}

// impatient gives up on connections whose callbacks do not return, when nothing else has moved for long enough.
func (m *mover) impatient(moved int) {
	now := reactor.Monotonic()
	if moved != m.moved || m.since == 0 {
		m.moved, m.since = moved, now
		return
	}
	if time.Duration(now-m.since) > m.n.straggle {
		m.since = now
		m.n.eng.Forsake()
		m.end.Resume()
	}
}

// forward sends a directed message after its connection. It reports false if the connection has not left from here.
func (m *mover) forward(e broker.Envelope) bool {
	return m.end != nil && (damaged("forward") || m.end.Forward(e.Conn, broker.AppendEnvelope(nil, e)))
}

// holds says whether a message for a connection that is here has to wait behind those that are still forwarded.
func (m *mover) holds(id uint64) bool { return m.end != nil && m.end.Holds(id) }

// closed takes note that a connection has ended. Any goroutine.
func (m *mover) closed(id uint64) {
	if connid.ID(id).Slot() != m.n.slot {
		_ = m.n.local.Gone(id) // if it is lost, the hub forgets with the slot
	}
}

// fenced is the hub's answer.
func (m *mover) fenced(token uint64) {
	for len(m.fences) > 0 && m.fences[0].token <= token {
		f := m.fences[0]
		m.fences = m.fences[1:]
		m.clear = max(m.clear, f.sent)
		for _, done := range f.done {
			done()
		}
	}
}

// Post runs f on the loop. Any goroutine.
func (m *mover) Post(f func()) bool { return m.n.eng.Post(f) }

// Position is the number of the last publication.
func (m *mover) Position() uint64 {
	m.n.eng.Reached(m.n.local.Position())
	return m.n.local.Position()
}

// Load is the number of connections, those in their handshake included.
func (m *mover) Load() int { return m.n.eng.Sockets() }

// FreeFDs is the number of descriptors that this process may still open.
func (m *mover) FreeFDs() int { return freeFDs() }

// Depart gets ready to freeze.
func (m *mover) Depart(all bool) {
	if all || m.order.Leave {
		m.leaves = true
		m.n.full.Store(true)
		m.n.eng.PauseAccept()
	}
	count := m.order.Count
	if all {
		count = -1
	}
	m.n.eng.Depart(count, func() {
		if m.end != nil {
			m.end.Resume()
		}
	})
}

// Freeze takes up to count connections off the loop.
func (m *mover) Freeze(count int) (handoff.Batch, handoff.BatchData, int) {
	position, since := m.Position(), m.n.orders.unheard()
	b, left := m.n.eng.Freeze(count)
	c := handoff.BatchData{States: b.States, FDs: b.FDs, Position: position}
	if b.Len() > 0 {
		m.left[b] = since
	}
	damage(&c)
	return b, c, left
}

// Release forgets a batch.
func (m *mover) Release(b handoff.Batch) {
	batch := b.(*engine.Batch)
	delete(m.left, batch)
	batch.Owners(m.n.gate.keeper.moved)
	m.n.eng.Release(batch)
}

// Thaw puts a batch back.
func (m *mover) Thaw(b handoff.Batch) {
	batch := b.(*engine.Batch)
	since := m.left[batch]
	delete(m.left, batch)
	var back []uint64
	if m.n.orders.pending() {
		batch.IDs(func(id uint64) { back = append(back, id) })
	}
	m.n.eng.Thaw(batch)
	for _, id := range back {
		m.n.orders.arrived(id, since)
	}
}

// Stay goes on with what has not moved.
func (m *mover) Stay() int {
	return m.n.eng.Stay()
}

// stayOpen accepts again after a move that has failed.
func (m *mover) stayOpen() {
	if !m.leaves {
		return
	}
	m.leaves = false
	m.n.full.Store(false)
	if err := m.n.eng.ResumeAccept(); err != nil {
		m.n.log.Error("cannot accept after a failed handoff", "error", err)
	}
}

// Fence calls done when the hub has passed on what was said so far.
func (m *mover) Fence(done func()) {
	sent := m.n.local.Sent()
	if (len(m.fences) == 0 && sent == m.clear) || damaged("fence") {
		done()
		return
	}
	if last := len(m.fences) - 1; last >= 0 && m.fences[last].sent == sent {
		m.fences[last].done = append(m.fences[last].done, done)
		return
	}
	m.fence(sent, done)
}

// Sync calls done when all publications so far have come.
func (m *mover) Sync(done func()) { m.fence(m.n.local.Sent(), done) }

func (m *mover) fence(sent uint64, done func()) {
	m.token++
	m.fences = append(m.fences, fence{token: m.token, sent: sent, done: []func(){done}})
	_ = m.n.local.Fence(m.token) // tick tries again
}

// Record keeps publications for arrivals.
func (m *mover) Record() {
	m.Position()
	m.n.eng.Record()
}

// Admit puts connections on the loop.
func (m *mover) Admit(c handoff.BatchData) (handoff.Arrivals, error) {
	m.Position()
	a, err := m.n.eng.Admit(c.FDs, c.States, c.Position)
	if err != nil {
		return nil, err
	}
	return a, nil
}

// Start makes them live.
func (m *mover) Start(a handoff.Arrivals) {
	m.n.eng.Start(a.(*engine.Arrivals))
	if m.n.orders.pending() {
		a.IDs(func(id uint64) { m.n.orders.arrived(id, 0) })
	}
	if m.cross {
		a.IDs(func(id uint64) { m.come = append(m.come, id) })
	}
}

// arrived tells the hub which connections live in this slot now. Earlier, messages that the hub sends here would
// overtake those that the other worker forwards.
func (m *mover) arrived() {
	for _, id := range m.come {
		if m.n.eng.Lookup(id) != nil {
			_ = m.n.local.Here(id) // the hub finds it by asking all, else
		}
	}
	m.come = nil
}

// StopRecording ends Expect.
func (m *mover) StopRecording() { m.n.eng.Unrecord() }

// Deliver brings a forwarded message to its connection.
func (m *mover) Deliver(b []byte) { m.n.local.Redirect(b) }

// handoffTick is how often a move looks at the time.
const handoffTick = 250 * time.Millisecond

var _ handoff.Host = (*mover)(nil)
