package engine

import (
	"errors"
	"fmt"
	"log/slog"
	"math"
	"sync"
	"sync/atomic"
	"time"

	"github.com/expedite-go/expedite/internal/reactor"
	"github.com/expedite-go/expedite/internal/topic"
)

// Defaults of Config and Route.
const (
	DefaultMaxHead          = 8 << 10
	DefaultHandshakeTimeout = 10 * time.Second
	DefaultBodyTimeout      = 10 * time.Second
	DefaultKeepAlive        = time.Minute
	DefaultMaxHandshakes    = 4096
	DefaultMaxHTTP          = 4096
	DefaultResponseTimeout  = 30 * time.Second
	DefaultMaxAuthorizing   = 1024
	DefaultWatchdogLimit    = 100 * time.Millisecond
	DefaultMaxSubscriptions = 1024
)

// Config tells an engine what to serve and within which limits. It is not changed after New.
type Config struct {
	// Route finds the WebSocket endpoint of a path; nil means that HTTP has it. Any goroutine.
	Route func(path string) *Route
	// HTTP takes a connection whose request is no upgrade. Called on the loop; it must not block, and owns the
	// connection. Nil: such requests are refused with 426.
	HTTP func(*Requests)
	// NewID makes the id of a connection, unique for ever. Called on the loop.
	NewID func() uint64
	// Logger receives what an operator must know; nil is slog.Default.
	Logger *slog.Logger
	// MayLog reports whether one more line about a client may be logged now, and MayLogFault the same for panics of the
	// application. Nil is always. Any goroutine.
	MayLog, MayLogFault func() bool
	// MaxHead is the longest request head in bytes; 0 is DefaultMaxHead.
	MaxHead int
	// HandshakeTimeout bounds the time from accept to the end of the request head; 0 is DefaultHandshakeTimeout.
	HandshakeTimeout time.Duration
	// BodyTimeout is how long the body of an HTTP request may make no progress; then its connection ends. 0 is
	// DefaultBodyTimeout, negative is for ever.
	BodyTimeout time.Duration
	// KeepAlive is how long a connection waits for the next HTTP request; 0 is DefaultKeepAlive.
	KeepAlive time.Duration
	// MaxConnections is the number of WebSockets open at once; past it a handshake gets 503. 0 is no limit of its own.
	MaxConnections int
	// MaxHandshakes is the number of sockets that may be before or in their handshake; past it the oldest one that is
	// silent is closed, or else another one. 0 is DefaultMaxHandshakes.
	MaxHandshakes int
	// MaxPerAddress is the number of connections from one IPv4 address, or IPv6 network of 64 bits; past it a new one gets
	// 429. Those that come from another worker are counted and not refused. 0 is no limit.
	MaxPerAddress int
	// MaxHTTPConnections is the number of connections that HTTP may have, those that are kept alive without a request
	// included. Past it one of these is closed for a new request; without any, the request gets 503, unless Vital names
	// its path and it has no body. 0 is DefaultMaxHTTP.
	MaxHTTPConnections int
	Vital              func(path string) bool
	// ResponseTimeout is how long an HTTP client may take nothing of its response until the connection ends. 0 is
	// DefaultResponseTimeout, negative is for ever.
	ResponseTimeout time.Duration
	// MaxAuthorizing is the number of handshakes that Route.Authorize may think about at once, where it may block; past it
	// a handshake gets 503. 0 is DefaultMaxAuthorizing.
	MaxAuthorizing int
	// MaxPartial is the number of bytes that all messages and request heads together may hold which have begun and are
	// not complete; past it the connections with the largest ones are closed with 1013. 0 is no limit.
	MaxPartial int64
	// MaxQueued is the number of bytes that the queues of all connections together may hold; a publication counts once,
	// however many queues it is in. Past it the largest queues of peers that do not read are given up: they are emptied
	// and, with PolicyClose, their connections are closed with 1013. 0 is no limit.
	MaxQueued int64
	// MaxPending is the number of bytes of messages that may wait for callbacks of all routes that are not Inline; what a
	// callback has begun to handle counts, and mailboxes of less than 16 KiB do not. From half of it on connections are
	// not read while they have more than that; past it those with the most are closed with 1013, and their messages
	// dropped. 0 is no limit.
	MaxPending int64
	// MessageMinRate is the least progress of a message that has begun; a slower one is closed with 1008. Time in which
	// the engine itself does not read the connection does not count. The zero value is DefaultMinBytes in DefaultMinPer;
	// negative Bytes are no limit.
	MessageMinRate Progress
	// MaxSubscriptions is the number of topics one connection may hold; 0 is DefaultMaxSubscriptions.
	MaxSubscriptions int
	// WatchdogLimit is how long a callback may hold the loop before it is logged with its stack; 0 is
	// DefaultWatchdogLimit, negative is never.
	WatchdogLimit time.Duration
	// Wall is the wall clock; nil is time.Now.
	Wall func() time.Time
	// ConnRate bounds what each connection sends and receives once it is open, and Rate what all together do. The zero
	// value is no bound. Beyond it a connection is not read, or its queue waits: see Route.QueueLimit for what then
	// happens to messages.
	ConnRate, Rate Rate
	// Reactor tunes the event loop; the zero value is right for servers.
	Reactor reactor.Options
}

