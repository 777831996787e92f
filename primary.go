package expedite

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/expedite-go/expedite/cluster"
	"github.com/expedite-go/expedite/internal/broker"
	"github.com/expedite-go/expedite/internal/connid"
	"github.com/expedite-go/expedite/internal/registry"
	"github.com/expedite-go/expedite/internal/resource"
	"github.com/expedite-go/expedite/internal/rpc"
	"github.com/expedite-go/expedite/internal/telemetry"
)

// primary is this process as the one that runs the workers.
type primary struct {
	app   *App
	hub   *broker.Hub
	desk  *desk
	reg   *registry.Server
	cared atomic.Int64                    // when a worker was last replaced for its size
	group atomic.Pointer[cluster.Primary] // nil before all workers are ready

	mu      sync.Mutex
	reports map[uint64]telemetry.Report // the latest, by the worker's id
	ports   map[uint64]*broker.Port
	peers   map[uint64]*registry.Worker
}

// runPrimary runs the workers until ctx ends or somebody says stop.
func (a *App) runPrimary(ctx context.Context) error {
	left, err := cluster.Inherit()
	if err != nil {
		return fmt.Errorf("expedite: %w", err)
	}
	if err := a.openPrimaryJournal(left); err != nil {
		return err
	}
	p := &primary{
		app: a, reports: make(map[uint64]telemetry.Report),
		hub:   broker.NewHub(func(id uint64) int { return connid.ID(id).Slot() }),
		ports: make(map[uint64]*broker.Port), peers: make(map[uint64]*registry.Worker),
	}
	if p.reg, err = a.newRegistry(ctx, p.moving); err != nil {
		return err
	}
	est, err := p.inherit(left)
	if err != nil {
		return err
	}
	if left != nil && left.Trial {
		if err := a.standTrial(left, est); err != nil {
			return err
		}
		os.Exit(0) // the trial is over, and what main does after Run is no part of it
	}
	defer p.reg.Close()
	if err := a.openState(p.reg, est); err != nil {
		return err
	}
	if p.desk, err = a.openDesk(p, p.reg, est); err != nil {
		return err
	}
	defer p.desk.close()
	p.reg.Start()
	defer trimHeap()()
	group, err := cluster.Start(ctx, cluster.Config{
		Workers: a.cfg.workers(), Listen: a.cfg.Addr, Scheduling: a.cfg.Scheduling, Logger: a.Logger(),
		Stdout: a.cfg.WorkerOutput, Stderr: a.cfg.WorkerOutput, Inherit: left,
		Heartbeat: max(a.cfg.HangTimeout, 0), Refusal: []byte(noWorker),
		Env:       a.workerEnv(),
		OnEvent:   p.event,
		OnMove:    p.move,
		OnMessage: p.hear,
		OnReport:  p.report,
	})
	switch {
	case err != nil && ctx.Err() != nil:
		return nil // told to stop before it had begun
	case err != nil:
		return startError(err)
	}
	p.group.Store(group)
	defer p.follow(est)()
	a.role.Store(&role{desk: p.desk, bus: p.hub})
	defer a.role.Store(&role{desk: p.desk})
	p.desk.open(group.Addr().String())
	p.started(left != nil)
	deadline := p.desk.awaitStop(ctx)
	defer context.AfterFunc(p.desk.hurry, func() { group.Stop() })() // a later, faster stop wins
	if killed := end(group, deadline); killed > 0 {
		a.Logger().Warn("workers had to be killed", "workers", killed)
	}
	return nil
}

// trimHeap gives memory back to the system while this process is quiet, until stop is called.
func trimHeap() (stop func()) {
	done := make(chan struct{})
	go resource.NewHeapTrimmer().Run(done) // ends with stop
	return func() { close(done) }
}

// moving reports whether connections are under way between workers.
func (p *primary) moving() bool {
	g := p.group.Load()
	return g != nil && g.Rolling()
}

// workerEnv is the environment of workers beside that of the primary.
func (a *App) workerEnv() []string {
	env := a.cfg.Tuning.settings().WorkerEnv(resource.ThisHost(), a.cfg.workers(), os.Environ())
	return append(env, registry.EnvVariable+"=1")
}

// noWorker is what clients get while all workers have crashed again and again.
const noWorker = "HTTP/1.1 503 Service Unavailable\r\nRetry-After: 5\r\nConnection: close\r\n" +
	"Content-Type: application/json\r\nContent-Length: 97\r\n\r\n" +
	`{"error":{"type":"temporarily_unavailable","code":"no_worker","message":"no worker serves now"}}` + "\n"

// end drains the workers until deadline. A stop without a drain leaves them the time to end by themselves.
func end(group *cluster.Primary, deadline time.Time) (killed int) {
	if !time.Now().Before(deadline) {
		return group.Stop()
	}
	ctx, cancel := context.WithDeadline(context.Background(), deadline)
	defer cancel()
	return group.Drain(ctx)
}

