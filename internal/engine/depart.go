package engine

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"

	"github.com/expedite-go/expedite/internal/record"
)

const (
	// maxBatchBytes is the size at which a batch ends even if it could have more connections.
	maxBatchBytes = 1 << 20
	// maxStateBytes is the maximum size of a state. A connection with a larger one does not move.
	maxStateBytes = 256 << 20
	// spareAsked is how many more connections than are to move are asked to pause their callbacks, in case some
	// callbacks do not return.
	spareAsked = 64
	// maxAsked is how many connections are asked to pause their callbacks at a time. The others continue meanwhile.
	maxAsked = 256
)

// Batch is a list of connections on their way to another worker. They are off the loop, frozen between two events:
// nothing is read or written until Thaw here or Start there.
type Batch struct {
	// States has the state of each connection, after its length (4 bytes, little-endian).
	States []byte
	// FDs has the sockets in the order of States. They stay open here until Release.
	FDs []int

	conns    []frozen
	position uint64 // of this worker when the connections were frozen
}

// Len returns the number of connections.
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

// frozen is a connection of a batch, with what Thaw needs to put it back.
type frozen struct {
	conn    *Conn
	phase   uint32
	topics  []string
	waiting []*recovery
	marks   []Mark
	carried []byte
	seen    uint64 // number of the last publication that the connection has had
}

// departures is the state of a departure. On the loop.
type departures struct {
	cursor  int                // index in Engine.conns
	window  int                // how many connections may be asked to pause at a time
	budget  int                // how many connections are still to be frozen; negative means all
	asked   map[*Conn]struct{} // asked to pause their callbacks
	paused  []frozen           // their callbacks have paused
	staying map[*Conn]stay     // cannot move, and why
	told    [numStays]bool     // reasons that were logged
	ready   func()
}

// Depart prepares to freeze count connections, or all of them if count is negative. ready is called on the loop
// whenever a connection that had to wait for a callback can be frozen. On the loop.
func (e *Engine) Depart(count int, ready func()) {
	e.leaving.Store(true)
	e.dep = departures{
		budget: count, window: maxAsked, ready: ready,
		asked: make(map[*Conn]struct{}), staying: make(map[*Conn]stay),
	}
	e.recallLingering()
}

// Stay ends a departure: the connections that are still here continue. It returns the number of those that could not
// move. On the loop.
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

