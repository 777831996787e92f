package engine

import "github.com/expedite-go/expedite/ws"

// inbound holds what is incomplete: a request head, a message in pieces, or bytes that wait behind a decision.
// It exists only while there is such a thing.
type inbound struct {
	buf []byte
	op  ws.Opcode
}

// maxKeptInbound bounds the buffers that the pool keeps for the next message in pieces.
const maxKeptInbound = 64 << 10

func (e *Engine) newInbound() *inbound { return e.inbounds.Get().(*inbound) }

// release gives in, which may be nil, back to the pool.
func (e *Engine) release(in *inbound) {
	if in == nil {
		return
	}
	if cap(in.buf) > maxKeptInbound {
		in.buf = nil
	}
	in.buf, in.op = in.buf[:0], 0
	e.inbounds.Put(in)
}
