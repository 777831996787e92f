package expedite

import (
	"io"
	"log/slog"
	"time"

	"github.com/expedite-go/expedite/cluster"
	"github.com/expedite-go/expedite/internal/resource"
)

// Config is how an App runs. Every field may be zero.
type Config struct {
	// Addr is the TCP address to serve on. Empty is ":8080".
	Addr string
	// Workers is the number of worker processes. 0 is one per core, or as many as the CPU quota of a cgroup keeps busy.
	// Negative serves in this process, without a primary; so does every platform but Linux.
	Workers int
	// Scheduling is how connections find their worker. The zero value is round-robin.
	Scheduling cluster.Policy
	// Control is the path of the Unix socket for the other commands of expedite. Empty is none.
	Control string
	// StateDir is a folder for what must survive this server's end, by whatever cause: revocations. It is made with mode
	// 0700; one server at a time may use it. Empty keeps them as long as the server runs, and with Redis.
	StateDir string
	// Admin is the TCP address of the listener for /metrics and /debug/pprof. Empty is none. Keep it private.
	Admin string
	// AdminHosts are the names, without a port, that requests to the admin listener may be for, beside localhost, IP
	// addresses and the host of Admin: those of a reverse proxy in front of it, for instance. Requests for other names,
	// and those of pages of other origins, get 403, so that no page in the browser of an operator starts a profile.
	AdminHosts []string
	// DrainTimeout is how long a graceful stop may take. 0 is 30 s.
	DrainTimeout time.Duration
	// HandoffStall is how long one worker may wait for another, while connections move between them, without any
	// progress; then the move is undone, and a worker that does not even take part in that is killed. 0 is 10 s.
	HandoffStall time.Duration
	// HangTimeout is how long a worker's event loop may stand still before the worker is killed and replaced: 2 s or
	// more. 0 is 30 s, negative is for ever.
	HangTimeout time.Duration
	// MaxWorkerMemory is the resident memory in bytes beyond which a worker is replaced by a new process, to which its
	// connections move. 0 is no limit.
	MaxWorkerMemory int64
	// Version is what status and metrics call this program.
	Version string

	// MaxConnections is the number of WebSockets per worker; beyond it a handshake gets 503. 0 is no limit but that of
	// open files.
	MaxConnections int
	// MaxHandshakes is the number of sockets per worker that may be before or in their handshake; past it the one that has
	// been silent for longest is closed. 0 is 4096, or a quarter of the open files if that is less.
	MaxHandshakes int
	// MaxPerAddress is the number of connections per worker, HTTP included, from one IPv4 address or one IPv6 network of
	// 64 bits; past it a new one gets 429. 0 is no limit: behind a proxy, all clients share an address.
	MaxPerAddress int
	// MaxHTTPConnections is the number of connections per worker that have an HTTP request or are kept alive after one.
	// Past it the one that has been idle for longest is closed for a new request; if none is idle, the request gets 503,
	// except GET /healthz and /readyz. 0 is 4096, or a quarter of the open files if that is less.
	MaxHTTPConnections int
	// ResponseTimeout is how long an HTTP client may take nothing of its response; then its connection ends. 0 is 30 s,
	// negative is for ever.
	ResponseTimeout time.Duration
	// MaxHead is the longest request head of a handshake in bytes. 0 is 8 KiB.
	MaxHead int
	// MaxPartial is the number of bytes per worker that all messages and request heads together may hold which have begun
	// and are not complete. Past it the connections with the largest ones are closed with 1013. 0 is an eighth of what the
	// worker's heap may hold, see Tuning.Memory; negative is no limit.
	MaxPartial int64
	// MaxQueued is the number of bytes per worker that the send queues of all connections together may hold; a
	// publication counts once, however many queues it is in. Past it the longest queues of clients that do not read are
	// given up: those clients are closed with 1013 or, if their Handler's policy is to drop messages, lose what waits. 0
	// is a quarter of what the worker's heap may hold; negative is no limit.
	MaxQueued int64
	// MaxPending is the number of bytes per worker of messages that wait for callbacks; those of Inline handlers do not
	// wait. From half of it on, a client that has 16 KiB waiting is not read; past it those that have the most are closed
	// with 1013, and their messages dropped. 0 is an eighth of what the worker's heap may hold; negative is no limit.
	MaxPending int64
	// MessageMinRate is the least progress of a message that has begun: one that takes longer than a period, and brings
	// fewer bytes in it, is closed with 1008. Time in which the server itself does not read the client, because its
	// callbacks or a rate hold it up, does not count. The zero value is 1 KiB in 10 s; negative Bytes are no limit.
	MessageMinRate Progress
	// BodyTimeout is how long the body of an HTTP request may make no progress; then its connection ends. 0 is 10 s,
	// negative is for ever.
	BodyTimeout time.Duration
	// HandshakeTimeout bounds the time until the request head is complete, and that of Authorize. 0 is 10 s.
	HandshakeTimeout time.Duration
	// MaxSubscriptions is the number of topics per connection. 0 is 1024.
	MaxSubscriptions int

	// Tuning is what the App may take of the machine.
	Tuning Tuning
	// Auth is how clients identify themselves, and which pages may connect.
	Auth Auth
	// Sessions is how long, where and how many sessions are kept.
	Sessions Sessions
	// MaxAuthorizing is the number of handshakes per worker whose token is being verified, or that Authorize thinks
	// about; past it a handshake gets 503. 0 is 1024, or three quarters of MaxHandshakes if that is less. As many requests
	// for tickets, or 1024, may be under way beside them.
	MaxAuthorizing int

	// Logger is where the App writes what an operator must know. Nil is slog.Default. A goroutine of its own calls the
	// handler, so that no client and no reload waits for a handler that is slow or stuck: App.Logger queues LogQueue
	// lines, and drops and counts the rest. Code that logs to Logger itself, or prints, has no such queue: in a worker
	// it does not wait either if it writes to standard output or error, for the primary reads them in any case; before
	// Run, and in a program that serves in one process, it waits for whoever reads.
	Logger *slog.Logger
	// LogQueue is the number of log lines of a process that may wait to be written. 0 is 1024.
	LogQueue int
	// LogDir is a folder for log files, one of each process: primary.log, worker-1.log and so on. They hold JSON, of the
	// levels of Logger, and are rotated: see App.ReopenLogs. Empty writes to Logger.
	LogDir string
	// LogQuery and LogHeaders are the parameters of the query, and the header fields of the handshake, that stand in log
	// lines about a connection, and in its session. What is secret, by its name, such as Cookie, or by its looks, is
	// redacted.
	LogQuery, LogHeaders []string
	// LogSample bounds the lines about clients that come and go, per worker and second. What is left out is counted. 0
	// is 20, negative is none.
	LogSample int
	// WorkerOutput receives what workers write to their standard output and error. Nil is os.Stdout and os.Stderr. Lines
	// that it does not take in time are dropped, and counted.
	WorkerOutput io.Writer
	// OnStart is called once when everything serves: in the primary, or in the only process.
	OnStart func(Started)
}

