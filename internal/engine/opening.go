package engine

import "github.com/expedite-go/expedite/ws"

// maxHeld is the maximum number of bytes of messages that wait for a connection to open.
const maxHeld = 64 << 10

// held is what was requested for a connection that is still opening.
type held struct {
	end      *ending
	messages []heldMessage
	assigned []*Assignment
	size     int
}

type heldMessage struct {
	op      ws.Opcode
	payload []byte
}

// Opening returns the handshake in progress whose connection will have the given id, or nil. On the loop.
func (e *Engine) Opening(id uint64) *Upgrade { return e.opening[id] }

// Close closes the connection as soon as it is open, with the code and the reason of the first call. It returns the
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

// Send sends a message as soon as the connection is open. It copies payload. If there is no room, it drops and counts
// the message. On the loop.
func (u *Upgrade) Send(op ws.Opcode, payload []byte) {
	if u.held.size+len(payload) > maxHeld || len(u.held.messages) >= maxEvents {
		u.Conn.eng.count.limit(limitHeld)
		return
	}
	u.held.size += len(payload)
	u.held.messages = append(u.held.messages, heldMessage{op, append([]byte(nil), payload...)})
}

// applyEnd closes the connection, which has just opened, if Close was called meanwhile.
func (u *Upgrade) applyEnd() {
	if end := u.held.end; end != nil {
		_ = u.Conn.Close(end.code, end.reason) // cannot fail: it was checked, and c is open
	}
}

// applyMessages sends the messages of Send.
func (u *Upgrade) applyMessages() {
	for _, a := range u.held.assigned {
		u.Conn.assign(a)
	}
	u.held.assigned = nil
	for _, m := range u.held.messages {
		u.Conn.Send(m.op, m.payload)
	}
	u.held.messages = nil
}
