package engine

import (
	"context"
	"time"

	"github.com/expedite-go/expedite/ws"
)

// Defaults of a Route.
const (
	DefaultQueueLimit   = 1 << 20
	DefaultIdleTimeout  = 120 * time.Second
	DefaultPingInterval = 50 * time.Second
	DefaultCloseTimeout = 5 * time.Second
	DefaultMailboxLimit = 256 << 10
)

// Handler receives the events of connections. Calls for one connection never overlap; calls for different ones may.
type Handler interface {
	// Open is called once, before any message. What it sends leaves together with the handshake's answer.
	Open(c *Conn)
	// Message is called for each whole message. The payload is valid until it returns. After a close of the server's own
	// it is not called any more; after the peer's, it is called for what had arrived before.
	Message(c *Conn, op ws.Opcode, payload []byte)
	// Drain is called when the queue fell to the low mark, or emptied, after a message was Queued or Dropped.
	Drain(c *Conn)
	// Close is called once, as the last event. The code is ws.CloseAbnormal if no closing handshake took place.
	Close(c *Conn, code ws.CloseCode, reason string)
	// Gap is called, if Route.Gaps, when publications to a topic that c is subscribed to could not reach it. What was
	// published later is sent when it has returned. An empty topic is any; a missed of 0 is an unknown number.
	Gap(c *Conn, topic string, missed uint64)
	// Suspend is called before c moves to another worker, if Route.Carries: what it returns is given to Resume over
	// there. An error keeps c here.
	Suspend(c *Conn) ([]byte, error)
	// Resume is called instead of Open where c goes on, if Route.Carries: in the next worker or, if the move has
	// failed, in the one that had called Suspend. An error closes c. The state is valid until it returns.
	Resume(c *Conn, state []byte) error
}

// Policy says what happens to a message when the queue of a slow connection is full.
type Policy uint8

// The three policies.
const (
	// PolicyClose closes the connection with 1013 (try again later).
	PolicyClose Policy = iota
	// PolicyDropNewest keeps what waits and drops the message.
	PolicyDropNewest
	// PolicyDropOldest drops whole waiting messages, oldest first, until the message fits.
	PolicyDropOldest
)

// Route is a WebSocket endpoint. It is shared by all its connections and not changed after its first use.
type Route struct {
	// Path is what Config.Route finds the route by, in this worker and in the next.
	Path    string
	Handler Handler
	// Carries says that Suspend and Resume are to be called.
	Carries bool
	// Gaps says that Gap is to be called; else a connection that has missed publications is closed with 1013.
	Gaps bool
	// Stays says of a connection whether it cannot move, because its owner holds what would be lost. It is called on the
	// loop while no callback of c runs. Nil says no.
	Stays func(c *Conn) bool
	// Save makes the form in which a connection's owner moves, and Load the owner from it; its bytes are not valid for
	// longer. Both are called on the loop and must not block. Nil moves no owner.
	Save func(c *Conn) []byte
	Load func(c *Conn, b []byte) error
	// Inline runs the callbacks on the loop. They must not block.
	Inline bool
	// Authorize decides about a handshake and may set the connection's owner. An error of type *ws.HandshakeError is
	// the answer to the client; any other is a 403. Nil lets everyone in.
	Authorize func(ctx context.Context, u *Upgrade) error
	// Blocking says that Authorize may block: it then runs on a goroutine of its own.
	Blocking bool
	// Subprotocols that the endpoint speaks.
	Subprotocols []string
	// Reader holds the protocol's limits: the longest message, the number of fragments.
	Reader ws.ReaderConfig
	// IdleTimeout is how long nothing at all may arrive before the connection counts as dead; 0 is DefaultIdleTimeout,
	// negative is for ever.
	IdleTimeout time.Duration
	// PingInterval is the silence after which a ping is sent; 0 is DefaultPingInterval, negative is never.
	PingInterval time.Duration
	// CloseTimeout bounds the closing handshake, and before it the callbacks for what the peer sent before its end; 0 is
	// DefaultCloseTimeout.
	CloseTimeout time.Duration
	// QueueLimit is the high mark: bytes that may wait for a slow peer; 0 is DefaultQueueLimit. A message that finds
	// the queue empty is always taken.
	QueueLimit int
	// LowMark is where Drain is called; 0 is a quarter of QueueLimit.
	LowMark int
	// Policy applies beyond QueueLimit.
	Policy Policy
	// MailboxLimit is the number of payload bytes that may wait for callbacks that block; beyond it the connection is
	// not read, so that the peer feels the back-pressure. 0 is DefaultMailboxLimit.
	MailboxLimit int
}

// Prepare fills in the defaults. The owner of a route calls it once before use.
func (r *Route) Prepare() {
	setDefault(&r.IdleTimeout, DefaultIdleTimeout)
	setDefault(&r.PingInterval, DefaultPingInterval)
	setDefault(&r.CloseTimeout, DefaultCloseTimeout)
	setDefault(&r.QueueLimit, DefaultQueueLimit)
	setDefault(&r.LowMark, r.QueueLimit/4)
	setDefault(&r.MailboxLimit, DefaultMailboxLimit)
}

func setDefault[T comparable](v *T, d T) {
	var zero T
	if *v == zero {
		*v = d
	}
}
