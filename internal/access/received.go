package access

import (
	"context"
	"encoding/binary"
	"errors"
	"hash/fnv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/expedite-go/expedite/internal/engine"
	"github.com/expedite-go/expedite/internal/record"
	"github.com/expedite-go/expedite/session"
)

// A session remembers what its client has received of topics with a history. When a connection ends, its worker saves
// that as a value of the session, before the store learns of the end. The next connection of the session goes on from
// there, topic by topic, as it subscribes.
//
// A connection that takes the session over from another one waits until that has been closed and has saved its last
// word. If that does not come, its machine is gone: then what was saved last, while it was open, counts, and a client
// may get the messages of the last seconds again.

// receivedKey is the key of the value. Keys of applications do not begin with a zero byte.
const receivedKey = "\x00received"

const (
	// maxReceived is the length of the value in bytes; topics beyond it are left out.
	maxReceived = 16 << 10
	// rememberEvery is the time between two saves of open connections, and rememberShare the number of connections that
	// are looked at each time.
	rememberEvery = time.Second
	rememberShare = 500
	// saversAtOnce bounds the requests to the store that save what was received, waitersAtOnce the connections that wait
	// for the last word of others.
	saversAtOnce, waitersAtOnce = 32, 1024
	// waitFirst is the time until the last word of another connection is looked for again. It doubles up to waitRounds
	// times, three seconds together.
	waitFirst, waitRounds = 20 * time.Millisecond, 7
)

// received is what the connections of a session have received, as it was saved.
type received struct {
	conn  uint64 // the connection that has saved it
	final bool   // it has ended
	marks []engine.Mark
}

const (
	tagReceivedBy   = 0x01 // connection (8), 1 if it has ended (1)
	tagReceivedMark = 0x02 // repeated: epoch (8), offset (8), topic
)

// append appends the value.
func (r *received) append(b []byte) []byte {
	b = binary.LittleEndian.AppendUint64(record.AppendHeader(b, tagReceivedBy, 9), r.conn)
	final := byte(0)
	if r.final {
		final = 1
	}
	b = append(b, final)
	for _, m := range r.marks {
		if len(b)+len(m.Topic)+24 > maxReceived {
			break
		}
		b = binary.LittleEndian.AppendUint64(record.AppendHeader(b, tagReceivedMark, 16+len(m.Topic)), m.Epoch)
		b = append(binary.LittleEndian.AppendUint64(b, m.Offset), m.Topic...)
	}
	return b
}

var errReceived = errors.New("access: what a session has received cannot be read")

// parseReceived reads the value. It ignores records of later releases.
func parseReceived(b []byte) (r received, err error) {
	for d := record.NewDecoder(b); d.More(); {
		tag, v := d.Next()
		switch {
		case d.Err() != nil:
			return received{}, errReceived
		case tag == tagReceivedBy && len(v) == 9:
			r.conn, r.final = binary.LittleEndian.Uint64(v), v[8] == 1
		case tag == tagReceivedMark && len(v) > 16:
			at := engine.Place{Epoch: binary.LittleEndian.Uint64(v), Offset: binary.LittleEndian.Uint64(v[8:])}
			r.marks = append(r.marks, engine.Mark{Topic: string(v[16:]), Place: at})
		}
	}
	return r, nil
}

// resume is where a connection that has resumed a session goes on.
type resume struct {
	mu      sync.Mutex
	known   bool
	blind   bool                   // the last word of the connection before is not known
	marks   map[string]engine.Mark // of topics that it has not subscribed to yet
	waiting map[string]func(engine.Mark, bool)
	gone    chan struct{} // closed when the connection leaves; nil if nobody waits for that
}

// leave tells that nobody needs the marks any more. On the loop.
func (r *resume) leave() {
	select {
	case <-r.gone:
	default:
		if r.gone != nil {
			close(r.gone)
		}
	}
}

