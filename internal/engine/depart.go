package engine

import (
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"

	"github.com/expedite-go/expedite/internal/record"
	"github.com/expedite-go/expedite/ws"
)

const (
	// maxBatchBytes ends a batch before it holds as many connections as it may.
	maxBatchBytes = 1 << 20
	// maxStateBytes is the largest state that travels. A connection with more stays.
	maxStateBytes = 256 << 20
	// spareAsked is the number of connections beyond those that are to move whose callbacks are asked to pause, in case
	// that some do not return.
	spareAsked = 64
	// maxAsked is the number of connections whose callbacks are asked to pause at a time: the others go on meanwhile.
	maxAsked = 256
)

// Batch is connections on their way to another worker. They are off the loop, frozen between two events: nothing is
// read or written until Thaw or, over there, Start.
type Batch struct {
	// States holds each connection's state, preceded by its length (4 bytes, little-endian).
	States []byte
	// FDs are the sockets in the order of States. They stay open here until Release.
	FDs []int

	conns    []frozen
	position uint64 // of this worker when they were frozen
}

// Len is the number of connections.
func (b *Batch) Len() int { return len(b.conns) }

// IDs calls f with the id of each connection that has one.
func (b *Batch) IDs(f func(id uint64)) {
	for _, z := range b.conns {
		if z.conn.id != 0 {
			f(z.conn.id)
		}
	}
}

// Owners calls f with the owner of each connection that has one.
func (b *Batch) Owners(f func(owner any)) {
	for _, z := range b.conns {
		if o := z.conn.Owner(); o != nil {
			f(o)
		}
	}
}

// frozen is a connection of a batch, with what it must have back if it does not leave.
type frozen struct {
	conn    *Conn
	phase   uint32
	topics  []string
	carried []byte
	heard   uint64 // number of the last publication that the connection has had
}

// departures are the connections that wait to leave. On the loop.
type departures struct {
	cursor  int
	window  int                // connections whose callbacks may be asked to pause at a time
	budget  int                // connections that are still to be frozen; negative is all
	asked   map[*Conn]struct{} // their callbacks have been told to pause
	paused  []frozen           // their callbacks have paused
	staying map[*Conn]stay     // they cannot move, and why
	told    [numStays]bool     // the log has one of these
	ready   func()
}

// Depart gets ready to freeze count connections, or all of them if that is negative. ready is called on the loop
// whenever a connection that had to wait for a callback can be frozen now. On the loop.
func (e *Engine) Depart(count int, ready func()) {
	e.leaving.Store(true)
	e.dep = departures{
		budget: count, window: maxAsked, ready: ready,
		asked: make(map[*Conn]struct{}), staying: make(map[*Conn]stay),
	}
	e.recallLingering()
}

// Stay ends what Depart began: the connections that are still here go on. It returns the number of those that could not
// be moved. On the loop.
func (e *Engine) Stay() (staying int) {
	e.leaving.Store(false)
	for c := range e.dep.asked {
		c.mu.Lock()
		c.bits &^= bitLeaving
		c.mu.Unlock()
	}
	d := e.dep
	e.dep = departures{}
	for _, z := range d.paused {
		e.unpark(z.conn, z.carried)
	}
	for c, why := range d.staying {
		if e.conn(c.key) == c {
			staying++
			e.count.stays[why].Add(1)
		}
	}
	return staying
}

// Freeze takes up to n connections off the loop. left says of an empty batch how many will be ready later: they wait
// for a callback or for Authorize; after any other batch it is not 0, as there may be more. On the loop, after Depart.
func (e *Engine) Freeze(n int) (b *Batch, left int) {
	b = &Batch{position: e.position}
	for len(e.dep.paused) > 0 && b.room(n) {
		z := e.dep.paused[0]
		e.dep.paused = e.dep.paused[1:]
		if z.conn.gone() { // it has ended meanwhile: its last callback is still to be made
			e.unpark(z.conn, nil)
			continue
		}
		e.freeze(b, z.conn, z.carried)
	}
	for range e.conns {
		if !b.room(n) {
			break
		}
		if e.dep.cursor >= len(e.conns) {
			e.dep.cursor = 0
		}
		c := e.conns[e.dep.cursor]
		e.dep.cursor++
		if c == nil || !e.prepare(c) {
			continue
		}
		carried, err := c.suspendInline()
		if err != nil {
			e.remain(c, staySuspend, err)
			continue
		}
		e.freeze(b, c, carried)
	}
	if b.Len() > 0 {
		return b, 1
	}
	return b, e.waiting()
}

