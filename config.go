package expedite

import (
	"fmt"
	"io"
	"log/slog"
	"time"

	"github.com/expedite-go/expedite/backplane"
	"github.com/expedite-go/expedite/cluster"
	"github.com/expedite-go/expedite/internal/engine"
	"github.com/expedite-go/expedite/internal/forwarded"
	"github.com/expedite-go/expedite/internal/listener"
	"github.com/expedite-go/expedite/internal/resource"
)

// Config configures an App. The zero value works.
type Config struct {
	// Addr is the address to listen on: host:port, unix:/path or systemd:NAME, and options after a question mark, such
	// as unix:/run/app.sock?mode=0660. docs/listeners.md describes it. Empty is ":8080" if Addrs is empty, too.
	Addr string
	// Addrs are further addresses to listen on. A reload adds those that are new and closes those that are gone.
	Addrs []string
	// TrustedProxies are the networks of proxies in front of this server, like 10.0.0.0/8, single addresses, and "unix"
	// for all peers of Unix sockets. The header fields Forwarded, X-Forwarded-For and X-Forwarded-Proto of requests
	// from them name the client: the right-most address that is not trusted. docs/proxies.md describes it. List no
	// network that clients are in, and only proxies that set these fields. Empty is none: the peer of a connection is
	// its client.
	TrustedProxies []string
	// ProxyProtocol expects connections of TrustedProxies to begin with a PROXY header, version 1 or 2, which names the
	// client. Those without one are refused. An address can have its own setting: see docs/listeners.md.
	ProxyProtocol bool
	// TLS has the certificates of wss:// and https://. The zero value is none.
	TLS TLS
	// Workers is the number of worker processes. 0 is one per core, or as many as the CPU quota of a cgroup keeps busy.
	// If it is negative, this process serves alone, without a primary. On platforms other than Linux it always does.
	Workers int
	// Scheduling selects the worker of a new connection. The zero value is round-robin.
	Scheduling cluster.Policy
	// Control is the path of the Unix socket for the operator's commands, such as expedite status. Empty is none.
	Control string
	// StateDir is a folder for revocations, which then survive the end of this server, however it ends, and for the
	// certificates of TLS.Auto. It is created with mode 0700, and one server at a time may use it. If it is empty,
	// revocations last as long as the server runs, or are kept in Redis.
	StateDir string
	// Admin is the TCP address of the listener for /metrics and /debug/pprof. Empty is none. Keep it private. With
	// https:// before the address, its clients use TLS with the certificates of TLS, and present none themselves.
	Admin string
	// AdminHosts are host names, without a port, that requests to the admin listener may name, in addition to
	// localhost, IP addresses and the host of Admin: that of a reverse proxy in front of it, for instance. Requests for
	// other names, and those of pages of other origins, get 403, so that no page in an operator's browser can start a
	// profile.
	AdminHosts []string
	// DrainTimeout is how long a graceful stop may take. 0 is 30 s.
	DrainTimeout time.Duration
	// HandoffStall is how long a move of connections between two workers may make no progress. Then the move is undone,
	// and a worker that does not take part in that is killed. 0 is 10 s.
	HandoffStall time.Duration
	// HangTimeout is how long a worker's event loop may make no progress before the worker is killed and replaced: 2 s
	// or more. 0 is 30 s, negative is no limit.
	HangTimeout time.Duration
	// MaxWorkerMemory is the resident memory in bytes at which a worker is replaced by a new process. Its connections
	// move there. 0 is no limit.
	MaxWorkerMemory int64
	// Version is the version of this program in status and metrics. Empty is "devel".
	Version string

	// Backplane carries publications and messages to connections and users between machines. Nil means that this
	// machine is alone. The primary uses it, or a process that serves alone: main makes it in every process, and Run
	// starts it where it is needed.
	Backplane backplane.Backplane
	// MoreRedis are the URLs of further Redis servers: topics are spread over Sessions.Redis and these, and each topic
	// has one of them. All machines need the same ones, in any order. Sessions and revocations are in Sessions.Redis,
	// which therefore must be the same one on all machines, too. With a Backplane, there must be none.
	MoreRedis []string
	// CloseOnGap closes, with 1013 (try again later), connections that have missed publications of other machines and
	// whose Handler has no Gap. Without it they stay.
	CloseOnGap bool
	// Presence has the rules that make it known who is in topics. MaxPresence is the number of pairs of a topic and a
	// member per machine; further members are not known. 0 is 250,000.
	Presence    []PresenceRule
	MaxPresence int
	// PresenceLease is how long the members of a machine are present that has died. 0 is 15 s; at least 1 s.
	PresenceLease time.Duration

	// History makes topics keep their latest messages, by the first rule whose pattern matches. MaxHistory is how many
	// bytes all topics may keep in the memory of the primary, with 80 more for each message and 256 for each topic.
	// Beyond it, what would expire first is removed early. 0 is 64 MiB. See Conn.SubscribeFrom and docs/history.md.
	History    []HistoryRule
	MaxHistory int64

	// Compression decides whether messages are compressed, for all endpoints; see also Handler.CompressAbove. The zero
	// value is CompressionOff. Open connections keep what they agreed on when a later program has another Compression.
	Compression Compression

	// MaxConnections is the number of WebSockets per worker. Further handshakes get 503. 0 is no limit except that of
	// open files.
	MaxConnections int
	// MaxHandshakes is the number of sockets per worker that have not finished their handshake. For a further one, the
	// one that has been silent for longest is closed. 0 is 4096, or a quarter of the open files if that is less.
	MaxHandshakes int
	// MaxPerAddress is the number of connections per worker, including HTTP, from one IPv4 address or one IPv6 network
	// of 64 bits. Further ones get 429. 0 is no limit: behind a proxy that is not one of TrustedProxies, all clients
	// share an address. TrustedProxies themselves are not counted, nor are clients of Unix sockets, which have no
	// address.
	MaxPerAddress int
	// ConnectRate limits the new connections per worker, including HTTP, from one IPv4 address or one IPv6 network of
	// 64 bits. Further ones get 429 with a Retry-After. The primary spreads connections, so all workers together accept
	// up to as many times more. The zero value is no limit. Behind a proxy it is as for MaxPerAddress.
	ConnectRate EventRate
	// MaxMessage, MaxFragments, MessageRate with OverRate, PublishRate, MaxPerUser, IdleTimeout and PingInterval apply
	// to each Handler that does not have its own. 0 is 1 MiB for MaxMessage, 1024 for MaxFragments, 120 s for
	// IdleTimeout, 50 s for PingInterval, and no limit for the others.
	MaxMessage   int64
	MaxFragments int
	MessageRate  EventRate
	OverRate     RatePolicy
	PublishRate  EventRate
	MaxPerUser   int
	IdleTimeout  time.Duration
	PingInterval time.Duration
	// MaxHTTPConnections is the number of connections per worker that have an HTTP request or are kept alive after one.
	// For a further request, the one that has been idle for longest is closed. If none is idle, the request gets 503,
	// except GET /healthz and /readyz. 0 is 4096, or a quarter of the open files if that is less.
	MaxHTTPConnections int
	// ResponseTimeout is how long an HTTP client may read nothing of its response before its connection is closed. 0 is
	// 30 s, negative is no limit.
	ResponseTimeout time.Duration
	// MaxHead is the longest request head of a handshake in bytes. 0 is 8 KiB.
	MaxHead int
	// MaxPartial is the number of bytes per worker that all incomplete messages and request heads together may hold.
	// Beyond it the connections with the largest ones are closed with 1013. 0 is an eighth of what the worker's heap
	// may hold, see Tuning.Memory; negative is no limit.
	MaxPartial int64
	// MaxQueued is the number of bytes per worker that the send queues of all connections together may hold. A
	// publication counts once, in however many queues it is. Beyond it the longest queues of clients that do not read
	// are dropped: those connections are closed with 1013 or, if the policy of their Handler is to drop messages, lose
	// what is queued. 0 is a quarter of what the worker's heap may hold; negative is no limit.
	MaxQueued int64
	// MaxPending is the number of bytes per worker of messages that wait for callbacks. Those of Inline handlers never
	// wait. Beyond half of it, a client with 16 KiB of waiting messages is not read. Beyond all of it, the connections
	// with the most are closed with 1013, and their messages are dropped. 0 is an eighth of what the worker's heap may
	// hold; negative is no limit.
	MaxPending int64
	// MessageMinRate is the slowest progress of a message that has begun. A connection whose message brings fewer bytes
	// in a period is closed with 1008. Time in which the server does not read the client, because of its callbacks or a
	// rate, does not count. The zero value is 1 KiB in 10 s; negative Bytes are no limit.
	MessageMinRate Progress
	// BodyTimeout is how long the body of an HTTP request may make no progress before its connection is closed. 0 is 10
	// s, negative is no limit.
	BodyTimeout time.Duration
	// HandshakeTimeout bounds the time until the request head is complete, and the time of Authorize. 0 is 10 s.
	HandshakeTimeout time.Duration
	// MaxSubscriptions is the number of topics per connection. 0 is 1024.
	MaxSubscriptions int

	// Tuning limits what the App takes of the machine.
	Tuning Tuning
	// Auth tells how clients identify themselves, and which pages may connect.
	Auth Auth
	// Sessions tells where sessions are kept, for how long, and how many.
	Sessions Sessions
	// MaxAuthorizing is the number of handshakes per worker whose token is being verified or for which Authorize runs.
	// Further handshakes get 503. 0 is 1024, or three quarters of MaxHandshakes if that is less. In addition, as many
	// requests for tickets may be in progress (1024 if it is 0).
	MaxAuthorizing int

	// Logger receives what an operator must know. Nil is slog.Default. A goroutine of its own calls the handler, so
	// that no client and no reload waits for a handler that is slow or stuck: App.Logger queues LogQueue lines, and
	// drops and counts the rest. Code that logs to Logger itself, or prints, has no such queue. In a worker it does not
	// wait either if it writes to standard output or error, because the primary always reads them. Before Run, and in a
	// process that serves alone, it waits for the reader.
	Logger *slog.Logger
	// LogLevel is the level of Logger, if it is not nil. A reload in place sets it: see InPlace.
	LogLevel *slog.LevelVar
	// LogQueue is the number of log lines per process that may wait to be written. 0 is 1024.
	LogQueue int
	// LogDir is a folder for log files, one for each process: primary.log, worker-1.log and so on. They hold JSON, have
	// the levels of Logger, and are rotated: see App.ReopenLogs. Empty writes to Logger.
	LogDir string
	// LogQuery and LogHeaders name parameters of the query and header fields of the handshake that log lines about a
	// connection show, and that its session keeps. Values that are secret by their name, such as Cookie, or by their
	// form are redacted.
	LogQuery, LogHeaders []string
	// LogSample limits the lines about clients that connect and disconnect, per worker and second. The lines that are
	// left out are counted. 0 is 20, negative logs none.
	LogSample int
	// WorkerOutput receives what workers write to their standard output and error. Nil is os.Stdout and os.Stderr.
	// Lines that it does not accept in time are dropped and counted.
	WorkerOutput io.Writer
	// Changed are the names of the settings in which this program differs from the running one, in a trial of a reload:
	// see Resolve. The result of the reload and the log show them.
	Changed []string
	// InPlace reports that nothing has changed but LogLevel, Auth.Origins, MaxConnections, MaxHandshakes, MaxPerAddress
	// and MaxHTTPConnections. If the program is the same build as the running one, the reload then sets them in all
	// processes of the running program, and replaces none.
	InPlace bool
	// OnStart is called once when everything serves: in the primary, or in a process that serves alone.
	OnStart func(Started)
}

