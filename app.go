package expedite

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"os/signal"
	"sync"
	"sync/atomic"
	"syscall"

	"github.com/expedite-go/expedite/cluster"
	"github.com/expedite-go/expedite/internal/access"
	"github.com/expedite-go/expedite/internal/broker"
	"github.com/expedite-go/expedite/internal/engine"
	"github.com/expedite-go/expedite/internal/primary"
	"github.com/expedite-go/expedite/internal/route"
	"github.com/expedite-go/expedite/internal/telemetry"
	"github.com/expedite-go/expedite/internal/topic"
	"github.com/expedite-go/expedite/internal/worker"
	"github.com/expedite-go/expedite/ws"
)

// App is a server: its endpoints and, while it runs, its role in this process. Several Apps in one process are
// independent of each other.
type App struct {
	cfg        Config
	hide       *telemetry.Secrets // redacts what clients send
	handlers   map[string]*Handler
	patterns   map[string]*route.Pattern // of handlers
	http       http.Handler
	background []func(context.Context) // of Go
	faults     []error                 // found before Run
	ran        atomic.Bool
	rules      func() (*topic.Rules[*PresenceRule], error) // of Config.Presence

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
	PublishExcept(topic string, opcode byte, payload []byte, except uint64) error
	SendTo(conn uint64, opcode byte, payload []byte) error
	CloseConn(conn uint64, code uint16, reason string) error
}

var (
	_ publisher = (*broker.Local)(nil)
	_ publisher = (*broker.Hub)(nil)
)

// New returns an App. It serves nothing before Run.
func New(cfg Config) *App {
	cfg = cfg.withDefaults()
	return &App{
		cfg: cfg, rules: sync.OnceValues(cfg.presenceRules),
		handlers: make(map[string]*Handler), patterns: make(map[string]*route.Pattern),
		http: http.NotFoundHandler(),
		hide: telemetry.NewSecrets(cfg.Auth.Extractor.QueryParameter, cfg.Auth.Extractor.Cookie, cfg.Sessions.Cookie),
	}
}

// Handle registers the handler for WebSockets on the paths that match a pattern, in the syntax of http.ServeMux without
// methods and hosts: see Conn.PathValue.
//
//	/chat              /chat
//	/room/{id}         /room/7: a wildcard matches one segment that is not empty
//	/files/{rest...}   /files/, /files/a, /files/a/b: all that is left
//
// A slash at the end of a pattern matches only itself. Paths are not cleaned: one with an empty segment before its end,
// or with a segment . or .., matches nothing. If several patterns match, the most specific one wins. Call Handle before
// Run, which reports invalid patterns, and two that match the same path of which neither is more specific. Requests for
// paths that match nothing are those of App.HTTP.
func (a *App) Handle(pattern string, h Handler) {
	p, err := route.Parse(pattern)
	switch {
	case err != nil:
		a.faults = append(a.faults, fmt.Errorf("expedite: path %q: %w", pattern, err))
	case a.handlers[pattern] != nil:
		a.faults = append(a.faults, fmt.Errorf("expedite: path %q has a handler already", pattern))
	default:
		a.faults = append(a.faults, checkState(h.State))
		a.handlers[pattern], a.patterns[pattern] = &h, p
	}
}

// HTTP registers the handler for every request that does not open a WebSocket on an endpoint. Call it before Run. The
// default handler answers 404.
func (a *App) HTTP(h http.Handler) { a.http = h }

// Run serves until ctx ends, and then drains: it closes all connections with 1012 (service restart), spread over
// Config.DrainTimeout. After a drain it returns nil, even if connections had to be cut off at its end.
//
// In the process that was started by hand, Run is the primary, which starts the same program again for each worker. In
// a worker, Run serves connections. Code before Run in main therefore runs in every process.
//
// A reload first starts the program on disk to find out whether it could take over. If it could, Run returns ErrTrial
// in that process, and main should return without a message and exit with status 0.
//
// An App runs once, and a worker process runs one App: a later Run fails with ErrRan. Run makes the process ignore
// SIGPIPE, so that it survives the reader of its standard output or error.
func (a *App) Run(ctx context.Context) error {
	if a.ran.Swap(true) || cluster.Joined() {
		return ErrRan
	}
	if err := a.Check(); err != nil {
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

// Publish sends a message to all subscribers of a topic in all workers, including the publisher if it is subscribed.
// Messages of one publisher arrive in order. Publish never blocks: if the queue to the other workers is full, it drops
// the message and returns ErrOverloaded. It is safe for concurrent use.
func (a *App) Publish(topic string, m Message, opts ...PublishOption) error {
	if broker.CheckTopic(topic) != nil {
		return ErrTopic
	}
	return a.publish(topic, m, opts...)
}

// PublishOption changes who receives a publication. The zero PublishOption changes nothing.
type PublishOption struct{ except ID }

// Except leaves out one connection, on whichever machine it is: usually the one whose message is published. If there
// are several, the last one counts.
func Except(id ID) PublishOption { return PublishOption{except: id} }

// SendUser sends a message to all connections of a user in all workers. It never blocks and is safe for concurrent use.
func (a *App) SendUser(user string, m Message) error {
	if user == "" {
		return ErrTopic
	}
	return a.publish(access.UserTopic(user), m)
}

// Send sends a message to one connection, in whichever worker it is. It returns nil if the connection has ended. Send
// never blocks and is safe for concurrent use.
func (a *App) Send(id ID, m Message) error {
	b := a.publisher()
	if b == nil {
		return ErrNotRunning
	}
	if m.kind == kindNoText {
		return ErrText
	}
	return publicError(b.SendTo(uint64(id), m.sentOpcode(), m.data))
}

// CloseConn closes one connection, in whichever worker it is, as Conn.Close does. It returns nil if the connection has
// ended. CloseConn never blocks and is safe for concurrent use.
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

func (a *App) publish(topic string, m Message, opts ...PublishOption) error {
	b := a.publisher()
	if b == nil {
		return ErrNotRunning
	}
	if m.kind == kindNoText {
		return ErrText
	}
	var except ID
	for _, o := range opts {
		except = cmp.Or(o.except, except)
	}
	return publicError(b.PublishExcept(topic, m.sentOpcode(), m.data, uint64(except)))
}

// publisher returns what reaches all connections; nil if the App does not run.
func (a *App) publisher() publisher {
	if r := a.role.Load(); r != nil {
		return r.bus
	}
	return nil
}

// publicError returns the public error for an error of an internal package.
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
	case errors.Is(err, engine.ErrNoHistory):
		return ErrNoHistory
	case errors.Is(err, broker.ErrOverloaded), errors.Is(err, engine.ErrRecoveries):
		return ErrOverloaded
	case errors.Is(err, broker.ErrTopic):
		return ErrTopic
	default:
		return fmt.Errorf("expedite: %w", err)
	}
}
