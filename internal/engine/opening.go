package engine

import "github.com/expedite-go/expedite/ws"

// maxHeld is the number of bytes of messages that wait for one connection to open.
const maxHeld = 64 << 10

// held is what others want of a connection that is still opening.
type held struct {
	end      *ending
	messages []heldMessage
	size     int
}

type heldMessage struct {
	op      ws.Opcode
	payload []byte
}

// Opening returns the handshake under way of the connection that will have an id, or nil. On the loop.
func (e *Engine) Opening(id uint64) *Upgrade { return e.opening[id] }

// Close closes the connection as soon as it is open, with the first code and reason that are given. It fails with the
// errors of ws.CheckClose. On the loop.
func (u *Upgrade) Close(code ws.CloseCode, reason string) error {
	if err := ws.CheckClose(code, reason); err != nil {
		return err
	}
	if u.held.end == nil {
		u.held.end = &ending{code: code, reason: reason}
	}
	return nil
}

// Send sends a message as soon as the connection is open; payload is copied. What there is no room for is dropped and
// counted. On the loop.
func (u *Upgrade) Send(op ws.Opcode, payload []byte) {
	if u.held.size+len(payload) > maxHeld || len(u.held.messages) >= maxLetters {
		u.Conn.eng.count.limit(limitHeld)
		return
	}
	u.held.size += len(payload)
	u.held.messages = append(u.held.messages, heldMessage{op, append([]byte(nil), payload...)})
}

// applyEnd closes a connection that opens, if that was decided meanwhile.
func (u *Upgrade) applyEnd() {
	if end := u.held.end; end != nil {
		_ = u.Conn.Close(end.code, end.reason) // it was checked, and c is open
	}
}

// applyMessages sends what has come meanwhile.
func (u *Upgrade) applyMessages() {
	for _, m := range u.held.messages {
		u.Conn.Send(m.op, m.payload)
	}
	u.held.messages = nil
}
