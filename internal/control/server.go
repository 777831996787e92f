package control

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

// Target is the running server that a [Server] acts on.
//
// Reload, Scale and Rebalance are operations: they replace or move workers while their clients stay connected. Only one
// operation runs at a time; a second one fails with the code [CodeBusy]. Each of these methods returns when the
// operation has ended. An operation that has begun continues when its client disconnects.
//
// The contexts of Status, Sessions and Logs end when the client disconnects; those of the other methods do not. All
// contexts end when the server closes, and those of Sessions, Kick, Revoke, Publish and ReopenLogs after 30 seconds.
//
// If an error is, or wraps, an [*Error], the client receives all its fields. The client receives [ErrUnsupported] with
// the code [CodeUnsupported], and any other error with the code [CodeFailed], or [CodeUnavailable] if it is that of an
// operation that has reported nothing yet. The result that accompanies an error is not sent.
type Target interface {
	// Status returns the state of the server. It should answer within a second.
	Status(ctx context.Context) (Status, error)
	// Stop begins the shutdown and returns; the client waits for [Server.Close] or for the end of the process. A second
	// call may ask for a faster shutdown than the first.
	Stop(ctx context.Context, req StopRequest) error

	// Reload replaces the workers one after the other by processes of the binary that is on disk now, then the primary.
	Reload(ctx context.Context, req ReloadRequest, r Reporter) (Result, error)
	// Scale sets the number of workers.
	Scale(ctx context.Context, req ScaleRequest, r Reporter) (Result, error)
	// Rebalance distributes the connections evenly over the workers.
	Rebalance(ctx context.Context, r Reporter) (Result, error)

	// Sessions lists sessions, the latest first if the store has an order.
	Sessions(ctx context.Context, req SessionsRequest) (SessionList, error)
	// Kick closes connections; their clients may reconnect.
	Kick(ctx context.Context, req KickRequest) (KickResult, error)
	// Revoke closes connections and refuses their clients for some time.
	Revoke(ctx context.Context, req RevokeRequest) (RevokeResult, error)
	// Publish sends a text message to all subscribers of a topic.
	Publish(ctx context.Context, req PublishRequest) error

	// Logs passes log lines to write, each a JSON object without a newline, until there are no more or ctx ends. Only
	// one goroutine at a time may call write, which keeps nothing of the line. Without Follow, write waits for the
	// client. With Follow it never waits: it drops lines that a slow client does not take and reports their number to
	// the client. An error of write means that the client is gone.
	Logs(ctx context.Context, req LogsRequest, write func(line []byte) error) error
	// ReopenLogs makes all processes continue in new log files.
	ReopenLogs(ctx context.Context) error
}

// StopRequest says how to stop. The zero value is the gentle way.
type StopRequest struct {
	// Fast cuts the connections instead of draining them.
	Fast bool `json:"fast,omitempty"`
}

const (
	headTimeout  = 5 * time.Second // for a request's head: the peer is a program on this machine
	idleTimeout  = time.Minute
	closeTimeout = time.Second // for requests that are being answered when the server closes
	maxRequest   = 64 << 10    // bytes of a request's body
	maxConns     = 256         // connections at once; a further one is closed
)

// Server answers on a control socket. Make one with [Listen].
type Server struct {
	// BodyTimeout is how long the body of a request may make no progress; see [LimitBody]. Set it before Serve.
	BodyTimeout time.Duration

	path     string
	listener *movable
	http     http.Server
	done     chan struct{} // closed by Close: waiting requests end
	closing  sync.Once
	closed   error        // of Close; after done
	readers  atomic.Int32 // of logs
	conns    atomic.Int32
	refused  atomic.Uint64

	mu   sync.Mutex
	file fs.FileInfo // of the socket, so as to remove no other
}

// Listen takes the socket at path, with mode 0600. It refuses a path where a server answers or where something other
// than a socket is; a socket whose server is dead is replaced. Clients that connect before [Server.Serve] wait for it.
func Listen(path string) (*Server, error) {
	listener, err := claim(path)
	if err != nil {
		return nil, err
	}
	return newServer(path, listener)
}

// Inherit goes on with the socket of the server that this process was before exec(2), or that a parent had: f is what
// [Server.File] gave, and stays the caller's. Clients that connected since then wait for [Server.Serve]. A socket whose
// file is gone cannot be reached: Inherit is Listen then.
func Inherit(path string, f *os.File) (*Server, error) {
	if _, err := os.Lstat(path); errors.Is(err, fs.ErrNotExist) {
		return Listen(path)
	}
	listener, err := net.FileListener(f)
	if err != nil {
		return nil, fmt.Errorf("control: the inherited socket of %s: %w", path, err)
	}
	return newServer(path, listener)
}