func (c Config) withDefaults() Config {
	if c.Logger == nil {
		c.Logger = slog.Default()
	}
	if c.MaxHead == 0 {
		c.MaxHead = DefaultMaxHead
	}
	if c.HandshakeTimeout == 0 {
		c.HandshakeTimeout = DefaultHandshakeTimeout
	}
	if c.BodyTimeout == 0 {
		c.BodyTimeout = DefaultBodyTimeout
	}
	if c.BodyTimeout < 0 {
		c.BodyTimeout = math.MaxInt64 / 2
	}
	if c.KeepAlive == 0 {
		c.KeepAlive = DefaultKeepAlive
	}
	if c.MaxHandshakes == 0 {
		c.MaxHandshakes = DefaultMaxHandshakes
	}
	if c.MaxAuthorizing == 0 { // some room is left for those that Authorize does not think about
		c.MaxAuthorizing = min(DefaultMaxAuthorizing, max(c.MaxHandshakes/4*3, 1))
	}
	if c.MaxHTTPConnections == 0 {
		c.MaxHTTPConnections = DefaultMaxHTTP
	}
	if c.ResponseTimeout == 0 {
		c.ResponseTimeout = DefaultResponseTimeout
	}
	if c.MaxSubscriptions == 0 {
		c.MaxSubscriptions = DefaultMaxSubscriptions
	}
	if c.MessageMinRate.Bytes == 0 {
		c.MessageMinRate = Progress{DefaultMinBytes, DefaultMinPer}
	}
	if c.WatchdogLimit == 0 {
		c.WatchdogLimit = DefaultWatchdogLimit
	}
	if c.Wall == nil {
		c.Wall = time.Now
	}
	return c
}

// Errors that callers branch on.
var (
	// ErrClosed says that the connection is closed, or that it is closing and takes no more.
	ErrClosed = errors.New("engine: connection closed")
	// ErrTooManySubscriptions says that the connection holds Config.MaxSubscriptions topics already.
	ErrTooManySubscriptions = errors.New("engine: too many subscriptions")
	// ErrMoved says that the connection has moved to another worker, or is about to.
	ErrMoved = errors.New("engine: connection has moved")
)

// Engine is one event loop with its connections. Methods are safe for any goroutine unless they say otherwise.
type Engine struct {
	cfg  Config
	loop *reactor.Loop

	// On the loop only.
	conns    []*Conn // by reactor.Key.Index
	flushing []*Conn // swapped with dirty at each flush
	flushed  int     // how many of them have had their turn
	moving   bool    // callbacks run apart: see Engine.apart
	partials partials
	queues   socketQueues

	nextBound int64       // ns, from when on queues may be searched again
	bounding  atomic.Bool // boundQueues has posted

	nextPending int64 // the same for mailboxes

	// opening are the handshakes that Authorize thinks about, by the ids that their connections will have. On the loop.
	opening map[uint64]*Upgrade

	dirtyMu sync.Mutex
	dirty   []*Conn // connections with something to write or to settle

	idsMu sync.RWMutex
	ids   map[uint64]*Conn // open connections

	requestsMu sync.Mutex
	requests   map[*Requests]struct{} // connections that net/http has
	lingering  map[*Requests]struct{} // those of them whose next request is awaited
	returning  atomic.Int64           // those of them that have no request, or are on their way back to the loop

	topicsMu sync.Mutex
	topics   *topic.Table
	ahead    map[uint32]uint64 // by index: publications up to this number were heard in the connection's last worker
	farthest uint64            // the largest number in ahead

	// What moves, and what those that arrive may have missed. On the loop only.
	dep         departures
	gapped      map[*Conn]struct{} // publications wait behind their callbacks, as one is, or was, a Gap
	orphan      *Route
	position    uint64 // number of the last publication
	recording   bool
	history     []published
	historySize int
	forgotten   uint64 // number of the last publication that is not kept

	// What connections borrow while they have something incomplete, unsent or undelivered.
	inbounds, outboxes, mailboxes sync.Pool

	clock      clock
	addresses  addresses
	pace       *pacer // nil if there are no rates
	count      counters
	watch      watchdog
	handshakes atomic.Int64 // sockets that are not yet, or never will be, WebSockets
	http       atomic.Int64 // connections that Config.HTTP has
	deciding   atomic.Int64 // goroutines in Route.Authorize
	draining   atomic.Bool
	tlsOnce    sync.Once
	short      atomic.Bool    // see SetShort
	leaving    atomic.Bool    // between Depart and Stay
	tasks      sync.WaitGroup // mailbox and authorization goroutines
}

