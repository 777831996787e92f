package engine

// mailbox holds the callbacks that a goroutine has to make for one connection. It exists, like the goroutine, only
// while there are any. Conn.mu guards waiting; the other fields belong to the goroutine.
type mailbox struct {
	waiting batch
	running batch
	next    int // index of the next callback in running
	from    int // where its payload begins
	held    int // what the engine's total includes of it; guarded by Conn.mu

	topics map[string]*heldTopic // of publications that wait; guarded by Conn.mu
}

// batch is a list of events with the payloads of its messages in one arena.
type batch struct {
	events []queuedEvent
	arena  []byte
	full   bool // the connection is not read until all of it was handled
}

// queuedEvent is an event whose payload ends at until in the arena and begins where the previous one ends.
type queuedEvent struct {
	event
	until int
}

func (b *batch) add(ev event) {
	b.arena = append(b.arena, ev.data...)
	ev.data = nil
	b.events = append(b.events, queuedEvent{event: ev, until: len(b.arena)})
}

// begins reports whether the event is the first that the application gets of a connection. Before that event, there is
// nothing to suspend.
func (l queuedEvent) begins() bool { return l.kind == eventOpen || l.kind == eventResume }

// begins reports whether the next event is the first that the application gets.
func (b *batch) begins() bool { return len(b.events) > 0 && b.events[0].begins() }

// prepend inserts ev before the other events.
func (b *batch) prepend(ev event) {
	rest := *b
	*b = batch{full: rest.full}
	b.add(ev)
	b.join(rest, 0)
}

// join appends the events of other from index on.
func (b *batch) join(other batch, index int) {
	from := 0
	for i, l := range other.events {
		if i >= index {
			l.data = other.arena[from:l.until]
			b.add(l.event)
		}
		from = l.until
	}
}

// drop removes the events of a kind.
func (b *batch) drop(kind eventKind) {
	all := *b
	*b = batch{full: all.full}
	from := 0
	for _, l := range all.events {
		if l.kind != kind {
			l.data = all.arena[from:l.until]
			b.add(l.event)
		}
		from = l.until
	}
}

func (b *batch) reset() {
	clear(b.events)
	if cap(b.arena) > maxKeptInbound {
		b.arena = nil
	}
	b.events, b.arena, b.full = b.events[:0], b.arena[:0], false
}

// post queues a callback for the goroutine of c and starts the goroutine if there is none. On the loop. A connection
// whose mailbox is full is not read until its callbacks have caught up.
func (c *Conn) post(ev event) {
	e := c.eng
	if ev.kind == eventMessage && !e.takes(c, len(ev.data)) {
		return
	}
	c.mu.Lock()
	idle := c.box == nil
	if idle {
		c.box = e.mailboxes.Get().(*mailbox)
	}
	if ev.held != nil {
		ev.held = c.box.hold(ev.held.topic)
	}
	c.box.waiting.add(ev)
	e.weigh(c.box)
	full := c.fills(&c.box.waiting)
	c.box.waiting.full = c.box.waiting.full || full
	c.mu.Unlock()
	if full && c.loopBits&bitPaused == 0 {
		e.count.limit(limitMailbox)
		c.stopReading(bitPaused)
	}
	if idle {
		e.tasks.Add(1)
		e.loop.Runnable()
		go c.work()
	}
}

// maxEvents is the maximum number of events in a mailbox. It matters if the payloads are empty.
const maxEvents = 4096

// pause moves the rest of running back in front of waiting, if c is about to move.
func (c *Conn) pause(box *mailbox) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.bits&bitLeaving == 0 {
		return false
	}
	waiting := box.waiting
	box.waiting = batch{full: box.running.full || waiting.full}
	box.waiting.join(box.running, box.next)
	box.waiting.join(waiting, 0)
	box.empty()
	c.eng.weigh(box)
	return true
}

// empty removes the callbacks that were made.
func (m *mailbox) empty() {
	m.running.reset()
	m.next, m.from = 0, 0
}

// The results of Conn.step.
const (
	stepOn   = iota // there may be more callbacks
	stepIdle        // there are none, and the mailbox is gone
	stepPark        // c is about to move
)

// work makes the callbacks of c until none is left. If a callback ends the goroutine (runtime.Goexit), another
// goroutine makes the rest.
func (c *Conn) work() {
	e := c.eng
	defer e.tasks.Done()
	end := stepOn
	defer func() {
		if end == stepOn {
			e.tasks.Add(1)
			go c.work()
		}
	}()
	for end == stepOn {
		end = c.step()
	}
	if end == stepPark {
		c.park()
	}
}

// step makes the callbacks that are queued so far.
func (c *Conn) step() int {
	e := c.eng
	c.mu.Lock()
	box := c.box
	if box.next == len(box.running.events) {
		box.empty()
		e.weigh(box)
		if c.bits&bitLeaving != 0 && !box.waiting.begins() {
			c.mu.Unlock()
			return stepPark
		}
		box.running, box.waiting = box.waiting, box.running
		if len(box.running.events) == 0 {
			if box.running.full { // what filled it was dropped
				e.loop.Post(c.resume)
			}
			box.running.reset()
			box.topics = nil
			c.box = nil
			if c.end != nil {
				c.markDirty() // the loop may wait for this: see Conn.part
			}
			c.mu.Unlock()
			e.mailboxes.Put(box)
			return stepIdle
		}
	}
	c.mu.Unlock()

	for box.next < len(box.running.events) {
		l := box.running.events[box.next]
		if e.leaving.Load() && !l.begins() && c.pause(box) {
			return stepPark
		}
		l.data = box.running.arena[box.from:l.until:l.until]
		box.from = l.until
		box.next++
		if !c.skips(l.kind) {
			c.call(l.event)
		}
	}
	if box.running.full {
		e.loop.Post(c.resume)
	}
	return stepOn
}

// skips reports whether a callback is no longer made: after the server has closed, only Close is.
func (c *Conn) skips(kind eventKind) bool {
	if c.phase.Load() == phaseOpen || (kind != eventMessage && kind != eventDrain) {
		return false
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.bits&bitOver != 0
}
