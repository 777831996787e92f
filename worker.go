package expedite

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"time"

	"github.com/expedite-go/expedite/cluster"
	"github.com/expedite-go/expedite/internal/access"
	"github.com/expedite-go/expedite/internal/broker"
	"github.com/expedite-go/expedite/internal/engine"
	"github.com/expedite-go/expedite/internal/listener"
	"github.com/expedite-go/expedite/internal/primary"
	"github.com/expedite-go/expedite/internal/resource"
	"github.com/expedite-go/expedite/internal/worker"
	"github.com/expedite-go/expedite/session"
)

// runWorker serves connections that the primary passes, until the primary ends it.
func (a *App) runWorker(ctx context.Context) error {
	self, err := cluster.Join()
	if err != nil {
		return fmt.Errorf("expedite: %w", err)
	}
	addr := net.Addr(&net.TCPAddr{})
	if ln := self.Listener(); ln != nil {
		addr = ln.Addr()
	}
	if err := a.openJournal(self.Slot()); err != nil {
		return err
	}
	specs, err := a.cfg.listeners()
	if err != nil {
		return err
	}
	w, err := a.newWorker(workerPlace{self.Slot(), self.Slots(), true}, self, addr, specs)
	if err != nil {
		return err
	}
	stop := func() {}
	defer func() { stop() }()
	return w.Serve(ctx, self, func() { stop = a.serves(w, nil) }, func() time.Time { return a.stopDeadline(ctx) })
}

// workerPlace is a slot, 1 to slots. Late reports that a primary has certificates if the files have none.
type workerPlace struct {
	slot, slots int
	late        bool
}

// newWorker makes the worker of a slot. addr is one of the public addresses.
func (a *App) newWorker(
	at workerPlace, link broker.Link, addr net.Addr, specs []listener.Spec,
) (*worker.Worker, error) {
	cfg := &a.cfg
	proxies, err := cfg.proxies()
	if err != nil {
		return nil, err
	}
	secured, err := cfg.TLS.server(a.Logger(), filesOf{late: at.late, alarm: !at.late})
	if err != nil {
		return nil, err
	}
	plane, _, err := cfg.plane()
	if err != nil {
		return nil, err
	}
	members, errMembers := a.workerPresence()
	_, frames, errFrames := cfg.histories()
	err = errors.Join(errMembers, errFrames)
	if err != nil {
		return nil, err
	}
	limits := cfg.Tuning.settings().Running(resource.ThisHost(), at.slots, os.Environ())
	budgets := resource.Budgets{Partial: cfg.MaxPartial, Queued: cfg.MaxQueued, Pending: cfg.MaxPending}.
		Resolve(limits.HeapLimit)
	return worker.New(worker.Config{
		Slot: at.slot, Slots: at.slots, Link: link, Addr: addr, Sources: specs, Proxies: proxies, Secure: secured,
		Redirect: cfg.TLS.Redirect,
		Journal:  a.journal.Load(), HTTP: a.http, Routes: a.routes, ClientOf: clientOf, Apply: a.apply,
		Version: cfg.Version, HandoffStall: cfg.HandoffStall, HangTimeout: cfg.HangTimeout,
		DrainTimeout: cfg.DrainTimeout, MemoryReserve: limits.MemoryReserve,
		Engine: engine.Config{
			Cause:    publicError,
			ConnRate: engine.Rate(limits.ConnRate), Rate: engine.Rate(limits.Rate),
			MaxHead: cfg.MaxHead, HandshakeTimeout: cfg.HandshakeTimeout, BodyTimeout: cfg.BodyTimeout,
			ResponseTimeout: cfg.ResponseTimeout,
			MaxConnections:  cfg.MaxConnections, MaxHandshakes: cfg.MaxHandshakes, MaxPerAddress: cfg.MaxPerAddress,
			ConnectRate:        engine.EventRate(cfg.ConnectRate),
			MaxHTTPConnections: cfg.MaxHTTPConnections, MaxAuthorizing: cfg.MaxAuthorizing,
			MaxSubscriptions: cfg.MaxSubscriptions,
			MaxPartial:       budgets.Partial, MaxQueued: budgets.Queued, MaxPending: budgets.Pending,
			MessageMinRate: engine.Progress(cfg.MessageMinRate),
		},
		Admission: access.AdmissionConfig{
			Mode: access.Mode(cfg.Auth.mode()), Verifier: cfg.Auth.Verifier, Extractor: cfg.Auth.Extractor,
			Origins: cfg.Auth.Origins, TicketTTL: cfg.Auth.TicketTTL, Timeout: cfg.HandshakeTimeout,
			MaxTickets: cfg.MaxAuthorizing, Cookie: cfg.Sessions.Cookie,
		},
		Plane: plane, CloseOnGap: cfg.CloseOnGap, Presence: members, Histories: frames, MaxDenials: cfg.Auth.MaxDenials,
		Params: access.Params{Query: cfg.LogQuery, Headers: cfg.LogHeaders, Hide: a.hide},
		Sessions: worker.Sessions{
			Store: cfg.Sessions.Store, Redis: cfg.Sessions.Redis, Require: cfg.Sessions.RequireRedis,
			EmptyTTL: cfg.Sessions.emptyTTL(), KeepEmpty: cfg.Sessions.EmptyTTL < 0,
			Policy: session.Policy{
				TTL: cfg.Sessions.TTL, MaxPerUser: cfg.Sessions.MaxPerUser, Refuse: cfg.Sessions.RefuseNew,
			},
		},
	})
}

// serves makes the App's methods work in a process that serves connections, and starts the functions of Go, which stop
// ends.
func (a *App) serves(w *worker.Worker, c *primary.ControlServer) (stop func()) {
	a.role.Store(&role{worker: w, control: c, bus: w.Broker()})
	logTuned(a.Logger(), a.Tuned())
	return a.runBackground()
}

// ErrStopNow is for the cause of Run's context: Run ends without a drain then. See context.WithCancelCause.
var ErrStopNow = errors.New("expedite: stop now")

// stopDeadline returns when a stop has to be complete after ctx has ended.
func (a *App) stopDeadline(ctx context.Context) time.Time {
	if errors.Is(context.Cause(ctx), ErrStopNow) {
		return time.Now()
	}
	return time.Now().Add(a.cfg.DrainTimeout)
}

// MaxWorkers is the largest number of worker processes.
const MaxWorkers = cluster.MaxWorkers

// Slot returns the place of this worker, 1 to Slots; 0 in the primary, and before Run.
func (a *App) Slot() int {
	if r := a.role.Load(); r != nil && r.worker != nil {
		return r.worker.Slot
	}
	return 0
}

// Slots returns the number of workers; 1 if this process serves alone, 0 in the primary, and before Run.
func (a *App) Slots() int {
	if r := a.role.Load(); r != nil && r.worker != nil {
		return r.worker.Slots
	}
	return 0
}