// settle makes the marks known.
func (r *resume) settle(marks []engine.Mark) {
	r.mu.Lock()
	r.known, r.marks = true, make(map[string]engine.Mark, len(marks))
	for _, m := range marks {
		r.marks[m.Topic] = m
	}
	waiting := r.waiting
	r.waiting = nil
	r.mu.Unlock()
	for topic, f := range waiting {
		f(r.take(topic))
	}
}

// settleBlind makes known that the marks will not be.
func (r *resume) settleBlind() {
	r.mu.Lock()
	r.blind = true
	r.mu.Unlock()
	r.settle(nil)
}

func (r *resume) take(topic string) (engine.Mark, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	m, ok := r.marks[topic]
	delete(r.marks, topic)
	return m, ok || r.blind
}

// unknown reports whether it is not known, or not yet, what was received.
func (r *resume) unknown() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return !r.known || r.blind
}

// left returns the marks that nobody has taken.
func (r *resume) left() (list []engine.Mark) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, m := range r.marks {
		list = append(list, m)
	}
	return list
}

// waits reports whether c does not know yet what its session has received: what the connection before has saved must
// stay.
func (c *Client) waits() bool {
	if c.extra == nil || c.extra.resume == nil {
		return false
	}
	r := c.extra.resume
	r.mu.Lock()
	defer r.mu.Unlock()
	return !r.known
}

// Remembers reports whether the session of c may know what its client has received on a topic.
func (c *Client) Remembers(topic string) bool {
	if c.extra == nil || c.extra.resume == nil {
		return false
	}
	r := c.extra.resume
	r.mu.Lock()
	defer r.mu.Unlock()
	_, found := r.marks[topic]
	return found || !r.known || r.blind
}

// Forget gives up a Continue that waits: the connection has unsubscribed.
func (c *Client) Forget(topic string) {
	if c.extra == nil || c.extra.resume == nil {
		return
	}
	r := c.extra.resume
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.waiting, topic)
}

// Continue calls f once with what the session of c has received on a topic, and forgets it: the connection subscribes
// to the topic now. ok is false if there was nothing to receive. If what was received is not known, the mark is zero.
// Unless it is known already, f is called later, on another goroutine. A further call for the topic replaces the one
// that waits.
func (c *Client) Continue(topic string, f func(m engine.Mark, ok bool)) {
	r := c.extra.resume
	r.mu.Lock()
	if !r.known {
		if r.waiting == nil {
			r.waiting = make(map[string]func(engine.Mark, bool))
		}
		r.waiting[topic] = f
		r.mu.Unlock()
		return
	}
	r.mu.Unlock()
	f(r.take(topic))
}

// resumed prepares a connection that has resumed a session. It asks the store, if the session is not held by another
// connection; else claims settles it.
func (t *Tracker) resumed(ctx context.Context, c *Client, d *details) {
	if !d.resumed || !t.Remember {
		return
	}
	r := &resume{gone: make(chan struct{})}
	c.more().resume = r
	if d.attached != nil {
		return
	}
	last, err := t.lastReceived(ctx, d.session)
	if err != nil { // the client is told that it may have missed something
		t.orphaned.Add(1)
		r.settleBlind()
		return
	}
	r.settle(last.marks)
}

// lastReceived returns what was saved of a session.
func (t *Tracker) lastReceived(ctx context.Context, id session.ID) (received, error) {
	values, err := t.Store.Load(ctx, id, receivedKey)
	if err != nil {
		return received{}, err
	}
	return parseReceived(values[receivedKey])
}

// awaitReceived settles r when the connection from which its session was taken has had its last word.
func (t *Tracker) awaitReceived(r *resume, id session.ID, from session.Place) {
	select {
	case t.waiters <- struct{}{}:
		defer func() { <-t.waiters }()
	case <-r.gone:
		return
	case <-t.done:
		r.settle(nil)
		return
	}
	pause := waitFirst
	for round := 0; ; round++ {
		ctx, cancel := context.WithTimeout(context.Background(), storeTimeout)
		last, err := t.lastReceived(ctx, id)
		cancel()
		known := err == nil && last.conn == from.Conn
		switch {
		case err == nil && (from.IsZero() || known && last.final):
			r.settle(last.marks)
			return
		case round >= waitRounds:
			t.orphaned.Add(1)
			if !known {
				r.settleBlind()
				return
			}
			r.settle(last.marks)
			return
		}
		select {
		case <-time.After(pause):
		case <-r.gone:
			return
		case <-t.done:
			r.settle(nil)
			return
		}
		pause *= 2
	}
}

