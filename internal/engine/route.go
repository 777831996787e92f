package engine

import (
	"context"
	"math"
	"time"

	"github.com/expedite-go/expedite/ws"
	"github.com/expedite-go/expedite/ws/deflate"
)

// Defaults of a Route.
const (
	DefaultQueueLimit   = 1 << 20
	DefaultIdleTimeout  = 120 * time.Second
	DefaultPingInterval = 50 * time.Second
	DefaultCloseTimeout = 5 * time.Second
	DefaultMailboxLimit = 256 << 10
)

// Handler handles the events of connections. Calls for one connection never overlap; calls for different ones may.
type Handler interface {
	// Open is called once, before any message. What it sends leaves together with the handshake response.
	Open(c *Conn)
	// Message is called for each complete message. payload is valid until it returns. It is not called after the server
	// has closed the connection. After the peer has, it is called for what had arrived before.
	Message(c *Conn, op ws.Opcode, payload []byte)
	// Drain is called when the queue has fallen to the low-water mark or is empty, after a message was Queued or
	// Dropped.
	Drain(c *Conn)
	// Close is called once, as the last event. The code is ws.CloseAbnormal if there was no closing handshake.
	Close(c *Conn, code ws.CloseCode, reason string)
	// Gap is called, if Route.Gaps is set, when publications to a topic of c could not reach it. What was published
	// later is sent after Gap returns. An empty topic means any topic; missed is 0 if the number is unknown.
	Gap(c *Conn, topic string, missed uint64)
	// Suspend is called before c moves to another worker, if Route.Carries is set. Its result is passed to Resume
	// there. After an error c does not move.
	Suspend(c *Conn) ([]byte, error)
	// Resume is called instead of Open where c continues, if Route.Carries is set: in the next worker or, if the move
	// failed, in the one that called Suspend. An error closes c. state is valid until it returns.
	Resume(c *Conn, state []byte) error
}

// Policy determines what happens to a message if the queue of a slow connection is full.
type Policy uint8

// The policies.
const (
	// PolicyClose closes the connection with 1013 (try again later).
	PolicyClose Policy = iota
	// PolicyDropNewest keeps the queue and drops the message.
	PolicyDropNewest
	// PolicyDropOldest drops whole queued messages, oldest first, until the message fits.
	PolicyDropOldest
)

// Route is a WebSocket endpoint. All its connections share it; it must not change after its first use.
type Route struct {
	// Recovered, unless it is nil, is called with the outcome of a recovery that was pending: see Conn.SubscribeFrom. What
	// is published afterwards is sent later if the route is Inline.
	Recovered func(c *Conn, topic string, r Recovered)
	// Path identifies the route for Config.Route, in this worker and in the next.
	Path    string
	Handler Handler
	// Carries enables Suspend and Resume.
	Carries bool
	// Gaps enables Gap. Without it, a connection that has missed publications is closed with 1013.
	Gaps bool
	// Stays reports whether a connection cannot move because its owner holds data that would be lost. It is called on
	// the loop while no callback of c runs. nil means that all can move.
	Stays func(c *Conn) bool
	// Save encodes the owner of a connection for a move, and Load restores it. The bytes are valid only during the
	// call. Both are called on the loop and must not block. If they are nil, owners do not move.
	Save func(c *Conn) []byte
	Load func(c *Conn, b []byte) error
	// Leaves, unless it is nil, is called on the loop right before the end of an open connection, with what its client has
	// received of topics with a history. It must neither block nor call c, except what is safe for concurrent use. If c is
	// closed with the code Replaced, it is also called before the closing handshake: another connection waits for it.
	Leaves   func(c *Conn, received []Mark)
	Replaced ws.CloseCode
	// Inline runs the callbacks on the loop. They must not block.
	Inline bool
	// Authorize decides about a handshake and may set the owner of the connection. An error of type *ws.HandshakeError
	// is the answer to the client; any other error is a 403. nil accepts everyone.
	Authorize func(ctx context.Context, u *Upgrade) error
	// Blocking is set if Authorize may block. It then runs on its own goroutine.
	Blocking bool
	// Subprotocols lists the subprotocols of the endpoint.
	Subprotocols []string
	// Reader sets the limits of the protocol: the maximum message length and number of fragments. The length of a
	// compressed message counts before and after decompression.
	Reader ws.ReaderConfig
	// Compression is how permessage-deflate is negotiated. nil means that it is not. Connections that arrive from another
	// worker keep what they have agreed on.
	Compression *deflate.Config
	// CompressAbove is the length from which messages are compressed. 0 means DefaultCompressAbove, a negative value that
	// none is.
	CompressAbove int
	// IdleTimeout is how long a connection may receive nothing at all. 0 means DefaultIdleTimeout, a negative value no
	// limit.
	IdleTimeout time.Duration
	// PingInterval is the silence after which a ping is sent. 0 means DefaultPingInterval, a negative value never.
	PingInterval time.Duration
	// CloseTimeout limits the closing handshake, and the callbacks before it for what the peer had sent. 0 means
	// DefaultCloseTimeout.
	CloseTimeout time.Duration
	// QueueLimit is the high-water mark: how many bytes may wait for a slow peer. 0 means DefaultQueueLimit. An empty
	// queue accepts any message.
	QueueLimit int
	// LowMark is the low-water mark, at which Drain is called. 0 means a quarter of QueueLimit.
	LowMark int
	// Policy applies beyond QueueLimit.
	Policy Policy
	// MailboxLimit is the maximum number of payload bytes that wait for blocking callbacks. Beyond it the connection is
	// not read, which the peer notices as back-pressure. 0 means DefaultMailboxLimit.
	MailboxLimit int
	// MessageRate limits the messages of each connection, and OverRate is what happens beyond it. A message counts when
	// it begins. Pings and pongs count, too.
	MessageRate EventRate
	OverRate    RatePolicy
	// PublishRate limits the publications of each connection: see Conn.MayPublish.
	PublishRate EventRate
	// MaxLifetime is how long a connection may last, wherever it moves; it is then closed with 1012. Each gets up to a
	// tenth less. 0 means no limit.
	MaxLifetime time.Duration

	messages     cadence         // of MessageRate
	publishes    cadence         // of PublishRate
	metered      bool            // its connections have a meter
	deflated     ws.ReaderConfig // Reader, for connections with compression
	inflateLimit int             // the maximum length of a message after decompression
}

// Prepare fills in the defaults. The owner of a route calls it once before the first use.
func (r *Route) Prepare() {
	setDefault(&r.IdleTimeout, DefaultIdleTimeout)
	setDefault(&r.PingInterval, DefaultPingInterval)
	setDefault(&r.CloseTimeout, DefaultCloseTimeout)
	setDefault(&r.QueueLimit, DefaultQueueLimit)
	setDefault(&r.LowMark, r.QueueLimit/4)
	setDefault(&r.MailboxLimit, DefaultMailboxLimit)
	setDefault(&r.CompressAbove, DefaultCompressAbove)
	r.deflated = r.Reader
	r.deflated.Compression = true
	switch limit := r.Reader.MaxMessage; {
	case limit == 0:
		r.inflateLimit = ws.DefaultMaxMessage
	case limit < 0:
		r.inflateLimit = math.MaxInt
	default:
		r.inflateLimit = int(min(limit, math.MaxInt))
	}
	r.prepareMeter()
}

func setDefault[T comparable](v *T, d T) {
	var zero T
	if *v == zero {
		*v = d
	}
}
