package engine

import (
	"errors"
	"fmt"
	"unicode/utf8"

	"github.com/expedite-go/expedite/ws"
	"github.com/expedite-go/expedite/ws/deflate"
)

// maxKeptInflated is the maximum size of the buffer that a loop keeps for decompressed messages.
const maxKeptInflated = 1 << 20

// inflate decompresses a complete message and dispatches it. It fails the connection if the message would be longer
// than the limit, is not valid DEFLATE data, or is a text that is not valid UTF-8. The plaintext is in a buffer of the
// loop: callbacks on the loop have it until they return, and a mailbox copies it.
func (c *Conn) inflate(op ws.Opcode, payload []byte) {
	e := c.eng
	w := c.windows()
	e.share.spent += messageWork
	plain, err := e.codec.Decompress(e.inflated[:0], payload, w.received(c.agreed), c.route.inflateLimit)
	if cap(plain) <= maxKeptInflated {
		e.inflated = plain[:0]
	}
	e.share.spent += len(plain)
	switch {
	case errors.Is(err, deflate.ErrTooLarge):
		e.share.spent += c.route.inflateLimit
		e.count.limit(limitInflatedSize)
		c.failMessage(ws.CloseMessageTooBig, c.tooBig(limitInflatedSize))
	case err != nil: // RFC 7692 names no code
		e.count.limit(limitDeflateData)
		c.failMessage(ws.CloseInvalidPayload, "invalid compressed data")
	case op == ws.OpText && !utf8.Valid(plain): // RFC 6455 §8.1
		c.failMessage(ws.CloseInvalidPayload, "text is not valid UTF-8")
	default:
		w.receive(c.agreed, plain)
		e.count.inflated.add(len(plain), len(payload))
		if !c.drops() {
			c.dispatch(event{kind: eventMessage, op: op, data: plain})
		}
	}
}

// tooBig returns the reason of a close because of a message that is longer than a limit, for the peer and for logs. It
// names the limit as metrics do.
func (c *Conn) tooBig(why limit) string {
	return fmt.Sprintf("message is too big: %s is %d bytes", why, c.route.inflateLimit)
}

// failMessage fails the connection because of a message that was received. RFC 6455 §7.1.7.
func (c *Conn) failMessage(code ws.CloseCode, reason string) {
	c.loopBits |= bitSwallow | bitFailed
	c.part(ending{code: code, reason: reason})
}