// Progress is a number of bytes in a period.
type Progress struct {
	Bytes int
	Per   time.Duration
}

// Started describes an App that has started.
type Started struct {
	// Addresses are those that clients connect to: host:port, with the port that the system chose if it was 0, or
	// unix:/path.
	Addresses []string
	// TLS are those of them where clients use TLS.
	TLS []string
	// Admin is the address of the admin listener, with https:// before it if its clients use TLS, or empty.
	Admin string
	// Workers is the number of worker processes; 0 if this process serves alone.
	Workers int
	// WorkersFrom tells what decided their number, such as "2 cores"; empty if Config.Workers did.
	WorkersFrom string
	// Scheduling is the policy in use.
	Scheduling cluster.Policy
	// Auth tells whether clients have to identify themselves.
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

// clamp limits d so that it can be added to a time.
func clamp(d time.Duration) time.Duration { return min(max(d, -maxDuration), maxDuration) }

func (c Config) withDefaults() Config {
	for _, d := range []*time.Duration{
		&c.DrainTimeout, &c.HandoffStall, &c.HangTimeout, &c.HandshakeTimeout, &c.Auth.TicketTTL,
	} {
		*d = clamp(*d)
	}
	if c.Addr == "" && len(c.Addrs) == 0 {
		c.Addr = defaultAddr
	}
	c.TLS.Auto.resolve(c.StateDir)
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

// listeners returns Addr and Addrs.
func (c *Config) listeners() ([]listener.Spec, error) {
	list := c.Addrs
	if c.Addr != "" {
		list = append([]string{c.Addr}, c.Addrs...)
	}
	specs, err := listener.ParseAll(list)
	if err != nil {
		return nil, fmt.Errorf("expedite: Config.Addr: %w", err)
	}
	return specs, nil
}

// defaultLogQueue is Config.LogQueue.
const defaultLogQueue = 1024

// workers returns the number of worker processes with which the App starts.
func (c Config) workers() int {
	if c.Workers > 0 {
		return c.Workers
	}
	return min(resource.ReadProcessors("").Busy(), cluster.MaxWorkers)
}

// proxies returns the trusted proxies. An address can override them with its own options.
func (c *Config) proxies() (engine.Proxies, error) {
	trust, err := forwarded.ParseTrust(c.TrustedProxies)
	if err != nil {
		return engine.Proxies{}, fmt.Errorf("expedite: Config.TrustedProxies: %w", err)
	}
	return engine.Proxies{Trust: trust, Header: c.ProxyProtocol}, nil
}
