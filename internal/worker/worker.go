package worker

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"sync/atomic"
	"time"

	"github.com/expedite-go/expedite/auth"
	"github.com/expedite-go/expedite/backplane"
	"github.com/expedite-go/expedite/internal/access"
	"github.com/expedite-go/expedite/internal/admin"
	"github.com/expedite-go/expedite/internal/broker"
	"github.com/expedite-go/expedite/internal/connid"
	"github.com/expedite-go/expedite/internal/denylist"
	"github.com/expedite-go/expedite/internal/engine"
	"github.com/expedite-go/expedite/internal/listener"
	"github.com/expedite-go/expedite/internal/presence"
	"github.com/expedite-go/expedite/internal/ratchet"
	"github.com/expedite-go/expedite/internal/registry"
	"github.com/expedite-go/expedite/internal/relay"
	"github.com/expedite-go/expedite/internal/resource"
	"github.com/expedite-go/expedite/internal/secure"
	"github.com/expedite-go/expedite/internal/telemetry"
	"github.com/expedite-go/expedite/internal/topic"
	"github.com/expedite-go/expedite/ws"
)

// Config configures a Worker.
type Config struct {
	// Slot is the place of this worker, 1 to Slots.
	Slot, Slots int
	// Link leads to the primary: the hub of the broker, and the registry.
	Link broker.Link
	// Addr is the public address, for net/http.
	Addr net.Addr
	// Sources are the addresses that clients connect to.
	Sources []listener.Spec
	// Proxies tells which peers are proxies, unless an address has options of its own.
	Proxies engine.Proxies
	// Secure makes the server's ends of TLS; nil: clients use none.
	Secure *secure.Server
	// Redirect makes clients of addresses that are plain, although there is TLS, use TLS.
	Redirect bool
	Journal  *telemetry.Journal
	// Engine has the limits of the event loop. New sets what is not a limit.
	Engine engine.Config
	// Routes returns the endpoints by the pattern of their paths. New calls it last, before anything serves.
	Routes func(*Worker) map[string]*engine.Route
	// ClientOf returns the Client of the owner of a connection, nil if it has none.
	ClientOf func(owner any) *access.Client
	// HTTP serves requests that are not upgrades.
	HTTP http.Handler
	// Version names the build for the other side of a handoff.
	Version string
	// HandoffStall bounds the silence of the other side of a handoff. 0 is the default of internal/handoff.
	HandoffStall time.Duration
	// HangTimeout is how long the primary waits for a report. 0 or less is for ever.
	HangTimeout time.Duration
	// DrainTimeout bounds a drain, and how long a handoff waits for callbacks that do not return.
	DrainTimeout time.Duration
	Admission    access.AdmissionConfig // without Params, Deny, Tracker and Orders
	MaxDenials   int
	Params       access.Params
	// Apply applies settings of the running program that a reload has changed. See Worker.Apply.
	Apply    func(w *Worker, settings []byte) error
	Sessions Sessions
	// Plane leads to other machines: the primary learns which topics have subscribers here, and has this worker listen
	// while it replaces its program. Nil: there are none. CloseOnGap closes connections that have missed publications
	// of other machines and whose handler has no Gap.
	Plane backplane.Backplane
	// Histories tells which topics keep messages, and what subscribers get of those.
	Histories  topic.Rules[Frame]
	CloseOnGap bool
	// Presence tells who is in topics. Nil: nobody wants to know.
	Presence *Presence
	// MemoryReserve is how much memory must be left on the machine, in bytes. 0 is none.
	MemoryReserve int64
}

// Worker serves connections in this process. Its methods are safe for concurrent use unless they say otherwise.
type Worker struct {
	Config
	log       *slog.Logger
	endpoints *endpoints
	engine    *engine.Engine
	inbox     *inbox
	local     *broker.Local
	interest  *broker.Interest // nil without other machines
	counts    *presence.Counts // nil without presence
	registry  *registry.Client
	orders    *access.Orders
	tracker   *access.Tracker
	admission *access.Admission
	host      *host
	fallback  *fallback
	ticker    *resource.IdleTicker
	guard     *resource.MemoryGuard // nil: memory is never short

	draining  atomic.Bool
	leaving   atomic.Bool // wants to be replaced
	eviction  *eviction
	stopped   chan struct{} // closed by Stop
	reportNow chan struct{} // asks for a report at once
	leftOut   atomic.Uint64 // log lines about clients that were left out
	lag       lagWatch
	ended     chan error // receives the end of the engine

	accepting []accepting // on the loop, or before Start; none if the primary accepts
}