// toSave is what a connection has received, on its way to the store.
type toSave struct {
	id     session.ID
	topics int
	value  []byte
}

// Leave notes what the client of a connection has received that is about to end, or that another connection replaces.
// The first call counts. It is called before Ended, on the loop, and never blocks.
func (t *Tracker) Leave(c *Client, marks []engine.Mark) {
	d := c.details.Load()
	if c.extra != nil && c.extra.resume != nil {
		c.extra.resume.leave()
	}
	if !t.Remember || c.left || d == nil || d.session.IsZero() || c.waits() {
		return
	}
	c.left = true
	save := t.toSave(c, d, marks, true)
	c.listened = save.topics > 0
	if c.listened || c.saved != 0 || c.Conn.Replaced() || c.extra != nil && c.extra.resume != nil {
		t.mu.Lock()
		defer t.mu.Unlock()
		if len(t.left) >= endedQueue {
			t.unsaved.Add(1)
			return
		}
		t.left = append(t.left, save)
	}
}

// toSave returns what is to be saved of a connection.
func (t *Tracker) toSave(c *Client, d *details, marks []engine.Mark, final bool) toSave {
	if c.extra != nil && c.extra.resume != nil {
		marks = append(marks, c.extra.resume.left()...)
	}
	r := received{conn: uint64(c.ID()), final: final, marks: marks}
	return toSave{d.session, len(marks), r.append(nil)}
}

// remember saves what the clients of the next connections have received, if that has changed: it counts if this process
// or the machine dies.
func (t *Tracker) remember() {
	if !t.saving.CompareAndSwap(false, true) {
		return
	}
	posted := t.Engine.Post(func() {
		var list []toSave
		t.remembered = t.Engine.Walk(t.remembered, rememberShare, func(ec *engine.Conn) {
			c := t.ClientOf(ec.Owner())
			if c == nil || !ec.Open() || c.left || c.waits() {
				return
			}
			d := c.details.Load()
			if d == nil || d.session.IsZero() {
				return
			}
			save := t.toSave(c, d, ec.Marks(), false)
			if sum := checksum(save.value); sum != c.saved && (save.topics > 0 || c.saved != 0) {
				c.saved = sum
				list = append(list, save)
			}
		})
		go func() { // ends with the timeout of the store
			defer t.saving.Store(false)
			t.saveAll(list)
		}()
	})
	if !posted {
		t.saving.Store(false)
	}
}

// checksum returns 16 bits that tell whether a value has changed. They are never 0.
func checksum(b []byte) uint16 {
	h := fnv.New32a()
	_, _ = h.Write(b)
	return max(uint16(h.Sum32())^uint16(h.Sum32()>>16), 1)
}

// saveAll saves what connections have received. It gives up when the store is away: the caller must not wait for each.
func (t *Tracker) saveAll(list []toSave) {
	var group sync.WaitGroup
	var away atomic.Bool
	slots := make(chan struct{}, saversAtOnce)
	for _, save := range list {
		slots <- struct{}{}
		group.Go(func() {
			defer func() { <-slots }()
			ctx, cancel := context.WithTimeout(context.Background(), storeTimeout)
			defer cancel()
			if away.Load() {
				t.unsaved.Add(1)
				return
			}
			err := t.Store.Save(ctx, save.id, session.Changes{receivedKey: save.value})
			if errors.Is(err, session.ErrUnavailable) || errors.Is(err, context.DeadlineExceeded) {
				away.Store(true)
			}
			if err != nil && !errors.Is(err, session.ErrDeferred) {
				t.unsaved.Add(1)
				return
			}
			t.saves.Add(1)
		})
	}
	group.Wait()
}
