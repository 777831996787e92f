package traffic

import (
	"bytes"
	"time"

	"github.com/expedite-go/expedite/ws"
)

// Fragmented messages: their length, into how many frames they are cut, and how these are written.
const (
	longLeast, longMost           = 20 << 10, 260 << 10
	fragmentsLeast, fragmentsMost = 2, 12
	pieceLeast, pieceMost         = 1, 16 << 10
	maxPing                       = 125
)

// fragmented sends long text over all the time between two messages, and pings in the middle of it.
type fragmented struct {
	echoes
	ping  []byte // under mu; the ping that has no pong yet. There is one at most: a server need not answer all.
	pings int
}

func (f *fragmented) play(c *client) error {
	for !c.over() {
		body := c.run.corpus.body(c.rng, ws.OpText, longLeast+c.rng.IntN(longMost-longLeast))
		n, ok := f.room(c, stampLen+len(body))
		if !ok {
			break
		}
		m := newMessage(ws.OpText, c.sender, n, body)
		if err := f.write(c, &m); err != nil {
			return err
		}
	}
	return nil
}

// write sends a message in fragments.
func (f *fragmented) write(c *client, m *message) error {
	count := fragmentsLeast + c.rng.IntN(fragmentsMost-fragmentsLeast+1)
	pieces := count + m.len()/(pieceMost/2)
	how := cut{pieceLeast, pieceMost, c.run.cfg.interval() / time.Duration(pieces)}
	h := ws.Header{Opcode: ws.OpText}
	for off := 0; ; count-- {
		left := m.len() - off
		n := c.rng.IntN(min(left, 2*left/count) + 1) // may be empty
		if count == 1 {
			n, h.Fin = left, true
		}
		h.Length = uint64(n)
		if err := c.fragment(h, m, off, how); err != nil {
			return err
		}
		h.Opcode = ws.OpContinuation
		off += n
		if h.Fin {
			return nil // behind the last fragment the echo may be queued, and a server need not queue a pong behind that
		}
		if err := f.sendPing(c); err != nil {
			return err
		}
	}
}

// sendPing sends a ping, if none is under way.
func (f *fragmented) sendPing(c *client) error {
	f.mu.Lock()
	if f.ping != nil {
		f.mu.Unlock()
		return nil
	}
	f.pings++
	p := appendHex(nil, uint32(f.pings))
	p = append(p, c.run.corpus.body(c.rng, ws.OpBinary, c.rng.IntN(maxPing-len(p)+1))...)
	f.ping = p
	f.mu.Unlock()
	return c.send(ws.OpPing, p, cut{})
}

func (f *fragmented) pong(c *client, payload []byte) {
	f.mu.Lock()
	defer f.mu.Unlock()
	switch {
	case f.ping == nil:
		c.fault(&c.run.tally.doubled, 1, "pong without a ping: %s", describe(payload))
	case !bytes.Equal(f.ping, payload):
		c.bad("pong with %s, want %s", describe(payload), describe(f.ping))
	default:
		f.ping = nil
		c.run.tally.pongs.Add(1)
	}
}

func (f *fragmented) owed() (uint64, bool) {
	n, complete := f.echoes.owed()
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.ping != nil {
		return n + 1, false
	}
	return n, complete
}

var (
	_ player = (*fragmented)(nil)
	_ ponged = (*fragmented)(nil)
)