// New returns a Worker that does not serve yet.
func New(c Config) (*Worker, error) {
	store, err := c.Sessions.open()
	if err != nil {
		return nil, err
	}
	w := &Worker{
		Config: c, log: c.Journal.Logger, ticker: resource.NewIdleTicker(c.HangTimeout),
		reportNow: make(chan struct{}, 1), ended: make(chan error, 1),
		stopped: make(chan struct{}),
	}
	if c.Plane != nil {
		w.interest = broker.NewInterest(c.Link, func() { w.engine.Post(w.interest.Flush) })
	}
	if err := w.newEngine(); err != nil {
		return nil, errors.Join(err, store.close())
	}
	w.inbox, w.eviction = newInbox(w.engine), &eviction{engine: w.engine}
	w.local = broker.NewLocal(c.Link, w.deliver)
	w.inbox.receive = w.local.Receive
	deny := &denylist.List{Max: c.MaxDenials}
	w.orders = access.NewOrders(access.OrdersConfig{
		Engine: w.engine, Deny: deny, Log: w.log, ClientOf: c.ClientOf, CloseElsewhere: w.closeElsewhere,
	})
	var bridge registry.Bridge
	if c.Plane != nil {
		bridge = relay.NewBridge(c.Plane, func(b []byte) error { return w.registry.Bridged(b) })
	}
	w.registry = registry.NewClient(registry.ClientConfig{
		Bridge: bridge, Tickets: w.setTickets, Certificates: w.certificates(),
		Send: c.Link.Send, Journal: c.Journal, Verifier: c.Admission.Verifier, Deny: deny, Connections: w.orders,
		OwnStore: c.Sessions.Store, Apply: func(b []byte) error { return c.Apply(w, b) },
		Drain:  w.eviction.set,
		Report: w.Report, Profile: http.HandlerFunc(admin.ServeProfile), Wait: os.Getenv(registry.EnvVariable) != "",
	})
	w.tracker = access.NewTracker(w.trackerConfig(store))
	c.Admission.Params, c.Admission.Deny = &w.Params, deny
	c.Admission.Tracker, c.Admission.Orders = w.tracker, w.orders
	w.admission = access.NewAdmission(c.Admission)
	w.host = newHost(hostConfig{
		engine: w.engine, local: w.local, orders: w.orders, tracker: w.tracker, clientOf: c.ClientOf, log: w.log,
		slot: c.Slot, version: c.Version, stall: c.HandoffStall, straggle: c.DrainTimeout,
	})
	w.fallback = newFallback(w)
	w.guard = resource.NewMemoryGuard(resource.GuardConfig{
		Reserve: c.MemoryReserve, SetShort: w.engine.SetShort, Shed: w.engine.Shed, Workers: c.Slots,
		Idle: w.ticker.Asleep, Log: w.log,
	})
	if w.endpoints, err = newEndpoints(c.Routes(w)); err != nil {
		return nil, errors.Join(err, store.close())
	}
	return w, nil
}

// newEngine makes the event loop.
func (w *Worker) newEngine() (err error) {
	files := resource.MaxFDs()
	e := w.Config.Engine
	e.Route = func(pattern string) *engine.Route { return w.endpoints.of(pattern) }
	e.Match = func(rawPath string) *engine.Route { return w.endpoints.match(rawPath) }
	e.HTTP = func(x *engine.Requests) { w.fallback.push(x) }
	source := engine.Source{Proxies: w.Proxies, Redirect: w.Redirect}
	if w.Secure != nil {
		source.Secure = w.Secure.Wrap
	}
	e.Source = func(name string) engine.Source { return sourceOf(w.Sources, source, name) }
	e.NewID = func() uint64 { return uint64(connid.New(w.registry.Machine(), w.Slot)) }
	if w.interest != nil {
		e.TopicChanged = w.interest.Set
	}
	w.trackPresence(&e)
	e.History = w.history()
	e.Logger = w.log
	e.Describe = func(c *engine.Conn, path string) []slog.Attr {
		if client := w.ClientOf(c.Owner()); client != nil {
			return client.LogAttrs(path, &w.Params)
		}
		return nil
	}
	e.MayLog, e.MayLogFault = w.Journal.Clients.Allow, w.Journal.Faults.Allow
	e.MaxHandshakes = cmp.Or(e.MaxHandshakes, min(engine.DefaultMaxHandshakes, files/4))
	e.MaxHTTPConnections = cmp.Or(e.MaxHTTPConnections, min(engine.DefaultMaxHTTP, files/4))
	e.Vital = isHealthCheck
	if w.engine, err = engine.New(e); err != nil {
		return fmt.Errorf("expedite: %w", err)
	}
	return nil
}