func (b *Batch) room(n int) bool { return len(b.conns) < n && len(b.States) < maxBatchBytes }

// Widen asks more connections to pause: those that were asked take their time. On the loop.
func (e *Engine) Widen() { e.dep.window += maxAsked }

// Forsake gives up on the connections that still wait for a callback or for Authorize: they stay. On the loop.
func (e *Engine) Forsake() {
	if !e.leaving.Load() {
		return
	}
	for _, c := range e.conns {
		if c == nil {
			continue
		}
		if _, asked := e.dep.asked[c]; asked || c.phase.Load() == phaseDecide {
			e.remain(c, stayCallback, errors.New("engine: its callback does not return"))
		}
	}
}

// waiting is the number of connections that are here and can move, now or later.
func (e *Engine) waiting() int {
	n := int(e.returning.Load())
	for _, c := range e.conns {
		if c == nil {
			continue
		}
		if _, stays := e.dep.staying[c]; !stays {
			n++
		}
	}
	return n
}

// prepare says whether c can be frozen now. One that has callbacks to make on a goroutine is asked to pause them.
func (e *Engine) prepare(c *Conn) bool {
	if _, stays := e.dep.staying[c]; stays || c.phase.Load() == phaseDecide {
		return false
	}
	if _, asked := e.dep.asked[c]; asked {
		return false
	}
	if c.sock.FD() < 0 {
		e.dep.staying[c] = stayDescriptor
		return false
	}
	if c.route == nil || c.route.Inline {
		return true
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.box == nil && (!c.route.Carries || c.id == 0) {
		return true
	}
	for _, z := range e.dep.paused {
		if z.conn == c {
			return false
		}
	}
	if asked := len(e.dep.asked) + len(e.dep.paused); asked >= e.dep.window ||
		(e.dep.budget >= 0 && asked >= e.dep.budget+spareAsked) {
		return false // enough stand still
	}
	e.dep.asked[c] = struct{}{}
	c.bits |= bitLeaving
	if c.box == nil { // from here on letters wait, and no goroutine is started for them
		c.box = e.mailboxes.Get().(*mailbox)
		e.tasks.Add(1)
		go func() {
			defer e.tasks.Done()
			c.park()
		}()
	}
	return false
}

// park is what the goroutine of c does last: it lets the application pack, and gives c to the loop.
func (c *Conn) park() {
	var carried []byte
	err := errSuspend // if Suspend ends the goroutine
	defer func() { c.eng.loop.Post(func() { c.eng.parked(c, carried, err) }) }()
	if !c.route.Carries {
		err = nil
		return
	}
	carried, err = c.suspend()
}

var errSuspend = errors.New("engine: Suspend did not return")

// parked takes note that c has paused.
func (e *Engine) parked(c *Conn, carried []byte, err error) {
	_, asked := e.dep.asked[c]
	delete(e.dep.asked, c)
	switch {
	case !asked || c.phase.Load() >= phaseClosed:
		e.unpark(c, carried)
	case err != nil:
		e.remain(c, staySuspend, err)
		e.unpark(c, nil)
	default:
		e.dep.paused = append(e.dep.paused, frozen{conn: c, carried: carried})
	}
	if e.dep.ready != nil {
		e.dep.ready()
	}
}

// unpark lets the callbacks of c, which is still on the loop, go on.
func (e *Engine) unpark(c *Conn, carried []byte) {
	c.mu.Lock()
	c.bits &^= bitLeaving
	if carried != nil && c.phase.Load() < phaseClosed {
		c.box.waiting.prepend(event{kind: eventResume, data: carried})
		e.weigh(c.box)
	}
	c.mu.Unlock()
	e.tasks.Add(1)
	go c.work()
	c.resume()
}

// remain keeps a connection that cannot move. Of those that have the same reason, the first is logged.
func (e *Engine) remain(c *Conn, why stay, err error) {
	e.dep.staying[c] = why
	if !e.dep.told[why] {
		e.dep.told[why] = true
		e.cfg.Logger.Warn("connection cannot move", "conn", fmt.Sprintf("%016x", c.id), "reason", why.String(), "error", err)
	}
}

// suspend asks the application what c carries. A panic keeps c here.
func (c *Conn) suspend() (carried []byte, err error) {
	returned := false
	defer func() {
		if !returned {
			p := recover()
			c.eng.Panicked("suspend", p)
			carried, err = nil, fmt.Errorf("engine: panic in suspend: %v", p)
		}
	}()
	carried, err = c.route.Handler.Suspend(c)
	returned = true
	if carried == nil {
		carried = []byte{}
	}
	return carried, err
}

// suspendInline is suspend for a route whose callbacks run on the loop.
func (c *Conn) suspendInline() ([]byte, error) {
	if c.route == nil || !c.route.Inline || !c.route.Carries || c.id == 0 {
		return nil, nil
	}
	var carried []byte
	err := errSuspend
	c.eng.apart(func() { carried, err = c.suspend() })
	return carried, err
}

// freeze takes c off the loop and adds it to b.
func (e *Engine) freeze(b *Batch, c *Conn, carried []byte) {
	if c.route != nil && c.route.Stays != nil && c.route.Stays(c) {
		e.remain(c, stayData, errStays)
		if c.box != nil {
			e.unpark(c, carried)
		}
		return
	}
	z := frozen{conn: c, phase: c.phase.Load(), carried: carried}
	at := len(b.States)
	c.mu.Lock()
	b.States = append(b.States, 0, 0, 0, 0)
	b.States = c.appendState(b.States, z.phase, carried)
	if len(b.States)-at > maxStateBytes {
		b.States = b.States[:at]
		c.mu.Unlock()
		e.remain(c, stayLarge, fmt.Errorf("%w: too large", ErrState))
		if c.box != nil {
			e.unpark(c, carried)
		} else if carried != nil {
			c.dispatch(event{kind: eventResume, data: carried})
		}
		return
	}
	if err := e.loop.Remove(c.key); err != nil {
		e.clientLog(slog.LevelError, "connection not taken off the loop", "error", err)
	}
	c.phase.Store(phaseAway)
	c.mu.Unlock()
	c.stopReading(bitPaused)
	e.conns[c.key.Index] = nil
	c.forgetPace()
	delete(e.gapped, c)
	e.topicsMu.Lock()
	for topic := range e.topics.Topics(c.key.Index) {
		z.topics = append(z.topics, topic)
		b.States = record.Append(b.States, tagTopic, topic)
	}
	e.topics.Drop(c.key.Index)
	z.heard = max(b.position, e.ahead[c.key.Index])
	delete(e.ahead, c.key.Index)
	e.topicsMu.Unlock()
	if z.heard > b.position {
		b.States = record.AppendUint64(b.States, tagHeard, z.heard)
	}
	binary.LittleEndian.PutUint32(b.States[at:], uint32(len(b.States)-at-4))
	b.FDs = append(b.FDs, c.sock.FD())
	b.conns = append(b.conns, z)
	if e.dep.budget > 0 {
		e.dep.budget--
	}
}

// Release forgets a batch that another worker has taken: the sockets are closed here, which the peers do not notice. No
// callback is made. On the loop.
func (e *Engine) Release(b *Batch) {
	for _, z := range b.conns {
		c := z.conn
		c.mu.Lock()
		if c.out != nil {
			e.count.queued(-c.out.size)
			c.out.release()
			e.outboxes.Put(c.out)
			c.out = nil
		}
		e.unweigh(c.box)
		c.box = nil
		c.mu.Unlock()
		c.dropInput()
		_ = c.sock.Close()
		c.leave()
		if z.phase < phaseOpen {
			c.tally().Add(-1)
			continue
		}
		e.idsMu.Lock()
		delete(e.ids, c.id)
		e.idsMu.Unlock()
	}
	e.count.movedOut.Add(uint64(len(b.conns)))
	e.forget(b.position) // what comes later has had at least these
	b.conns = nil
}

// Thaw puts a batch that was not taken back on the loop, where it goes on as if nothing had been. On the loop.
func (e *Engine) Thaw(b *Batch) {
	e.moving = true
	defer func() { e.moving = false }()
	for _, z := range b.conns {
		c := z.conn
		k, s, err := e.loop.Attach(c.sock.FD())
		c.mu.Lock()
		c.phase.Store(z.phase)
		c.mu.Unlock()
		if err != nil {
			e.clientLog(slog.LevelError, "connection lost", "conn", fmt.Sprintf("%016x", c.id), "error", err)
			e.lose(c)
			continue
		}
		c.key, c.sock = k, s
		e.settleIn(c, z.topics)
		parked := c.box != nil
		if parked && c.box.waiting.holdsBack() {
			e.holdBack(c)
		}
		if !parked && z.carried != nil {
			c.dispatch(event{kind: eventResume, data: z.carried})
		}
		e.catchUp(c, z.topics, z.heard)
		if parked {
			e.unpark(c, z.carried)
		}
	}
	b.conns = nil
}

// lose ends a connection whose socket is gone.
func (e *Engine) lose(c *Conn) {
	c.phase.Store(phaseClosed)
	c.dropInput()
	c.leave()
	if c.id == 0 {
		c.tally().Add(-1)
		return
	}
	e.idsMu.Lock()
	delete(e.ids, c.id)
	e.idsMu.Unlock()
	e.count.closed(ws.CloseAbnormal)
	c.dispatch(event{kind: eventClose, end: &ending{code: ws.CloseAbnormal}})
}

// settleIn makes the tables know c, which has just got its key, and sets its deadline. What waits is written.
func (e *Engine) settleIn(c *Conn, topics []string) {
	for int(c.key.Index) >= len(e.conns) {
		e.conns = append(e.conns, nil)
	}
	e.conns[c.key.Index] = c
	e.line(c)
	c.loopBits &^= bitReadPending
	c.readAgain(bitPaused | bitHeld)
	e.topicsMu.Lock()
	for _, topic := range topics {
		e.topics.Subscribe(topic, c.key.Index)
	}
	e.topicsMu.Unlock()
	c.mu.Lock()
	c.blocked.Store(false)
	c.bits &^= bitDirty
	if c.out != nil || c.phase.Load() == phaseClosing || c.phase.Load() == phaseRefused ||
		c.bits&(bitBroken|bitPressed) != 0 || c.end != nil {
		c.markDirty()
	}
	c.mu.Unlock()
	c.reschedule()
}

// reschedule sets the deadline that fits the phase.
func (c *Conn) reschedule() {
	loop := c.eng.loop
	switch c.phase.Load() {
	case phaseHead:
		limit := c.eng.cfg.HandshakeTimeout
		if c.loopBits&bitKept != 0 {
			limit = c.eng.cfg.KeepAlive
		}
		loop.SetDeadline(c.key, c.lastPing+int64(limit))
	case phaseOpen:
		c.schedule()
	default:
		if c.loopBits&bitSettling != 0 {
			loop.SetDeadline(c.key, c.lastPing+int64(c.settleLimit()))
		}
	}
}

// Sockets is the number of connections on the loop, those in their handshake included. On the loop.
func (e *Engine) Sockets() int {
	n := 0
	for _, c := range e.conns {
		if c != nil {
			n++
		}
	}
	return n
}