// Progress is a number of bytes in a period.
type Progress struct {
	Bytes int
	Per   time.Duration
}

// Started tells where an App serves.
type Started struct {
	// Addresses of the public listener; with a port that the system chose, the real one.
	Addresses []string
	// Admin is the address of the admin listener, or empty.
	Admin string
	// Workers is the number of worker processes; 0 if this process serves by itself.
	Workers int
	// WorkersFrom says what has decided about their number, as "2 cores"; empty if Config.Workers has.
	WorkersFrom string
	// Scheduling is the policy in use.
	Scheduling cluster.Policy
	// Auth is whether clients have to identify themselves.
	Auth AuthMode
}

// Defaults of Config.
const (
	defaultAddr         = ":8080"
	defaultDrainTimeout = 30 * time.Second
	defaultHangTimeout  = 30 * time.Second
)

// maxDuration bounds every duration that comes from outside before it is added to a time: a century. Sums of
// nanoseconds overflow after three.
const maxDuration = 100 * 365 * 24 * time.Hour

// clamp makes d one that can be added.
func clamp(d time.Duration) time.Duration { return min(max(d, -maxDuration), maxDuration) }

func (c Config) withDefaults() Config {
	for _, d := range []*time.Duration{
		&c.DrainTimeout, &c.HandoffStall, &c.HangTimeout, &c.HandshakeTimeout, &c.Auth.TicketTTL,
	} {
		*d = clamp(*d)
	}
	if c.Addr == "" {
		c.Addr = defaultAddr
	}
	if c.DrainTimeout <= 0 {
		c.DrainTimeout = defaultDrainTimeout
	}
	if c.HangTimeout == 0 {
		c.HangTimeout = defaultHangTimeout
	}
	if c.Logger == nil {
		c.Logger = slog.Default()
	}
	if c.LogQueue <= 0 {
		c.LogQueue = defaultLogQueue
	}
	if c.Version == "" {
		c.Version = "devel"
	}
	return c
}

// defaultLogQueue is Config.LogQueue.
const defaultLogQueue = 1024

// workers is the number of worker processes that the App begins with.
func (c Config) workers() int {
	if c.Workers > 0 {
		return c.Workers
	}
	return min(resource.ReadProcessors("").Busy(), cluster.MaxWorkers)
}
