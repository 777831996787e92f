package expedite

import (
	"net/http"
	"time"

	"github.com/expedite-go/expedite/auth"
)

// Policy says what happens to a message when the queue of a slow connection is full.
type Policy uint8

// The three policies. Each hit is counted.
const (
	// CloseSlow closes the connection with 1013 (try again later).
	CloseSlow Policy = iota
	// DropNewest keeps what waits and gives the new message up.
	DropNewest
	// DropOldest gives whole waiting messages up, oldest first, until the new one fits.
	DropOldest
)

// SendResult says what became of a message that was sent.
type SendResult uint8

// The results.
const (
	// Sent means that the message is on its way to the socket, or to the worker to which the connection has moved.
	Sent SendResult = iota
	// Queued means that the peer reads slowly, and the message waits for it. Drain or Close follows.
	Queued
	// Dropped means that the queue was full, and the policy gave the message up.
	Dropped
	// Closed means that the connection is closed or closing.
	Closed
	// Invalid means that the message is a text which is not valid UTF-8.
	Invalid
)

// String is the result in one word.
func (r SendResult) String() string {
	if r > Invalid {
		return "unknown"
	}
	return [...]string{"sent", "queued", "dropped", "closed", "invalid"}[r]
}

// Handler is a WebSocket endpoint: what happens on its connections, and within which limits. Every field may be zero.
//
// Callbacks of one connection never overlap, those of different connections may. By default they run on a goroutine of
// the connection's turn and may block: the connection is read on while they do, until MailboxLimit. See Inline.
type Handler struct {
	// Authorize is called before the upgrade, on its own goroutine, and may block until the request's context ends. The
	// identity is that of the client's token, which is taken out of the request, or empty; it may be filled in. An error
	// made by Refuse, or an *auth.Error, is the answer to the client; any other is a 403.
	Authorize func(r *http.Request, id *auth.Identity) error
	// Open is called first.
	Open func(c *Conn)
	// Message is called for each whole message; its bytes are valid until the callback returns. What a client sent before
	// it closed is still delivered, and can be answered until CloseTimeout. After Conn.Close, a panic or a kick, messages
	// that have not been delivered are dropped.
	Message func(c *Conn, m Message)
	// Drain is called when the queue of a slow connection fell to LowMark, after a Send that returned Queued or Dropped.
	Drain func(c *Conn)
	// Close is called last, once.
	Close func(c *Conn, err *CloseError)
	// Gap is called when publications to a topic did not reach the connection, because its worker could not take them:
	// it has missed that many, and what comes after the gap is sent when Gap has returned. If it is not known which
	// topics have missed some, or if they were messages of App.SendUser, the topic is empty; if it is not known how many,
	// missed is 0. Without Gap, a connection that has missed publications is closed with 1013 (try again later). What a
	// Policy drops is not told here.
	Gap func(c *Conn, topic string, missed uint64)
	// State makes Conn.Data a value that moves with the connection, to the next worker and to the next release:
	//
	//	State: expedite.Carry[player]()
	//
	// Data is then a *player before Open is called, one for each connection. It is written after Suspend and read before
	// Resume, both of which may be there, too. Nil: Data does not move, see Conn.SetData.
	State State
	// Suspend is called before the connection moves to another worker, as its last callback in this one: what it
	// returns is given to Resume over there. An error keeps the connection here; if the worker ends, it is closed
	// with 1012.
	Suspend func(c *Conn) ([]byte, error)
	// Resume is called first in the next worker; Open is not called again. If the move has failed, that is the worker
	// which called Suspend. The state is valid until it returns. An error closes the connection with 1012. Goroutines
	// that a handler starts end with their worker: this is where to start them again.
	Resume func(c *Conn, state []byte) error

	// Session gives each connection a session: see Conn.Session.
	Session bool
	// Auth says whether clients of this endpoint have to identify themselves. The zero value is what Config says.
	Auth AuthMode

	// Inline runs the callbacks (but Authorize) on the event loop, for the last microsecond. They must not block: all
	// connections of the worker wait meanwhile. A watchdog logs one that holds the loop for over 100 ms, with its
	// stack.
	Inline bool

	// Subprotocols that the endpoint speaks. The first of the client's that is among them is chosen. RFC 6455 §4.2.2.
	Subprotocols []string
	// MaxMessage is the longest message in bytes; a longer one closes with 1009. 0 is 1 MiB.
	MaxMessage int64
	// MaxFragments is the largest number of fragments of a message. 0 is 1024.
	MaxFragments int
	// IdleTimeout closes a connection from which nothing came for so long, not even the answer to a ping. 0 is 120 s,
	// negative is never.
	IdleTimeout time.Duration
	// PingInterval is the silence after which the client is pinged; it must be below IdleTimeout. 0 is 50 s, or less if
	// IdleTimeout is that short; negative is never.
	PingInterval time.Duration
	// CloseTimeout bounds the closing handshake, and before it the time for messages that the client sent before it
	// closed. 0 is 5 s.
	CloseTimeout time.Duration
	// QueueLimit is the number of bytes that may wait for a slow client. 0 is 1 MiB. A message that finds the queue
	// empty is always taken.
	QueueLimit int
	// LowMark is where Drain is called, in bytes. 0 is a quarter of QueueLimit.
	LowMark int
	// Slow is what happens beyond QueueLimit.
	Slow Policy
	// MailboxLimit is the number of payload bytes that may wait for callbacks; beyond it the connection is not read, so
	// that the client feels the back-pressure. 0 is 256 KiB. Without meaning for Inline.
	MailboxLimit int
}

// Default limits of a Handler.
const (
	defaultMaxMessage   = 1 << 20
	defaultMaxFragments = 1024
)

// carries says whether the application takes part in a move of its connections.
func (h *Handler) carries() bool { return h.Suspend != nil || h.Resume != nil || h.State != nil }

// authMode returns the mode in force.
func (h *Handler) authMode(a *Auth) AuthMode {
	if h.Auth != AuthDefault {
		return h.Auth
	}
	return a.mode()
}

// maxMessage returns the limit in force.
func (h *Handler) maxMessage() int64 {
	if h.MaxMessage == 0 {
		return defaultMaxMessage
	}
	return h.MaxMessage
}
