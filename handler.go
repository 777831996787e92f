package expedite

import (
	"net/http"
	"time"

	"github.com/expedite-go/expedite/auth"
)

// Policy decides what happens to a message when the queue of a slow connection is full.
type Policy uint8

// The policies. Each use is counted.
const (
	// CloseSlow closes the connection with 1013 (try again later).
	CloseSlow Policy = iota
	// DropNewest drops the new message.
	DropNewest
	// DropOldest drops queued messages, the oldest first, until the new one fits.
	DropOldest
)

// SendResult tells what happened to a message that was sent.
type SendResult uint8

// The results.
const (
	// Sent means that the message is on its way to the socket, or to the worker to which the connection has moved.
	Sent SendResult = iota
	// Queued means that the message waits because the client reads slowly. Drain or Close follows.
	Queued
	// Dropped means that the queue was full and the policy dropped the message.
	Dropped
	// Closed means that the connection is closed or closing.
	Closed
	// Invalid means that the message is text and not valid UTF-8.
	Invalid
)

// String returns the result in one word.
func (r SendResult) String() string {
	if r > Invalid {
		return "unknown"
	}
	return [...]string{"sent", "queued", "dropped", "closed", "invalid"}[r]
}

// Handler is a WebSocket endpoint: its callbacks and its limits. The zero value works.
//
// Callbacks of one connection never overlap; those of different connections may. By default they run on a goroutine and
// may block: the connection is read meanwhile, up to MailboxLimit. See Inline.
type Handler struct {
	// Authorize is called before the upgrade, on a goroutine of its own, and may block until the request's context ends.
	// The identity is that of the client's token, which is removed from the request, or empty; Authorize may change it. An
	// error made by Refuse, or an *auth.Error, is the answer to the client; any other error is a 403.
	Authorize func(r *http.Request, id *auth.Identity) error
	// Open is called first.
	Open func(c *Conn)
	// Message is called for each whole message. Its bytes are valid until the callback returns. What a client sent before
	// it closed is still delivered, and can be answered until CloseTimeout. After Conn.Close, a panic or a kick,
	// undelivered messages are dropped.
	Message func(c *Conn, m Message)
	// Drain is called when the queue of a slow connection has fallen to LowMark after a Send that returned Queued or
	// Dropped.
	Drain func(c *Conn)
	// Close is called last, once.
	Close func(c *Conn, err *CloseError)
	// Gap is called when the connection has missed publications of a topic because its worker could not take them, or
	// because they were lost on the way from another machine. Later publications are sent after Gap has returned. The
	// topic is empty if it is not known, or if the publications were messages of App.SendUser; missed is 0 if their
	// number is not known. Without Gap, a connection that has missed publications is closed with 1013 (try again
	// later), but for those of other machines: see Config.CloseOnGap. Gap does not report what a Policy drops.
	Gap func(c *Conn, topic string, missed uint64)
	// Recovered is called with the outcome of a Conn.SubscribeFrom that was pending. In an Inline handler, what was missed
	// is sent before, and what is published from now on afterwards.
	Recovered func(c *Conn, topic string, r Recovered)
	// State makes Conn.Data move with the connection, to the next worker and to the next release:
	//
	//	State: expedite.Carry[player]()
	//
	// Data is then a *player before Open is called, one for each connection. It is encoded after Suspend and decoded
	// before Resume, which may be used as well. If State is nil, Data does not move: see Conn.SetData.
	State State
	// Suspend is called before the connection moves to another worker, as the last callback in this one. Resume gets what
	// it returns. If Suspend fails, the connection stays here; when the worker ends, it is closed with 1012.
	Suspend func(c *Conn) ([]byte, error)
	// Resume is called first in the next worker; Open is not called again. If the move failed, the next worker is the one
	// that called Suspend. The state is valid until Resume returns. An error closes the connection with 1012. Goroutines
	// that a handler started end with their worker: start them again here.
	Resume func(c *Conn, state []byte) error

	// Session gives each connection a session: see Conn.Session.
	Session bool
	// Auth tells whether clients of this endpoint have to identify themselves. The zero value is the mode of Config.Auth.
	Auth AuthMode

	// Inline runs the callbacks, except Authorize, on the event loop, which saves about a microsecond each. They must not
	// block: all connections of the worker wait meanwhile. A watchdog logs a callback that holds the loop for over 100 ms,
	// with its stack.
	Inline bool

	// Subprotocols are those that the endpoint speaks. The first one that the client lists is selected. RFC 6455 §4.2.2.
	Subprotocols []string
	// MaxMessage is the longest message in bytes, after decompression; a longer one closes with 1009. 0 is that of Config.
	MaxMessage int64
	// MaxFragments is the largest number of fragments of a message. 0 is that of Config.
	MaxFragments int
	// CompressAbove is the length in bytes from which messages are compressed, if Config.Compression is not off. 0 is 128;
	// negative is no compression in either direction. See also Message.Plain.
	CompressAbove int
	// IdleTimeout is how long a client may send nothing, not even the answer to a ping, before its connection is closed. 0
	// is that of Config, negative is no limit.
	IdleTimeout time.Duration
	// PingInterval is the silence after which the client is pinged. It must be shorter than IdleTimeout. 0 is that of
	// Config, or less if IdleTimeout is short; negative is never.
	PingInterval time.Duration
	// MessageRate limits the messages of each client, and OverRate decides what happens beyond it. A message counts when
	// its first frame comes; pings and pongs count, too. Both are those of Config if the rate is zero.
	MessageRate EventRate
	OverRate    RatePolicy
	// PublishRate limits Conn.Publish of each connection, which fails with ErrRate beyond it. App.Publish has no limit.
	PublishRate EventRate
	// MaxPerUser is the number of connections of one user per worker, of all endpoints. Further ones get 429, or are
	// closed with 4429 if several come at once. 0 is that of Config, negative is no limit. Clients without an identity do
	// not count.
	MaxPerUser int
	// MaxLifetime is how long a connection may last, wherever it moves. It is then closed with 1012 (service restart), and
	// the client connects anew. Each connection gets up to a tenth less, so that clients that have come together do not
	// come back together. 0 is no limit.
	MaxLifetime time.Duration
	// CloseTimeout bounds the closing handshake, and the time before it in which messages are delivered that the client
	// sent before it closed. 0 is 5 s.
	CloseTimeout time.Duration
	// QueueLimit is the number of bytes that may be queued for a slow client. 0 is 1 MiB. An empty queue accepts a message
	// of any size.
	QueueLimit int
	// LowMark is the number of queued bytes at which Drain is called. 0 is a quarter of QueueLimit.
	LowMark int
	// Slow is the policy beyond QueueLimit.
	Slow Policy
	// MailboxLimit is the number of payload bytes that may wait for callbacks. Beyond it the connection is not read, so
	// that backpressure reaches the client. 0 is 256 KiB. Inline handlers have no mailbox.
	MailboxLimit int
}

// Default limits of a Handler.
const (
	defaultMaxMessage   = 1 << 20
	defaultMaxFragments = 1024
)

// carries reports whether the application takes part in moves of its connections.
func (h *Handler) carries() bool { return h.Suspend != nil || h.Resume != nil || h.State != nil }

// authMode returns the mode in force.
func (h *Handler) authMode(a *Auth) AuthMode {
	if h.Auth != AuthDefault {
		return h.Auth
	}
	return a.mode()
}
