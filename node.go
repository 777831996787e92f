package expedite

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/expedite-go/expedite/internal/admin"
	"github.com/expedite-go/expedite/internal/broker"

	"github.com/expedite-go/expedite/internal/connid"
	"github.com/expedite-go/expedite/internal/engine"
	"github.com/expedite-go/expedite/internal/registry"
	"github.com/expedite-go/expedite/internal/telemetry"
	"github.com/expedite-go/expedite/ws"
)

// node serves connections in this process: an event loop with its WebSockets, and net/http for the rest.
type node struct {
	app         *App
	slot, slots int
	build       string        // for the other side of a handoff
	stall       time.Duration // of a handoff: 0 is the default
	straggle    time.Duration // how long a handoff waits for callbacks that do not return
	log         *slog.Logger
	journal     *telemetry.Journal
	gate        *gate
	pace        *pace
	admission   *admission
	orders      *orders
	uplink      *registry.Client
	eng         *engine.Engine
	in          *inbox
	local       *broker.Local
	web         *http.Server
	fallback    *fallbackListener
	stopAccept  func() // on the loop; nil if the primary accepts
	draining    atomic.Bool
	full        atomic.Bool // no sockets are taken: all connections move away
	moves       *mover
	soon        chan struct{} // a report is wanted at once
	leftOut     atomic.Uint64 // log lines about clients that come and go
	lag         lagWatch
	ended       chan error // the engine's end
}

// newNode makes the node of a slot. link is the way to the other workers, and to the registry.
func (a *App) newNode(slot, slots int, link broker.Link, addr net.Addr) (*node, error) {
	n := &node{
		app: a, slot: slot, slots: slots, journal: a.journal.Load(), gate: a.newGate(), pace: newPace(a.cfg.HangTimeout),
		build: a.cfg.Version, stall: a.cfg.HandoffStall, straggle: a.cfg.DrainTimeout,
		log:      a.Logger(),
		fallback: newFallbackListener(addr), ended: make(chan error, 1), soon: make(chan struct{}, 1),
	}
	each, all := a.cfg.Tuning.rates(slots)
	shares := a.cfg.shares(a.cfg.Tuning.running(thisHost(), slots, os.Environ()))
	eng, err := engine.New(engine.Config{
		ConnRate: each, Rate: all,
		Route:            func(path string) *engine.Route { return a.routes[path] },
		HTTP:             func(x *engine.Requests) { n.fallback.push(x) },
		BodyTimeout:      a.cfg.BodyTimeout,
		NewID:            func() uint64 { return uint64(connid.New(slot)) },
		Logger:           n.log,
		MaxHead:          a.cfg.MaxHead,
		HandshakeTimeout: a.cfg.HandshakeTimeout,
		MaxConnections:   a.cfg.MaxConnections,
		MaxPartial:       shares.partial,
		MaxQueued:        shares.queued,
		MaxPending:       shares.pending,
		MessageMinRate:   engine.Progress(a.cfg.MessageMinRate),
		MaxHandshakes:    cmp.Or(a.cfg.MaxHandshakes, min(engine.DefaultMaxHandshakes, openFiles()/4)),
		MaxPerAddress:    a.cfg.MaxPerAddress,
		ResponseTimeout:  a.cfg.ResponseTimeout,
		MaxAuthorizing:   a.cfg.MaxAuthorizing,
		MaxSubscriptions: a.cfg.MaxSubscriptions,

		MaxHTTPConnections: cmp.Or(a.cfg.MaxHTTPConnections, min(engine.DefaultMaxHTTP, openFiles()/4)),
		Vital:              isHealthCheck,
		MayLog:             n.journal.Clients.Allow,
		MayLogFault:        n.journal.Faults.Allow,
	})
	if err != nil {
		return nil, fmt.Errorf("expedite: %w", err)
	}
	n.eng = eng
	if n.admission = newAdmission(a.cfg.Tuning, eng.SetShort, n.log); n.admission != nil {
		n.admission.idle, n.admission.shed, n.admission.workers = n.pace.asleep.Load, eng.Shed, int64(max(slots, 1))
	}
	n.in = newInbox(eng)
	n.local = broker.NewLocal(link, n.deliver)
	n.moves = newMover(n)
	n.in.receive = n.local.Receive
	n.orders = &orders{n: n}
	n.uplink = registry.NewClient(registry.ClientConfig{
		Send: link.Send, Journal: n.journal, Verifier: a.cfg.Auth.Verifier, Deny: n.gate.deny, Connections: n.orders,
		Report: n.askedReport, Profile: http.HandlerFunc(admin.ServeProfile),
		Wait: os.Getenv(registry.EnvVariable) != "",
	})
	if err := a.openKeeper(n); err != nil {
		return nil, err
	}
	n.web = a.httpServer(eng)
	n.web.ErrorLog = slog.NewLogLogger(n.journal.Sampled(), slog.LevelDebug)
	return n, nil
}