// Freeze takes up to n connections off the loop. If the batch is empty, left is the number of connections that will be
// ready later, because they wait for a callback or for Authorize. Otherwise left is not 0, because there may be more.
// On the loop, after Depart.
func (e *Engine) Freeze(n int) (b *Batch, left int) {
	b = &Batch{position: e.position}
	for len(e.dep.paused) > 0 && b.room(n) {
		z := e.dep.paused[0]
		e.dep.paused = e.dep.paused[1:]
		if z.conn.gone() { // it has ended meanwhile: its last callback is still due
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

// Widen asks more connections to pause, because those asked before take long. On the loop.
func (e *Engine) Widen() { e.dep.window += maxAsked }

// Forsake gives up on connections that still wait for a callback or for Authorize: they do not move. On the loop.
func (e *Engine) Forsake() {
	if !e.leaving.Load() {
		return
	}
	for _, c := range e.conns {
		if c == nil {
			continue
		}
		if _, asked := e.dep.asked[c]; asked || c.undecided() {
			e.remain(c, stayCallback, errors.New("engine: a callback does not return"))
		}
	}
}

// waiting returns the number of connections here that can move, now or later.
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

// prepare reports whether c can be frozen now. If c has callbacks on a goroutine, prepare asks them to pause.
func (e *Engine) prepare(c *Conn) bool {
	if _, stays := e.dep.staying[c]; stays || c.undecided() {
		return false
	}
	if _, asked := e.dep.asked[c]; asked {
		return false
	}
	if c.sock.FD() < 0 || c.route == nil && c.presented() {
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
		return false // enough are paused
	}
	e.dep.asked[c] = struct{}{}
	c.bits |= bitLeaving
	if c.box == nil { // from here on events wait, and no goroutine is started for them
		c.box = e.mailboxes.Get().(*mailbox)
		e.tasks.Add(1)
		go func() {
			defer e.tasks.Done()
			c.park()
		}()
	}
	return false
}

// park runs at the end of the goroutine of c: it calls Suspend and passes c to the loop.
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

// parked handles a connection whose callbacks have paused.
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
	e.nudge()
}

// unpark continues the callbacks of c, which is still on the loop.
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

// remain marks a connection that cannot move. It logs the first one for each reason.
func (e *Engine) remain(c *Conn, why stay, err error) {
	e.dep.staying[c] = why
	if !e.dep.told[why] {
		e.dep.told[why] = true
		attrs := append(c.attrs(), slog.String("reason", why.String()), slog.Any("error", err))
		e.cfg.Logger.LogAttrs(context.Background(), slog.LevelWarn, "connection cannot move", attrs...)
	}
}

// suspend asks the application for the data that moves with c. After a panic c stays here.
func (c *Conn) suspend() (carried []byte, err error) {
	returned := false
	defer func() {
		if !returned {
			p := recover()
			c.eng.Panicked("suspend", p, c.attrs()...)
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
		e.clientLog(slog.LevelError, "connection could not be removed from the loop", "error", err)
	}
	c.phase.Store(phaseAway)
	c.mu.Unlock()
	c.stopReading(bitPaused)
	e.conns[c.key.Index] = nil
	c.forgetRate()
	delete(e.gapped, c)
	e.topicsMu.Lock()
	for topic := range e.topics.Topics(c.key.Index) {
		z.topics = append(z.topics, topic)
		b.States = record.Append(b.States, tagTopic, topic)
	}
	z.marks = e.marksOf(c)
	for i := range z.marks {
		b.States = z.marks[i].append(b.States)
	}
	e.topics.Drop(c.key.Index)
	for _, r := range e.withdrawAll(c, ErrMoved) {
		z.waiting = append(z.waiting, r)
		b.States = record.Append(b.States, tagRecovery, r.appendTo(nil))
	}
	z.seen = max(b.position, e.ahead[c.key.Index])
	delete(e.ahead, c.key.Index)
	e.topicsMu.Unlock()
	if z.seen > b.position {
		b.States = record.AppendUint64(b.States, tagSeen, z.seen)
	}
	binary.LittleEndian.PutUint32(b.States[at:], uint32(len(b.States)-at-4))
	b.FDs = append(b.FDs, c.sock.FD())
	b.conns = append(b.conns, z)
	if e.dep.budget > 0 {
		e.dep.budget--
	}
}

// Release drops a batch that another worker has taken over. It closes the sockets of this process, which the peers do
// not notice, and makes no callbacks. On the loop.
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
		c.dropWindows()
		_ = c.sock.Drop()
		c.leave()
		delete(e.meters, c)
		if z.phase < phaseOpen {
			c.tally().Add(-1)
			continue
		}
		e.idsMu.Lock()
		delete(e.ids, c.id)
		e.idsMu.Unlock()
		e.tellSubscribed(c, z.topics, false)
		c.mu.Lock()
		c.endContext(ErrMoved)
		c.mu.Unlock()
	}
	e.count.movedOut.Add(uint64(len(b.conns)))
	e.forget(b.position) // later arrivals have had at least these
	b.conns = nil
}

// Thaw puts a batch that was not taken over back on the loop, where the connections continue unchanged. On the loop.
func (e *Engine) Thaw(b *Batch) {
	e.moving = true
	defer func() { e.moving = false }()
	for _, z := range b.conns {
		c := z.conn
		k, s, err := e.loop.Return(c.sock)
		c.mu.Lock()
		c.phase.Store(z.phase)
		c.mu.Unlock()
		if err != nil {
			e.clientLog(slog.LevelError, "connection lost", "conn", fmt.Sprintf("%016x", c.id), "error", err)
			e.tellSubscribed(c, z.topics, false)
			e.lose(c)
			continue
		}
		c.key, c.sock = k, s
		e.settleIn(c, z.topics, z.marks)
		parked := c.box != nil
		if parked && c.box.waiting.holdsBack() {
			e.holdBack(c)
		}
		if !parked && z.carried != nil {
			c.dispatch(event{kind: eventResume, data: z.carried})
		}
		e.catchUp(c, z.topics, z.seen)
		e.carryOn(c, z.waiting)
		if parked {
			e.unpark(c, z.carried)
		}
	}
	b.conns = nil
}

// settleIn adds c, which has a new key, to the tables and sets its deadline. It schedules waiting output.
func (e *Engine) settleIn(c *Conn, topics []string, had []Mark) {
	for int(c.key.Index) >= len(e.conns) {
		e.conns = append(e.conns, nil)
	}
	e.conns[c.key.Index] = c
	e.line(c)
	c.loopBits &^= bitReadPending
	c.readAgain(bitsUnread)
	e.topicsMu.Lock()
	for _, topic := range topics {
		e.topics.Subscribe(topic, c.key.Index)
	}
	e.arriveAt(had)
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

// Sockets returns the number of connections on the loop, including those in their handshake. On the loop.
func (e *Engine) Sockets() int {
	n := 0
	for _, c := range e.conns {
		if c != nil {
			n++
		}
	}
	return n
}