// started tells that everything serves.
func (p *primary) started(inherited bool) {
	group, cfg := p.group.Load(), &p.app.cfg
	p.app.warnLimits()
	if inherited {
		p.app.Logger().Info("primary replaced", "pid", os.Getpid(), "generation", group.Generation(), "version", cfg.Version)
		return
	}
	if cfg.OnStart != nil {
		from := ""
		if cfg.Workers == 0 {
			from = resource.ReadProcessors("").String()
		}
		cfg.OnStart(Started{
			WorkersFrom: from,
			Addresses:   []string{group.Addr().String()}, Admin: p.desk.adminAddr(),
			Workers: len(group.Workers()), Scheduling: cfg.Scheduling, Auth: cfg.Auth.mode(),
		})
	}
}

// event keeps the hub's list of workers. It runs on the cluster's own goroutine, in order.
func (p *primary) event(e cluster.Event) {
	log := p.app.Logger()
	p.mu.Lock()
	defer p.mu.Unlock()
	switch w := e.Worker; e.Kind {
	case cluster.EventOnline:
		p.portLocked(w)
	case cluster.EventInherit:
		p.portLocked(w)
		_ = p.peers[w.ID()].Greet() // its queue is empty
	case cluster.EventReady:
		log.Info("worker ready", "worker", w.Slot(), "pid", w.PID(), "generation", w.Generation())
	case cluster.EventExit:
		if port := p.ports[w.ID()]; port != nil {
			port.Detach()
			delete(p.ports, w.ID())
		}
		p.reg.Leave(w.ID())
		delete(p.peers, w.ID())
		delete(p.reports, w.ID())
	}
}

// hear takes a message of a worker: for the registry, or for the other workers.
func (p *primary) hear(w *cluster.Worker, m []byte) {
	if !rpc.Is(m) {
		p.port(w).Receive(m)
		return
	}
	p.mu.Lock()
	p.portLocked(w)
	peer := p.peers[w.ID()]
	p.mu.Unlock()
	peer.Receive(m)
}

// port is the hub's side of a worker. It is made when the worker is first heard of: before it serves, so that nothing
// is missing between what its predecessor has heard and what it hears.
func (p *primary) port(w *cluster.Worker) *broker.Port {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.portLocked(w)
}

func (p *primary) portLocked(w *cluster.Worker) *broker.Port {
	port := p.ports[w.ID()]
	if port == nil {
		p.peers[w.ID()] = p.reg.Join(w.ID(), w.Send)
		port = p.hub.Attach(w.Slot(), &workerLink{Worker: w, p: p})
		p.ports[w.ID()] = port
	}
	return port
}

// workerLink is the hub's way to a worker. It tells the hub when there is room again after a message was refused.
type workerLink struct {
	*cluster.Worker
	p     *primary
	waits atomic.Bool
}

// Send is part of broker.Link.
func (l *workerLink) Send(m []byte) error {
	err := l.Worker.Send(m)
	if errors.Is(err, cluster.ErrOverloaded) && l.waits.CompareAndSwap(false, true) {
		go func() { // ends with the worker's link
			<-l.Drained()
			l.waits.Store(false)
			l.p.mu.Lock()
			port := l.p.ports[l.ID()]
			l.p.mu.Unlock()
			if port != nil {
				port.Flush()
			}
		}()
	}
	return err
}

// move keeps the ways of messages to connections while those move. It runs on the cluster's own goroutine, in order.
func (p *primary) move(m cluster.MoveEvent) {
	p.mu.Lock()
	defer p.mu.Unlock()
	from, to := p.ports[m.From.ID()], p.ports[m.To.ID()] // nil: it has died meanwhile
	switch {
	case damaged("hold") && to != nil:
		to.Lead()
	case m.Step == cluster.MoveTaken && m.Whole && to != nil:
		to.Lead()
	case m.Step != cluster.MoveGiven:
		for _, port := range []*broker.Port{from, to} { // of one slot, perhaps: either may end what holds it
			if port != nil {
				port.Resume()
			}
		}
	case from != nil:
		from.Hold()
	}
}

// report keeps what a worker says of itself.
func (p *primary) report(w *cluster.Worker, b []byte) {
	r, err := telemetry.ParseReport(b)
	if err != nil {
		p.app.Logger().Warn("report of a worker not understood", "worker", w.Slot(), "error", err)
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.reports[w.ID()] = r
	p.desk.totals.Add(sampleOf(w, r))
	p.care(w, r)
}

func sampleOf(w *cluster.Worker, r telemetry.Report) telemetry.SlotReport {
	return telemetry.SlotReport{
		Slot: w.Slot(), Generation: w.Generation(), PID: w.PID(), State: w.State().String(), Report: r,
	}
}

// dropped counts, by slot, the messages that the hub could not pass on.
func (p *primary) dropped() map[int]uint64 { return p.hub.Stats().Dropped }

// cluster is the group of workers.
func (p *primary) cluster() *cluster.Primary { return p.group.Load() }

// scheduling is the policy's name.
func (p *primary) scheduling() string { return p.app.cfg.Scheduling.String() }

// restarts counts, by slot, the workers that ended unasked.
func (p *primary) restarts() map[int]uint64 {
	list := make(map[int]uint64)
	group := p.group.Load()
	if group == nil {
		return list
	}
	for _, w := range group.Workers() {
		list[w.Slot()] = w.Crashes()
	}
	return list
}