// New makes an engine. Run starts it.
func New(cfg Config) (*Engine, error) {
	e := &Engine{
		cfg: cfg.withDefaults(), ids: make(map[uint64]*Conn), topics: topic.New(), requests: make(map[*Requests]struct{}),
		lingering: make(map[*Requests]struct{}),
	}
	e.opening = make(map[uint64]*Upgrade)
	e.inbounds.New = func() any { return new(inbound) }
	e.outboxes.New = func() any { return new(outbox) }
	e.mailboxes.New = func() any { return new(mailbox) }
	e.addresses.limit = cfg.MaxPerAddress
	e.pace = newPacer(cfg.ConnRate, cfg.Rate)
	loop, err := reactor.New(e, e.cfg.Reactor)
	if err != nil {
		return nil, fmt.Errorf("engine: %w", err)
	}
	e.loop = loop
	e.clock.start(e.cfg.Wall)
	if e.cfg.MessageMinRate.Bytes > 0 && e.cfg.MessageMinRate.Per > 0 {
		e.partials.judge = loop.NewAlarm(e.judge)
	}
	e.watch.init(e.cfg.WatchdogLimit, e.cfg.Logger)
	return e, nil
}

// Run turns the loop until Stop. It returns when no callback is running any more.
func (e *Engine) Run() error {
	err := e.persist(e.loop.Run)
	if err != nil {
		return fmt.Errorf("engine: %w", err)
	}
	_ = e.persist(func() error { e.abandon(); return nil })
	e.tasks.Wait()
	return nil
}

// persist runs f on a goroutine, and again on another one each time that a callback has ended it (runtime.Goexit).
func (e *Engine) persist(f func() error) (err error) {
	for returned := false; !returned; {
		done := make(chan struct{})
		go func() {
			defer close(done)
			defer e.watch.start()()
			err = f()
			returned = true
		}()
		<-done
	}
	return err
}

// Stop ends the loop: connections that are still open are cut without a closing handshake.
func (e *Engine) Stop() { e.loop.Stop() }

// abandon closes what is left after the loop's last turn.
func (e *Engine) abandon() {
	for _, c := range e.conns {
		if c != nil {
			e.teardown(c)
		}
	}
}

// Post runs f on the loop. It reports false after Stop.
func (e *Engine) Post(f func()) bool { return e.loop.Post(f) }

// Lookup finds an open connection by its id; nil if it is not here.
func (e *Engine) Lookup(id uint64) *Conn {
	e.idsMu.RLock()
	defer e.idsMu.RUnlock()
	return e.ids[id]
}

// Len is the number of open WebSockets.
func (e *Engine) Len() int {
	e.idsMu.RLock()
	defer e.idsMu.RUnlock()
	return len(e.ids)
}

// conn finds the connection of a key; nil when the event is stale.
func (e *Engine) conn(k reactor.Key) *Conn {
	if int(k.Index) >= len(e.conns) {
		return nil
	}
	if c := e.conns[k.Index]; c != nil && c.key == k {
		return c
	}
	return nil
}

// Ready is called by the loop when a socket may be read or written.
func (e *Engine) Ready(k reactor.Key, ev reactor.Events) {
	c := e.conn(k)
	if c == nil {
		return
	}
	if ev&reactor.Writable != 0 && c.blocked.Load() {
		c.flush(true)
	}
	if c.phase.Load() != phaseClosed && ev&(reactor.Readable|reactor.Hangup) != 0 {
		c.read(ev&reactor.Hangup != 0)
	}
}

// Flush is called by the loop once per turn: everything queued in the turn leaves, one write per connection.
func (e *Engine) Flush() {
	if e.pace != nil {
		e.serve()
	}
	// A Drain callback may send again; what that queues leaves in this turn too, but not for ever.
	for range 4 {
		if e.flushed == len(e.flushing) { // it is not if a callback has ended the loop's goroutine
			e.dirtyMu.Lock()
			e.dirty, e.flushing = e.flushing[:0], e.dirty
			e.dirtyMu.Unlock()
			e.flushed = 0
		}
		if len(e.flushing) == 0 {
			return
		}
		for e.flushed < len(e.flushing) {
			c := e.flushing[e.flushed]
			e.flushing[e.flushed] = nil
			e.flushed++
			c.flush(false)
		}
	}
	e.loop.Wake()
}

// touch asks for a flush of c in this turn, or wakes the loop for one.
func (e *Engine) touch(c *Conn) {
	e.dirtyMu.Lock()
	e.dirty = append(e.dirty, c)
	e.dirtyMu.Unlock()
	e.loop.Wake()
}

var _ reactor.Handler = (*Engine)(nil)
