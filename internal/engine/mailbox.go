package engine

// mailbox holds the callbacks that one connection has to make on a goroutine. It exists only while there are any, and
// so does the goroutine. Conn.mu guards waiting; the other fields belong to the goroutine.
type mailbox struct {
	waiting batch
	running batch
	next    int // index in running of the next callback
	from    int // where its payload begins
	held    int // what the engine's sum has of it; guarded by Conn.mu
}

// batch is a list of events with the payloads of its messages in one arena.
type batch struct {
	events []letter
	arena  []byte
	full   bool // the connection is not read until all of it was handled
}

// letter is an event whose payload ends at end in the arena, and begins where the previous one ends.
type letter struct {
	event
	until int
}

func (b *batch) add(ev event) {
	b.arena = append(b.arena, ev.data...)
	ev.data = nil
	b.events = append(b.events, letter{event: ev, until: len(b.arena)})
}

// begins says whether the event is the first that an application hears of a connection: it cannot be packed before.
func (l letter) begins() bool { return l.kind == eventOpen || l.kind == eventResume }

// begins says whether the next event is such a one.
func (b *batch) begins() bool { return len(b.events) > 0 && b.events[0].begins() }

// prepend puts ev in front of the others.
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

// post queues a callback for the goroutine of c, and starts it if there is none. On the loop. A connection whose
// mailbox is full is not read until its callbacks have caught up.
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

// maxLetters bounds the number of events in a mailbox, whose payloads may be empty.
const maxLetters = 4096

// pause puts the rest of what runs back in front of what waits, if c is about to move.
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

// empty forgets the callbacks that were made.
func (m *mailbox) empty() {
	m.running.reset()
	m.next, m.from = 0, 0
}

// The ends of Conn.step.
const (
	stepOn   = iota // there may be more callbacks
	stepIdle        // there are none: the mailbox is gone
	stepPark        // c is about to move
)

// work makes the callbacks of c until none is left. If one ends the goroutine (runtime.Goexit), another goroutine makes
// the rest.
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

// step makes the callbacks that have come so far.
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
			if box.running.full { // what filled it was given up
				e.loop.Post(c.resume)
			}
			box.running.reset()
			c.box = nil
			if c.end != nil {
				c.markDirty() // the loop may have waited for this: see Conn.part
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

// skips reports whether a callback is not to be made any more: after the server's own close, nothing but Close is.
func (c *Conn) skips(kind eventKind) bool {
	if c.phase.Load() == phaseOpen || (kind != eventMessage && kind != eventDrain) {
		return false
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.bits&bitOver != 0
}
