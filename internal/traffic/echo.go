package traffic

import (
	"bytes"
	"fmt"
	"strconv"
	"sync"
	"time"

	"github.com/expedite-go/expedite/ws"
)

// echoes is the common part of all clients whose messages are echoed. It is safe for concurrent use.
type echoes struct {
	path   string
	window int // limit of messages in flight
	bytes  int // limit of bytes in flight; 0 means no limit
	wake   chan struct{}

	mu     sync.Mutex
	seq    sequence
	sent   uint64
	flying int // bytes in flight
}

func newEchoes(sender int, window, limit int) echoes {
	path := pathEcho
	if sender%2 == 1 {
		path = pathWork
	}
	return echoes{path: path, window: window, bytes: limit, wake: make(chan struct{}, 1), seq: sequence{next: 1}}
}

func (e *echoes) target() string { return e.path }

// room blocks until a message of n bytes may be sent, and returns its number. It reports false if the client should
// stop sending.
func (e *echoes) room(c *client, n int) (number uint64, ok bool) {
	for !c.over() {
		e.mu.Lock()
		if e.sent+1-e.seq.next < uint64(e.window) && (e.bytes == 0 || e.flying+n <= e.bytes) {
			defer e.mu.Unlock()
			e.sent++
			e.flying += n
			return e.sent, true
		}
		e.mu.Unlock()
		select {
		case <-e.wake:
		case <-c.stop:
		case <-c.gone:
		}
	}
	return 0, false
}

// hear checks an echo.
func (e *echoes) hear(c *client, a *arrival) {
	if _, ok := e.accept(c, a); ok {
		c.run.tally.echoes.Add(1)
	}
}

// accept checks an echo of the client's own message and returns its number.
func (e *echoes) accept(c *client, a *arrival) (n uint64, ok bool) {
	sender, n, err := a.open()
	e.mu.Lock()
	defer e.mu.Unlock()
	switch {
	case err != nil:
		c.bad("%v", err)
	case sender != c.sender:
		c.bad("echo of a message of client %d", sender)
	case n > e.sent:
		c.bad("echo of number %d, but only %d were sent", n, e.sent)
	case c.take(&e.seq, n):
		e.flying -= a.size
		select {
		case e.wake <- struct{}{}:
		default:
		}
		return n, true
	}
	return 0, false
}

func (e *echoes) owed() (uint64, bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.seq.owed(e.sent), e.seq.complete(e.sent)
}

// smallWindow is the limit of short echoes in flight.
const smallWindow = 8

// small sends short messages and measures their round-trip times.
type small struct {
	echoes
	times struct {
		sync.Mutex
		sent [2 * smallWindow]time.Time // by number modulo its length; twice the window, because a number may be late
	}
}

func (s *small) play(c *client) error {
	for c.rest() {
		op, body := c.shortBody()
		n, ok := s.room(c, stampLen+len(body))
		if !ok {
			break
		}
		m := newMessage(op, c.sender, n, body)
		b := m.whole(nil)
		s.times.Lock()
		s.times.sent[n%uint64(len(s.times.sent))] = time.Now()
		s.times.Unlock()
		if err := c.send(op, b, cut{}); err != nil {
			return err
		}
	}
	return nil
}

func (s *small) hear(c *client, a *arrival) {
	n, ok := s.accept(c, a)
	if !ok {
		return
	}
	s.times.Lock()
	d := time.Since(s.times.sent[n%uint64(len(s.times.sent))])
	s.times.Unlock()
	c.run.rtt.add(d)
	c.run.window.Load().add(d)
	c.run.tally.echoes.Add(1)
}

// maxShort is the longest body of a short message, in bytes.
const maxShort = 200

func (c *client) shortBody() (ws.Opcode, []byte) {
	op := ws.OpText + ws.Opcode(c.rng.IntN(2))
	return op, c.run.corpus.body(c.rng, op, c.rng.IntN(maxShort+1))
}

// dribbling spreads each short message over the whole interval between two messages.
type dribbling struct{ echoes }