func newServer(path string, listener net.Listener) (*Server, error) {
	file, err := os.Lstat(path)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("control: %w", err), listener.Close())
	}
	s := &Server{path: path, file: file, listener: &movable{now: listener}, done: make(chan struct{})}
	s.http = http.Server{
		// Not ReadTimeout: it would go on to run while stop holds its answer back, and cut it.
		ReadHeaderTimeout: headTimeout,
		IdleTimeout:       idleTimeout,
		ConnContext:       withPeer,
		ConnState:         s.count,
		// A client's broken request is its own affair.
		ErrorLog: slog.NewLogLogger(slog.DiscardHandler, slog.LevelError),
	}
	return s, nil
}

// count keeps the number of connections, and closes those beyond maxConns.
func (s *Server) count(conn net.Conn, state http.ConnState) {
	switch state {
	case http.StateNew:
		if s.conns.Add(1) > maxConns {
			s.refused.Add(1)
			_ = conn.Close()
		}
	case http.StateClosed, http.StateHijacked:
		s.conns.Add(-1)
	}
}

// Refused is the number of requests that were turned away because there were too many connections, or readers of logs.
func (s *Server) Refused() uint64 { return s.refused.Load() }

// Path is the socket's, as given to [Listen].
func (s *Server) Path() string { return s.path }

// File is a copy of the listening socket, for [Inherit]. The caller closes it. Its Fd method may make the socket
// blocking, that of the server included: SyscallConn does not.
func (s *Server) File() (*os.File, error) {
	l, ok := s.listener.current().(interface{ File() (*os.File, error) })
	if !ok {
		return nil, fmt.Errorf("control: the socket of %s cannot be copied", s.path)
	}
	f, err := l.File()
	if err != nil {
		return nil, fmt.Errorf("control: copy of the socket of %s: %w", s.path, err)
	}
	return f, nil
}

// Serve answers requests with the target's help until [Server.Close], then returns nil. Call it once.
func (s *Server) Serve(target Target) error {
	mux := http.NewServeMux()
	mux.HandleFunc("/status", only(http.MethodGet, func(w http.ResponseWriter, r *http.Request) { status(w, r, target) }))
	mux.HandleFunc("/stop", only(http.MethodPost, func(w http.ResponseWriter, r *http.Request) { s.stop(w, r, target) }))
	s.rollRoutes(mux, target)
	s.clientRoutes(mux, target)
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		fail(w, http.StatusNotFound, "not_found", "there is no "+r.URL.Path+
			": there are /status, /stop, /reload, /scale, /rebalance, /sessions, /kick, /revoke, /logs, /publish and "+
			"/reopen-logs")
	})
	s.http.Handler = checkPeer(LimitBody(s.BodyTimeout, mux))
	err := s.http.Serve(s.listener)
	select {
	case <-s.done:
		return nil
	default:
		return fmt.Errorf("control: %w", err)
	}
}

// Close removes the socket, lets waiting clients of stop go, and gives other requests a second to end. Call it as late
// as the process can: for the clients of stop it means that the server is gone. Further calls change nothing.
func (s *Server) Close() error {
	s.closing.Do(func() {
		// The file first: who hears that the server is gone must be able to start the next one.
		if s.isThere() {
			s.closed = os.Remove(s.path)
		}
		close(s.done)
		ctx, cancel := context.WithTimeout(context.Background(), closeTimeout)
		defer cancel()
		if err := s.http.Shutdown(ctx); err != nil {
			s.closed = errors.Join(s.closed, s.http.Close())
		}
		// Shutdown closes the listener only if Serve has it.
		if err := s.listener.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
			s.closed = errors.Join(s.closed, err)
		}
		if s.closed != nil {
			s.closed = fmt.Errorf("control: %w", s.closed)
		}
	})
	return s.closed
}

func status(w http.ResponseWriter, r *http.Request, target Target) {
	st, err := target.Status(r.Context())
	if err != nil {
		fail(w, http.StatusServiceUnavailable, "unavailable", err.Error())
		return
	}
	reply(w, http.StatusOK, st)
}

// stop begins the stop, says so, and holds the answer's end back until the server closes: a client that reads on
// learns of it at once, and of a crash too.
func (s *Server) stop(w http.ResponseWriter, r *http.Request, target Target) {
	var req StopRequest
	body := http.MaxBytesReader(w, r.Body, maxRequest)
	if err := json.NewDecoder(body).Decode(&req); err != nil && !errors.Is(err, io.EOF) {
		fail(w, http.StatusBadRequest, "bad_request", "the body is no stop request: "+err.Error())
		return
	}
	if err := target.Stop(r.Context(), req); err != nil {
		fail(w, http.StatusServiceUnavailable, "unavailable", err.Error())
		return
	}
	reply(w, http.StatusAccepted, struct{}{})
	_ = http.NewResponseController(w).Flush()
	select {
	case <-s.done:
	case <-r.Context().Done():
	}
}

// only refuses other methods.
func only(method string, next http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if r.Method != method {
			w.Header().Set("Allow", method)
			fail(w, http.StatusMethodNotAllowed, "method_not_allowed", r.URL.Path+" takes "+method+" only")
			return
		}
		next(w, r)
	}
}
