package loadtest

import (
	"errors"
	"math"

	"github.com/expedite-go/expedite/ws"
	"github.com/expedite-go/expedite/ws/deflate"
)

// rsv1 marks the first frame of a compressed message. RFC 7692 §6.
const rsv1 = 0x40

// errContext means that the server has agreed on something else than was offered.
var errContext = errors.New("handshake: compression with context takeover was not offered")

// squeeze is what a generator needs for compression. Each message is compressed by itself, so that connections have
// nothing to remember.
type squeeze struct {
	codec  deflate.Codec
	parts  map[uint32][]byte // by index of the key: pieces of a compressed message
	packed []byte
	plain  []byte
}

// offer returns the extensions that clients offer.
func (g *generator) offer() string {
	if !g.cfg.Compression {
		return ""
	}
	return deflate.Config{}.Offer()
}

// agree notes what the server has answered to the offer.
func (g *generator) agree(c *conn, answer string) error {
	p, ok, err := deflate.Config{}.Agreed(answer)
	if err == nil && ok && !p.ServerNoContextTakeover {
		err = errContext
	}
	if err == nil && ok {
		c.bits |= bitSqueezed
	}
	return err
}

// text appends the frame of a text message to g.scratch, which it empties first.
func (g *generator) text(c *conn, payload []byte) []byte {
	op := ws.OpText
	if c.bits&bitSqueezed != 0 {
		g.squeeze.packed = g.squeeze.codec.Compress(g.squeeze.packed[:0], payload, nil, 15)
		payload, op = g.squeeze.packed, op|rsv1
	}
	g.scratch = ws.AppendMaskedFrame(g.scratch[:0], op, g.mask(), payload)
	return g.scratch
}

// inflate collects the pieces of a compressed message. After the last one, it makes ev the whole message.
func (g *generator) inflate(c *conn, ev *ws.Event) (whole bool, err error) {
	s, i := &g.squeeze, c.key.Index
	if s.parts == nil {
		s.parts = make(map[uint32][]byte)
	}
	if !ev.First || !ev.Last {
		s.parts[i] = append(s.parts[i], ev.Data...)
		ev.Data = s.parts[i]
	}
	if !ev.Last {
		return false, nil
	}
	delete(s.parts, i)
	s.plain, err = s.codec.Decompress(s.plain[:0], ev.Data, nil, math.MaxInt)
	ev.First, ev.Compressed, ev.Data = true, false, s.plain
	return true, err
}