// deliver brings what other workers, or this one, have sent to its connections. On the loop.
func (n *node) deliver(e broker.Envelope) (found bool) {
	n.pace.stir()
	switch e.Kind {
	case broker.Publish:
		n.eng.Publish(e.Seq, e.Topic, ws.Opcode(e.Opcode), e.Payload)
		return true
	case broker.Gap:
		n.eng.Gap(e.Seq, e.Topic, e.Conn)
		return true
	case broker.Fence:
		n.moves.fenced(e.Conn)
		return true
	}
	c := n.eng.Lookup(e.Conn)
	if u := n.eng.Opening(e.Conn); c == nil && u != nil {
		if e.Kind == broker.Close {
			_ = u.Close(ws.CloseCode(e.Code), string(e.Payload)) // the sender has checked it
			return true
		}
		u.Send(ws.Opcode(e.Opcode), e.Payload)
		return true
	}
	if c == nil || c.Away() || n.moves.holds(e.Conn) {
		return n.moves.forward(e)
	}
	if e.Kind == broker.Close {
		_ = c.Close(ws.CloseCode(e.Code), string(e.Payload)) // it may have ended meanwhile
		return true
	}
	c.Send(ws.Opcode(e.Opcode), e.Payload)
	return true
}

// start turns the loop, and makes the App's methods work in this process.
func (n *node) start(a *App) {
	a.node.Store(n)
	a.bus.Store(&bus{n.local})
	n.uplink.Meet()
	go n.gate.keeper.run() // ends with stop
	go n.admission.run()   // ends with stop
	logTuned(n.log, a.Tuned())
	go func() { n.ended <- n.eng.Run() }()
	go func() { // ends with stop
		if err := n.web.Serve(n.fallback); err != nil && !errors.Is(err, http.ErrServerClosed) {
			n.log.Error("net/http ended", "error", err)
		}
	}()
}

// listen accepts connections from ln. Before start.
func (n *node) listen(ln net.Listener) error {
	stop, err := n.eng.Listen(ln)
	if err != nil {
		return fmt.Errorf("expedite: %w", err)
	}
	n.stopAccept = stop
	return nil
}

// stop ends the node: it drains until ctx ends, and then cuts off what is left.
func (n *node) stop(ctx context.Context) error {
	n.draining.Store(true)
	if n.stopAccept != nil {
		n.eng.Post(n.stopAccept)
	}
	web := make(chan struct{})
	go func() {
		defer close(web)
		_ = n.web.Shutdown(ctx) // of a request that takes longer, the end is the process's
	}()
	if err := n.eng.Drain(ctx, ws.CloseServiceRestart, "the server restarts"); err != nil && n.eng.Len() > 0 {
		n.log.Info("connections cut off at the end of the drain", "connections", n.eng.Len())
	}
	<-web
	n.in.close()
	n.eng.Stop()
	defer func() {
		n.admission.stop()
		n.gate.keeper.stop(ctx)
		n.uplink.Close()
	}()
	select {
	case err := <-n.ended:
		return err
	case <-time.After(callbackGrace):
		n.log.Warn("callbacks still run at the end of the process")
		return nil
	}
}

// callbackGrace is how long the end waits for callbacks that are running.
const callbackGrace = time.Second

// summarize writes how many lines about clients were left out since the last time.
func (n *node) summarize() {
	if left := n.journal.Clients.Suppressed(); left > 0 {
		n.leftOut.Add(left)
		n.log.Info("lines about clients that come and go were left out", "lines", left)
	}
	if left := n.journal.Faults.Suppressed(); left > 0 {
		n.leftOut.Add(left)
		n.log.Warn("lines about panics were left out", "lines", left)
	}
}

// report is what this process has done.
func (n *node) report() telemetry.Report {
	s := n.eng.Stats()
	w := telemetry.Report{
		Connections: int64(s.Connections), Handshaking: int64(s.Handshaking), Subscriptions: int64(s.Subscriptions),
		HTTPConnections: int64(s.HTTPConnections),
		QueueBytes:      s.QueueBytes, PartialBytes: s.PartialBytes, LoopLagSeconds: s.LoopLag.Seconds(),
		Accepted: s.Accepted, Opened: s.Opened, HTTP: s.HTTP, Resets: s.Resets, Panics: s.Panics, Stalls: s.Stalls,
		TextIn: s.TextIn, BinaryIn: s.BinaryIn, TextOut: s.TextOut, BinaryOut: s.BinaryOut,
		BytesIn: s.BytesIn, BytesOut: s.BytesOut,
		Closed: s.Closed, Limits: s.Limits, Stays: s.Stays, Refused: make(map[string]uint64, len(s.Refused)),
	}
	for status, count := range s.Refused {
		w.Refused[strconv.Itoa(status)] = count
	}
	if r := n.local.Refused(); r > 0 {
		w.Limits["publish_queue"] = r
	}
	if r := n.journal.Lost(); r > 0 {
		w.Limits["log_queue"] = r
	}
	if r := n.gate.ticketsRefused.Load(); r > 0 {
		w.Limits["tickets"] = r
	}
	if r := n.fallback.refused.Load(); r > 0 {
		w.Limits["http_queue"] = r
	}
	if r := n.uplink.RefusedProfiles(); r > 0 {
		w.Limits["profiles"] = r
	}
	w.AuthRefused = n.gate.refusals()
	w.Session = n.gate.keeper.counts()
	if away := n.gate.keeper.away(); away.IsSet() {
		w.StoreDownSince = float64(away.Since.Unix())
	}
	w.KeysMissing = n.gate.auth.keysReady() != nil
	w.LogsLeftOut = n.leftOut.Load()
	w.ReadProcess()
	return w
}
