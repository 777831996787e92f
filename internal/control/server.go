package control

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/expedite-go/expedite/internal/unixsocket"
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
	// Nodes returns what is known of all machines of the service. It should answer within three seconds.
	Nodes(ctx context.Context) (NodeList, error)
	// Stop begins the shutdown and returns; the client waits for [Server.Close] or for the end of the process. A second
	// call may ask for a faster shutdown than the first.
	Stop(ctx context.Context, req StopRequest) error

	// Drain begins, changes or undoes a drain, and returns.
	Drain(ctx context.Context, req DrainRequest) error
	// Ready reports whether new clients are taken. It blocks while the primary hangs.
	Ready(ctx context.Context) (Readiness, error)

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

// StopRequest says how to stop. The zero value drains the connections.
type StopRequest struct {
	// Fast closes the connections instead of draining them.
	Fast bool `json:"fast,omitempty"`
}

const (
	headTimeout  = 5 * time.Second // for the head of a request: the client is a program on this machine
	idleTimeout  = time.Minute
	closeTimeout = time.Second // for requests under way when the server closes
	maxConns     = 256         // connections at once; further ones are closed
)

// Server answers requests on a control socket. Create one with [Listen] or [Inherit]. Its methods are safe for
// concurrent use.
type Server struct {
	// BodyTimeout is how long the body of a request may make no progress; see [LimitBody]. Set it before Serve.
	BodyTimeout time.Duration

	listener   *unixsocket.Listener
	http       http.Server
	done       chan struct{} // closed by Close
	closing    sync.Once
	closed     error // of Close; set after done
	logClients atomic.Int32
	conns      atomic.Int32
	refused    atomic.Uint64
}

// Listen creates a socket at path, with mode 0600. It fails if a server listens there, or if the file is not a socket;
// it replaces the socket of a dead server. Clients that connect before [Server.Serve] wait for it.
func Listen(path string) (*Server, error) { return newServer(unixsocket.Listen(path)) }

// Inherit continues to serve a socket of which f is a copy, made by [Server.File] before exec(2) or in a parent
// process. The caller still has to close f. Clients that have connected since then wait for [Server.Serve]. If the file
// of the socket is gone, nobody can reach it, and Inherit does what Listen does.
func Inherit(path string, f *os.File) (*Server, error) { return newServer(unixsocket.Inherit(path, f)) }

func newServer(listener *unixsocket.Listener, err error) (*Server, error) {
	if err != nil {
		return nil, fmt.Errorf("control: %w", err)
	}
	s := &Server{listener: listener, done: make(chan struct{})}
	s.http = http.Server{
		// There is no ReadTimeout: it would cut off the answer to a stop, which is held back.
		ReadHeaderTimeout: headTimeout,
		IdleTimeout:       idleTimeout,
		ConnContext:       withPeer,
		ConnState:         s.count,
		// A broken request concerns only its client.
		ErrorLog: slog.NewLogLogger(slog.DiscardHandler, slog.LevelError),
	}
	return s, nil
}

// count counts the connections, and closes those beyond maxConns.
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

// Refused returns the number of requests that were refused because there were too many connections or log clients.
func (s *Server) Refused() uint64 { return s.refused.Load() }

// Path returns the path of the socket.
func (s *Server) Path() string { return s.listener.Path() }

// File returns a copy of the socket for [Inherit]. The caller has to close it. Its Fd method would make the socket
// blocking, that of the server included; SyscallConn does not.
func (s *Server) File() (*os.File, error) {
	f, err := s.listener.File()
	if err != nil {
		return nil, fmt.Errorf("control: %w", err)
	}
	return f, nil
}

// Restore creates the socket again if its file is gone. It fails if another server has the path.
func (s *Server) Restore() error {
	if err := s.listener.Restore(); err != nil {
		return fmt.Errorf("control: %w", err)
	}
	return nil
}

// Serve answers requests until [Server.Close], then returns nil. Call it once.
func (s *Server) Serve(target Target) error {
	mux := http.NewServeMux()
	s.routes(mux, target)
	s.http.Handler = checkPeer(LimitBody(s.BodyTimeout, mux))
	err := s.http.Serve(s.listener)
	select {
	case <-s.done:
		return nil
	default:
		return fmt.Errorf("control: %w", err)
	}
}

// Close removes the socket, answers the clients that wait for a stop, and gives other requests a second to end. Call it
// as late as possible: it tells the clients that the server is gone. Further calls do nothing.
func (s *Server) Close() error {
	s.closing.Do(func() {
		// The file goes first: a client that learns that the server is gone must be able to start the next one.
		s.closed = s.listener.Remove()
		close(s.done)
		ctx, cancel := context.WithTimeout(context.Background(), closeTimeout)
		defer cancel()
		if err := s.http.Shutdown(ctx); err != nil {
			s.closed = errors.Join(s.closed, s.http.Close())
		}
		// Shutdown closes the listener only if Serve was called.
		if err := s.listener.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
			s.closed = errors.Join(s.closed, err)
		}
		if s.closed != nil {
			s.closed = fmt.Errorf("control: %w", s.closed)
		}
	})
	return s.closed
}