// dribbleLeast and dribbleMost are the bounds of the size of a dribbling client's writes, in bytes.
const dribbleLeast, dribbleMost = 1, 7

func (d *dribbling) play(c *client) error {
	for !c.over() {
		op, body := c.shortBody()
		n, ok := d.room(c, stampLen+len(body))
		if !ok {
			break
		}
		m := newMessage(op, c.sender, n, body)
		b := m.whole(nil)
		pieces := 1 + len(b)/((dribbleLeast+dribbleMost)/2)
		slowly := cut{dribbleLeast, dribbleMost, c.run.cfg.interval() / time.Duration(pieces)}
		if err := c.send(op, b, slowly); err != nil {
			return err
		}
	}
	return nil
}

// Parameters of slow clients: message sizes, bytes in flight and read sizes.
const (
	slowLeast, slowMost = 16 << 10, 64 << 10
	slowFlying          = 256 << 10
	slowFlyingTLS       = 960 << 10 // with TLS, the socket takes more before the server queues
	slowPause           = 10 * time.Millisecond
	slowReceive         = 4 << 10 // size of the socket's receive buffer
	slowSegment         = 1400    // TCP maximum segment size
)

// slow keeps as many bytes in flight as allowed and reads them slowly.
type slow struct{ echoes }

func (s *slow) play(c *client) error {
	for !c.over() {
		op := ws.OpText + ws.Opcode(c.rng.IntN(2))
		body := c.run.corpus.body(c.rng, op, slowLeast+c.rng.IntN(slowMost-slowLeast))
		n, ok := s.room(c, stampLen+len(body))
		if !ok {
			break
		}
		m := newMessage(op, c.sender, n, body)
		if err := c.fragment(ws.Header{Fin: true, Opcode: op, Length: uint64(m.len())}, &m, 0, quickly()); err != nil {
			return err
		}
	}
	return nil
}

// quickly returns the cut for long messages without pauses.
func quickly() cut { return cut{least: 1 << 10, most: 8 << 10} }

func (s *slow) pace(c *client) int {
	if !c.pause(c.slowly, slowPause) {
		return readRoom
	}
	return 1 + c.slowly.IntN(readRoom)
}

// counting sends short messages on behalf of a user; the server numbers them.
type counting struct {
	echoes
	user string
}

func (k *counting) target() string {
	return fmt.Sprintf("%s?user=%s&access_token=token-%s", pathCount, k.user, k.user)
}

func (k *counting) play(c *client) error {
	for c.rest() {
		op, body := ws.OpText, c.run.corpus.body(c.rng, ws.OpText, c.rng.IntN(maxShort+1))
		n, ok := k.room(c, stampLen+len(body))
		if !ok {
			break
		}
		m := newMessage(op, c.sender, n, body)
		if err := c.send(op, m.whole(nil), cut{}); err != nil {
			return err
		}
	}
	return nil
}

func (k *counting) hear(c *client, a *arrival) {
	b, whole := a.all()
	first, rest, found := bytes.Cut(b, []byte(opensField))
	opens, text, spaced := bytes.Cut(rest, []byte(" "))
	if !whole || !found || !spaced {
		c.bad("answer without a count: %.60q", b)
		return
	}
	var inner arrival
	inner.begin(a.op)
	inner.add(text)
	n, ok := k.accept(c, &inner)
	if !ok {
		return
	}
	if string(opens) != "1" || string(first) != strconv.FormatUint(n, 10) {
		c.bad("message %d has count %.20q and %.20q opens", n, first, opens)
		return
	}
	c.run.tally.counted.Add(1)
}

var (
	_ player = (*small)(nil)
	_ player = (*dribbling)(nil)
	_ player = (*slow)(nil)
	_ paced  = (*slow)(nil)
	_ player = (*counting)(nil)
)

// describe returns the length and the start of a payload for problem texts.
func describe(b []byte) string { return fmt.Sprintf("%d bytes, %.60q", len(b), b) }
