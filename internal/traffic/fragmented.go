package traffic

import (
	"bytes"
	"time"

	"github.com/expedite-go/expedite/ws"
)

// Parameters of fragmented messages: their size, the number of frames and how these are written.
const (
	longLeast, longMost           = 20 << 10, 260 << 10
	fragmentsLeast, fragmentsMost = 2, 12
	pieceLeast, pieceMost         = 1, 16 << 10
	maxPing                       = 125
)

// fragmented spreads each long text over the interval between two messages, with pings between the frames.
type fragmented struct {
	echoes
	ping  []byte // guarded by mu; the one unanswered ping: RFC 6455 §5.5.3 lets a server skip the pongs of older pings
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
	m, rsv := c.packed(m)
	h := ws.Header{Opcode: ws.OpText, RSV: rsv}
	for off := 0; ; count-- {
		left := m.len() - off
		n := c.rng.IntN(min(left, 2*left/count) + 1) // may be 0: an empty fragment
		if count == 1 {
			n, h.Fin = left, true
		}
		h.Length = uint64(n)
		if err := c.fragment(h, m, off, how); err != nil {
			return err
		}
		h.Opcode, h.RSV = ws.OpContinuation, 0
		off += n
		if h.Fin {
			return nil // a pong queued behind the echo may be dropped, so send no ping after the last fragment
		}
		if err := f.sendPing(c); err != nil {
			return err
		}
	}
}

// sendPing sends a ping unless another one is unanswered.
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
		c.fault(&c.run.tally.doubled, 1, "pong without an unanswered ping: %s", describe(payload))
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
