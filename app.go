package expedite

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os/signal"
	"strings"
	"sync/atomic"
	"syscall"

	"github.com/expedite-go/expedite/cluster"
	"github.com/expedite-go/expedite/internal/access"
	"github.com/expedite-go/expedite/internal/broker"
	"github.com/expedite-go/expedite/internal/engine"
	"github.com/expedite-go/expedite/internal/primary"
	"github.com/expedite-go/expedite/internal/telemetry"
	"github.com/expedite-go/expedite/internal/worker"
	"github.com/expedite-go/expedite/ws"
)

// App is a server: its endpoints, and, while it runs, the part of it that lives in this process. Two Apps in one
// process do not know of each other.
type App struct {
	cfg      Config
	hide     *telemetry.Secrets // redacts what clients send
	handlers map[string]*Handler
	http     http.Handler
	faults   []error // found before Run
	ran      atomic.Bool

	journal atomic.Pointer[telemetry.Journal]
	role    atomic.Pointer[role] // nil before Run and after its end
}

// role is the part of an App that runs in this process. It is never changed.
type role struct {
	worker  *worker.Worker         // nil in a primary
	control *primary.ControlServer // nil in a worker
	bus     publisher              // nil in a primary whose workers do not serve yet
}

// alone reports whether this process serves without a primary.
func (a *App) alone() bool {
	r := a.role.Load()
	return r != nil && r.worker != nil && r.control != nil
}

type publisher interface {
	Publish(topic string, opcode byte, payload []byte) error
	SendTo(conn uint64, opcode byte, payload []byte) error
	CloseConn(conn uint64, code uint16, reason string) error
}

var (
	_ publisher = (*broker.Local)(nil)
	_ publisher = (*broker.Hub)(nil)
)

// New makes an App. It serves nothing before Run.
func New(cfg Config) *App {
	return &App{
		cfg: cfg.withDefaults(), handlers: make(map[string]*Handler), http: http.NotFoundHandler(),
		hide: telemetry.NewSecrets(cfg.Auth.Extractor.QueryParameter, cfg.Auth.Extractor.Cookie, cfg.Sessions.Cookie),
	}
}

// Handle serves WebSockets on a path, which is matched exactly. Before Run; Run reports a path that is wrong or taken.
func (a *App) Handle(path string, h Handler) {
	switch {
	case !strings.HasPrefix(path, "/"):
		a.faults = append(a.faults, fmt.Errorf("expedite: path %q does not begin with /", path))
	case a.handlers[path] != nil:
		a.faults = append(a.faults, fmt.Errorf("expedite: path %q has a handler already", path))
	default:
		a.faults = append(a.faults, checkState(h.State))
		a.handlers[path] = &h
	}
}

// HTTP gives every request that is no upgrade to an endpoint to h. Before Run; the default answers 404.
func (a *App) HTTP(h http.Handler) { a.http = h }

// Run serves until ctx ends, and then drains: it closes all connections with 1012 (service restart), spread over
// Config.DrainTimeout. It returns nil after a drain, also one that had to cut connections off at the end.
//
// From Run on the process ignores SIGPIPE: it goes on when the reader of its standard output or error ends.
//
// In the process that was started by hand Run is the primary, which starts the same program again for each worker. In a
// worker it serves connections. What stands before Run in main therefore runs in every process.
//
// Before a reload replaces anything, it starts the program on disk to find out whether it could take over. Run returns
// ErrTrial there, if it could: main should then return without a message.
//
// An App runs once, and a worker process runs one App: a later Run fails with ErrRan.
func (a *App) Run(ctx context.Context) error {
	if a.ran.Swap(true) || cluster.Joined() {
		return ErrRan
	}
	if err := a.check(); err != nil {
		return err
	}
	signal.Ignore(syscall.SIGPIPE) // raised by a log whose reader is gone
	defer a.flushLogs()
	switch {
	case cluster.IsWorker():
		return a.runWorker(ctx)
	case a.cfg.Workers < 0 || !cluster.Supported:
		return a.runSingle(ctx)
	default:
		return a.runPrimary(ctx)
	}
}

// Publish sends a message to all subscribers of a topic, in every worker, the sender included. Messages of one
// publisher arrive in order. It never blocks: ErrOverloaded says that the message was given up. Any goroutine.
func (a *App) Publish(topic string, m Message) error {
	if broker.CheckTopic(topic) != nil {
		return ErrTopic
	}
	return a.publish(topic, m)
}

// SendUser sends a message to all connections of a user, in every worker. Any goroutine.
func (a *App) SendUser(user string, m Message) error {
	if user == "" {
		return ErrTopic
	}
	return a.publish(access.UserTopic(user), m)
}

// Send sends a message to one connection, wherever it lives. That it is gone is no error. Any goroutine.
func (a *App) Send(id ID, m Message) error {
	b := a.publisher()
	if b == nil {
		return ErrNotRunning
	}
	if m.kind == kindNoText {
		return ErrText
	}
	return publicError(b.SendTo(uint64(id), byte(m.opcode()), m.data))
}

// CloseConn closes one connection, wherever it lives, as Conn.Close does. That it is gone is no error. Any goroutine.
func (a *App) CloseConn(id ID, code ws.CloseCode, reason string) error {
	b := a.publisher()
	if b == nil {
		return ErrNotRunning
	}
	if err := ws.CheckClose(code, reason); err != nil {
		return publicError(err)
	}
	return publicError(b.CloseConn(uint64(id), uint16(code), reason))
}

func (a *App) publish(topic string, m Message) error {
	b := a.publisher()
	if b == nil {
		return ErrNotRunning
	}
	if m.kind == kindNoText {
		return ErrText
	}
	return publicError(b.Publish(topic, byte(m.opcode()), m.data))
}

// publisher returns what reaches all connections; nil if the App does not run.
func (a *App) publisher() publisher {
	if r := a.role.Load(); r != nil {
		return r.bus
	}
	return nil
}

// publicError gives errors of the inner packages their public names.
func publicError(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, engine.ErrClosed):
		return ErrClosed
	case errors.Is(err, engine.ErrMoved):
		return ErrMoved
	case errors.Is(err, engine.ErrTooManySubscriptions):
		return ErrTooManySubscriptions
	case errors.Is(err, broker.ErrOverloaded):
		return ErrOverloaded
	case errors.Is(err, broker.ErrTopic):
		return ErrTopic
	default:
		return fmt.Errorf("expedite: %w", err)
	}
}
