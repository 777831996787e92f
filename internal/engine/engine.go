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
	"github.com/expedite-go/expedite/ws/deflate"
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

// Config sets what an engine serves and its limits. It must not change after New.
type Config struct {
	// Route returns the WebSocket endpoint whose Route.Path is path, or nil if there is none. Match returns that of the
	// path of a request, with its percent-encoding, or nil if HTTP serves the path; a nil Match calls Route with the
	// unescaped path. Both must be safe for concurrent use.
	Route func(path string) *Route
	Match func(rawPath string) *Route
	// HTTP is the HTTP fallback: it takes over a connection whose request is not an upgrade. It is called on the loop,
	// must not block, and owns the connection. If it is nil, such requests are refused with 426.
	HTTP func(*Requests)
	// Source returns what a source of connections is by its name: see Listen and AddFDs. It is called once for a name,
	// on the loop or before Run. An empty name means that whoever passed the connection knows no names. nil means that
	// a source is nothing but a name.
	Source func(name string) Source
	// NewID returns the id of a new connection, which must never have been used before. It is called on the loop.
	NewID func() uint64
	// TopicChanged, unless it is nil, is called when a topic gets its first subscriber on this engine, and when it
	// loses its last one. It must neither block nor call the engine, except Post.
	TopicChanged func(topic string, exists bool)
	// Subscribed, unless it is nil, is called when a connection is subscribed to a topic, and when it is no longer:
	// also when it ends, has arrived from another worker, or was taken over by one. A move that fails is no change. The
	// calls for a connection and a topic are in order. It must neither block nor call the engine, except Post.
	Subscribed func(c *Conn, topic string, subscribed bool)
	// History leads to what topics keep. nil means that none keeps anything.
	History *History
	// Cause returns the cause of a context that ends with ErrClosed or ErrMoved: see Conn.Context. nil means the same.
	Cause func(error) error
	// Logger receives what an operator should know. nil means slog.Default.
	Logger *slog.Logger
	// Describe returns what a line about an open connection tells, whose endpoint has that path. nil means its id, its
	// address and the path.
	Describe func(c *Conn, path string) []slog.Attr
	// MayLog reports whether another line about a client may be logged now, MayLogFault whether another panic of the
	// application may. nil means always. Both must be safe for concurrent use.
	MayLog, MayLogFault func() bool
	// MaxHead is the maximum length of a request head in bytes. 0 means DefaultMaxHead.
	MaxHead int
	// HandshakeTimeout is the maximum time from accept to the end of the request head. 0 means DefaultHandshakeTimeout.
	HandshakeTimeout time.Duration
	// BodyTimeout is how long the body of an HTTP request may make no progress before its connection is closed. 0 means
	// DefaultBodyTimeout, a negative value no limit.
	BodyTimeout time.Duration
	// KeepAlive is how long a connection waits for the next HTTP request. 0 means DefaultKeepAlive.
	KeepAlive time.Duration
	// MaxConnections is the maximum number of open WebSockets. Beyond it, handshakes are refused with 503. 0 means no
	// limit.
	MaxConnections int
	// MaxHandshakes is the maximum number of sockets in or before their handshake. Beyond it, a socket is closed: the
	// oldest one that has sent nothing, or another one if there is none. 0 means DefaultMaxHandshakes.
	MaxHandshakes int
	// MaxPerAddress is the maximum number of connections from one IPv4 address or one IPv6 network of 64 bits. Beyond
	// it, new connections are refused with 429. Connections that arrive from another worker are counted but never
	// refused. 0 means no limit.
	MaxPerAddress int
	// ConnectRate limits the new connections of one IPv4 address or one IPv6 network of 64 bits. Beyond it, they are
	// refused with 429 and a Retry-After. Connections that arrive from another worker do not count.
	ConnectRate EventRate
	// MaxHTTPConnections is the maximum number of connections in the HTTP fallback, including those kept alive without
	// a request. Beyond it, a connection without a request is closed for a new request. If there is none, the request
	// is refused with 503, unless Vital reports true for its path and it has no body. 0 means DefaultMaxHTTP.
	MaxHTTPConnections int
	Vital              func(path string) bool
	// ResponseTimeout is how long an HTTP client may read nothing of its response before the connection is closed. 0
	// means DefaultResponseTimeout, a negative value no limit.
	ResponseTimeout time.Duration
	// MaxAuthorizing is the maximum number of concurrent calls of Route.Authorize, which may block. Beyond it,
	// handshakes are refused with 503. 0 means DefaultMaxAuthorizing.
	MaxAuthorizing int
	// MaxPartial is the maximum number of bytes in all incomplete messages and request heads together. Beyond it, the
	// connections with the largest ones are closed with 1013. 0 means no limit.
	MaxPartial int64
	// MaxQueued is the maximum number of bytes in the output queues of all connections together. A publication counts
	// once, however many queues it is in. Beyond it, the largest queues of peers that do not read are emptied and, with
	// PolicyClose, their connections are closed with 1013. 0 means no limit.
	MaxQueued int64
	// MaxPending is the maximum number of bytes of messages that wait for the callbacks of routes that are not Inline.
	// Messages that a callback is handling count; mailboxes of less than 16 KiB do not. From half the limit on,
	// connections with a larger mailbox are not read. Beyond the limit, those with the largest mailboxes are closed
	// with 1013 and their messages dropped. 0 means no limit.
	MaxPending int64
	// MessageMinRate is the minimum progress of an incomplete message. A slower connection is closed with 1008. Time in
	// which the engine itself does not read the connection does not count. The zero value means DefaultMinBytes in
	// DefaultMinPer, negative Bytes no limit.
	MessageMinRate Progress
	// MaxSubscriptions is the maximum number of topics of a connection. 0 means DefaultMaxSubscriptions.
	MaxSubscriptions int
	// WatchdogLimit is how long a callback may occupy the loop before its stack is logged. 0 means
	// DefaultWatchdogLimit, a negative value never.
	WatchdogLimit time.Duration
	// Wall returns the wall clock time. nil means time.Now.
	Wall func() time.Time
	// ConnRate limits the traffic of each open connection, and Rate that of all of them together. The zero value means
	// no limit. Beyond a limit, the connection is not read, or its queue waits; Route.QueueLimit documents what then
	// happens to messages.
	ConnRate, Rate Rate
	// Reactor configures the event loop. The zero value is right for servers.
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
	if c.MaxAuthorizing == 0 { // leave room for handshakes that need no Authorize
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
	// ErrClosed means that the connection is closed or closing.
	ErrClosed = errors.New("engine: connection closed")
	// ErrTooManySubscriptions means that the connection already has Config.MaxSubscriptions topics.
	ErrTooManySubscriptions = errors.New("engine: too many subscriptions")
	// ErrMoved means that the connection has moved to another worker or is about to.
	ErrMoved = errors.New("engine: connection has moved")
)

// Engine is an event loop with its connections. Methods are safe for concurrent use unless they say otherwise.
type Engine struct {
	limits limits
	cfg    Config
	loop   *reactor.Loop

	// On the loop only.
	conns    []*Conn // by reactor.Key.Index
	flushing []*Conn // swapped with dirty at each flush
	flushed  int     // how many of flushing were flushed
	moving   bool    // callbacks run on a goroutine of their own: see Engine.apart
	partials partials
	meters   map[*Conn]*meter // connections of routes that need one
	queues   socketQueues
	sources  sources

	nextBound int64       // ns, earliest time of the next search for large queues
	bounding  atomic.Bool // boundQueues is posted

	nextPending int64 // like nextBound, for mailboxes

	// opening has the handshakes in Authorize, by the ids that their connections will have. On the loop.
	opening map[uint64]*Upgrade

	dirtyMu sync.Mutex
	dirty   []*Conn // connections with output or with a state to settle

	idsMu sync.RWMutex
	ids   map[uint64]*Conn // open connections

	requestsMu sync.Mutex
	requests   map[*Requests]struct{} // connections of the HTTP fallback
	lingering  map[*Requests]struct{} // those of them that wait for their next request
	returning  atomic.Int64           // those of them without a request, or on their way back to the loop
	shedding   shedding               // those of them that are closed for what they hold

	topicsMu sync.Mutex
	topics   *topic.Table
	marks    marks
	ahead    map[uint32]uint64 // by index: the connection has had publications up to this number in its previous worker
	farthest uint64            // the largest number in ahead

	// State of moves, and what arriving connections may have missed. On the loop only.
	dep         departures
	gapped      map[*Conn]struct{} // their publications wait behind a Gap callback
	orphan      *Route
	recoveries  *recoveries // nil without Config.History
	position    uint64      // number of the last publication
	recording   bool
	history     []published
	historySize int
	forgotten   uint64 // number of the last publication removed from history

	// Buffers that connections borrow while they have incomplete input, unsent output or pending callbacks, and of
	// type *[]byte for messages that are being compressed.
	inbounds, outboxes, mailboxes, scratch sync.Pool

	codec     deflate.Codec
	inflated  []byte // the buffer for decompressed messages; on the loop
	windowsMu sync.RWMutex
	share     inflateShare
	windows   map[*Conn]*windows // of the connections with context takeover

	clock      clock
	contexts   contexts
	addresses  addresses
	limiter    *rateLimiter // nil without rate limits
	count      counters
	watch      watchdog
	handshakes atomic.Int64 // sockets that are not WebSockets yet or never will be
	http       atomic.Int64 // connections of the HTTP fallback
	deciding   atomic.Int64 // goroutines in Route.Authorize
	draining   atomic.Bool
	refusing   atomic.Bool // handshakes only
	tlsOnce    sync.Once
	short      atomic.Bool    // see SetShort
	leaving    atomic.Bool    // between Depart and Stay
	tasks      sync.WaitGroup // mailbox and authorization goroutines
}

// New returns an engine. Run starts it.
func New(cfg Config) (*Engine, error) {
	e := &Engine{
		cfg: cfg.withDefaults(), ids: make(map[uint64]*Conn), topics: topic.New(), requests: make(map[*Requests]struct{}),
		lingering: make(map[*Requests]struct{}),
	}
	e.opening, e.meters = make(map[uint64]*Upgrade), make(map[*Conn]*meter)
	e.sources.list = []*Source{{}}
	if cfg.TopicChanged != nil || cfg.History != nil {
		e.topics.Changed = e.topicChanged
	}
	e.inbounds.New = func() any { return new(inbound) }
	e.outboxes.New = func() any { return new(outbox) }
	e.mailboxes.New = func() any { return new(mailbox) }
	e.scratch.New = func() any { return new([]byte) }
	e.SetLimits(Limits{e.cfg.MaxConnections, e.cfg.MaxHandshakes, e.cfg.MaxPerAddress, e.cfg.MaxHTTPConnections})
	e.addresses.connect = cfg.ConnectRate.cadence(0)
	e.limiter = newRateLimiter(cfg.ConnRate, cfg.Rate)
	loop, err := reactor.New(e, e.cfg.Reactor)
	if err != nil {
		return nil, fmt.Errorf("engine: %w", err)
	}
	e.loop = loop
	if cfg.History != nil {
		e.recoveries = e.newRecoveries()
	}
	e.clock.start(e.cfg.Wall)
	if e.cfg.MessageMinRate.Bytes > 0 && e.cfg.MessageMinRate.Per > 0 {
		e.partials.judge = loop.NewAlarm(e.judge)
	}
	e.watch.init(e.cfg.WatchdogLimit, e.cfg.Logger)
	return e, nil
}

// Run runs the loop until Stop is called and all callbacks have returned.
func (e *Engine) Run() error {
	err := e.persist(e.loop.Run)
	if err != nil {
		return fmt.Errorf("engine: %w", err)
	}
	_ = e.persist(func() error { e.abandon(); return nil })
	e.tasks.Wait()
	return nil
}

// persist runs f on a goroutine, and again on another one whenever a callback ends the goroutine (runtime.Goexit).
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

// Stop ends the loop. Connections that are still open are closed without a closing handshake.
func (e *Engine) Stop() { e.loop.Stop() }

// abandon closes the remaining connections after the last turn of the loop.
func (e *Engine) abandon() {
	for _, c := range e.conns {
		if c != nil {
			e.teardown(c)
		}
	}
}

// Post runs f on the loop. It reports false after Stop.
func (e *Engine) Post(f func()) bool { return e.loop.Post(f) }

// Lookup returns the open connection with the given id, or nil.
func (e *Engine) Lookup(id uint64) *Conn {
	e.idsMu.RLock()
	defer e.idsMu.RUnlock()
	return e.ids[id]
}

// Len returns the number of open WebSockets.
func (e *Engine) Len() int {
	e.idsMu.RLock()
	defer e.idsMu.RUnlock()
	return len(e.ids)
}

// conn returns the connection of a key, or nil if the event is stale.
func (e *Engine) conn(k reactor.Key) *Conn {
	if int(k.Index) >= len(e.conns) {
		return nil
	}
	if c := e.conns[k.Index]; c != nil && c.key == k {
		return c
	}
	return nil
}

// Ready reads or writes a socket. The loop calls it when a socket is ready.
func (e *Engine) Ready(k reactor.Key, ev reactor.Events) {
	c := e.conn(k)
	if c == nil {
		return
	}
	if ev&reactor.Handshaken != 0 && !c.secured() {
		return
	}
	if ev&reactor.Writable != 0 && (c.blocked.Load() || c.sock.Waits()) {
		c.flush(true)
	}
	if c.phase.Load() == phaseClosed || ev&(reactor.Readable|reactor.Hangup) == 0 {
		return
	}
	if c.via&(viaBare|viaWait) == viaBare {
		c.secure(nil)
		return
	}
	c.read(ev&reactor.Hangup != 0)
}

// Flush writes what was queued in this turn, with one write per connection. The loop calls it once per turn.
func (e *Engine) Flush() {
	e.share.spent = 0
	if e.limiter != nil {
		e.serve()
	}
	// A Drain callback may send again. That output leaves in this turn too, but only a few times in a row.
	for range 4 {
		if e.flushed == len(e.flushing) { // otherwise a callback has ended the loop's goroutine
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

// touch schedules a flush of c: in this turn, or in the next one if the loop is waiting.
func (e *Engine) touch(c *Conn) {
	e.dirtyMu.Lock()
	e.dirty = append(e.dirty, c)
	e.dirtyMu.Unlock()
	e.loop.Wake()
}

var _ reactor.Handler = (*Engine)(nil)