// Apply changes the limits and the origins of pages that may connect. Connections that are open stay.
func (w *Worker) Apply(l engine.Limits, origins auth.Origins) {
	files := resource.MaxFDs()
	l.MaxHandshakes = cmp.Or(l.MaxHandshakes, min(engine.DefaultMaxHandshakes, files/4))
	l.MaxHTTPConnections = cmp.Or(l.MaxHTTPConnections, min(engine.DefaultMaxHTTP, files/4))
	w.engine.SetLimits(l)
	w.admission.SetOrigins(origins)
}

// setTickets makes the keys of TLS session tickets those that all workers share.
func (w *Worker) setTickets(r *ratchet.Ratchet) {
	if w.Secure != nil {
		w.Secure.SetTickets(r)
	}
}

// certificates returns those of TLS for the registry; nil if there is no TLS.
func (w *Worker) certificates() registry.Certificates {
	if w.Secure == nil {
		return nil
	}
	return w.Secure
}

// Start begins to serve. It blocks until the registry has told what the worker must know. It fails if there is TLS, and
// neither this process nor the primary has certificates that can be used.
func (w *Worker) Start() error {
	w.registry.Meet()
	if w.Secure != nil {
		if err := w.Secure.Unusable(); err != nil {
			return err
		}
	}
	go w.tracker.Run() // ends with Stop
	go w.guard.Run()   // ends with Stop
	if w.Secure != nil {
		go w.Secure.Watch() // ends with Stop
	}
	go func() { w.ended <- w.engine.Run() }()
	go w.fallback.serve() // ends with Stop
	return nil
}

// callbackGrace is how long Stop waits for callbacks that are running.
const callbackGrace = time.Second

// Stop ends the worker: it drains until ctx ends, and then closes the remaining connections.
func (w *Worker) Stop(ctx context.Context) error {
	w.draining.Store(true)
	close(w.stopped)
	w.eviction.stop()
	w.engine.Post(w.stopAccept)
	web := make(chan struct{})
	go func() {
		defer close(web)
		w.fallback.stop(ctx) // requests that take longer end with the process
	}()
	err := w.engine.Drain(ctx, ws.CloseServiceRestart, "the server restarts")
	if err != nil && w.engine.Len() > 0 {
		w.log.Info("connections cut off at the end of the drain", "connections", w.engine.Len())
	}
	<-web
	w.inbox.close()
	w.engine.Stop()
	defer func() {
		w.guard.Stop()
		if w.Secure != nil {
			w.Secure.Close()
		}
		w.tracker.Stop(ctx)
		w.registry.Close()
	}()
	select {
	case err := <-w.ended:
		return err
	case <-time.After(callbackGrace):
		w.log.Warn("callbacks still run at the end of the process")
		return nil
	}
}

// Sync blocks until the event loop has handled what had happened before, and for ever if it hangs.
func (w *Worker) Sync() {
	done := make(chan struct{})
	if w.engine.Post(func() { close(done) }) {
		<-done
	}
}

// Admission returns the admission of the worker's clients.
func (w *Worker) Admission() *access.Admission { return w.admission }

// Tracker returns the tracker of the worker's sessions.
func (w *Worker) Tracker() *access.Tracker { return w.tracker }

// Broker sends messages to connections, of all workers.
func (w *Worker) Broker() *broker.Local { return w.local }

// Registry returns the link to the registry.
func (w *Worker) Registry() *registry.Client { return w.registry }

// Receive takes messages of the primary's hub. If the event loop is behind it blocks, or fails if it must not.
func (w *Worker) Receive(m []byte, wait bool) error { return w.inbox.put(m, wait) }

// OnRoom sets what is called on the loop when there is room again after Receive has failed. Before Start.
func (w *Worker) OnRoom(f func()) { w.inbox.emptied = f }
