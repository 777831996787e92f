package primary

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync/atomic"
	"time"

	"github.com/expedite-go/expedite/cluster"
	"github.com/expedite-go/expedite/internal/broker"
	"github.com/expedite-go/expedite/internal/connid"
	"github.com/expedite-go/expedite/internal/control"
	"github.com/expedite-go/expedite/internal/listener"
	"github.com/expedite-go/expedite/internal/presence"
	"github.com/expedite-go/expedite/internal/registry"
	"github.com/expedite-go/expedite/internal/relay"
	"github.com/expedite-go/expedite/internal/resource"
	"github.com/expedite-go/expedite/internal/telemetry"
)

// ErrTrial reports that this process was started only to find out whether its program could replace the one that runs,
// and that it could.
var ErrTrial = errors.New("expedite: this process was a trial of a reload, which has succeeded")

// Primary runs the workers and answers operators.
type Primary struct {
	cfg    Config
	before *inheritance // nil in a new process
	// addresses are those of cfg, each socket of systemd by itself.
	addresses []listener.Spec
	workers   *supervisor
	relay     *relay.Relay     // nil without other machines
	presence  *presence.Server // nil if nobody wants to know who is in a topic
	registry  *registry.Server
	roller    *roller
	control   *ControlServer
}

// Open prepares a Primary: it takes over what the program before left, and opens the state directory, the control
// socket and the admin listener, which answer from then on. The caller must call Run. In a trial, Open returns ErrTrial
// or an error that tells why this program could not replace the one that runs.
func Open(ctx context.Context, cfg Config) (_ *Primary, err error) {
	before, err := readInheritance(cfg.Inheritance)
	if err != nil {
		return nil, err
	}
	if before != nil {
		cfg.Systemd = before.Systemd
	}
	p := &Primary{cfg: cfg, before: before}
	group := new(atomic.Pointer[cluster.Primary])
	cfg.Registry.Moving = func() bool {
		g := group.Load()
		return g != nil && g.Rolling()
	}
	if p.registry, err = registry.NewServer(ctx, cfg.Registry); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			p.registry.Close()
		}
	}()
	p.workers = &supervisor{
		log: cfg.logger(), registry: p.registry, totals: new(telemetry.Totals), policy: cfg.Scheduling, group: group,
		hub: broker.NewHub(func(id uint64) int { return connid.ID(id).Slot() }),
	}
	if err := p.inherit(); err != nil {
		return nil, err
	}
	if err := errors.Join(p.keepHistory(), p.trackPresence(), p.joinMachines()); err != nil {
		return nil, err
	}
	if err := p.openAddresses(); err != nil {
		return nil, err
	}
	if before.isTrial() {
		if err := p.standTrial(); err != nil {
			return nil, err
		}
		return nil, ErrTrial
	}
	if err := p.openStateDir(); err != nil {
		return nil, err
	}
	if err := p.openControl(); err != nil {
		return nil, err
	}
	return p, nil
}

// inherit takes over what the program before left.
func (p *Primary) inherit() error {
	i := p.before
	if i == nil {
		return nil
	}
	if err := p.takeCertificates(i); err != nil {
		return err
	}
	if err := p.workers.hub.LoadState(i.Hub); err != nil {
		return fmt.Errorf("expedite: %w", err)
	}
	if err := p.workers.totals.UnmarshalJSON(i.Totals); err != nil {
		return fmt.Errorf("expedite: %w", err)
	}
	p.workers.inherited = i.Reports
	return p.registry.Load(i.State, i.file(fileSessions), i.file(fileDenials))
}

// openStateDir opens the state directory. A program that has taken over from another one serves its clients without it,
// and logs the error: the trial should have found it.
func (p *Primary) openStateDir() error {
	path := p.cfg.StateDir
	err := p.registry.OpenStateDir(path, p.before.stateLock(path))
	switch {
	case err != nil && p.before != nil:
		p.cfg.logger().Error("revocations are not kept on the disk", "error", err)
	case err != nil:
		return fmt.Errorf("expedite: Config.StateDir: %w", err)
	}
	return nil
}

// openControl opens the ways in for operators.
func (p *Primary) openControl() error {
	l, err := openListeners(&p.cfg.ControlConfig, p.before)
	if err != nil {
		return err
	}
	began := time.Now()
	if p.before != nil {
		began = p.before.Began
	}
	p.cfg.Check = p.check
	p.control = &ControlServer{
		cfg: p.cfg.ControlConfig, workers: p.workers, hub: p.workers.hub, relay: p.relay, registry: p.registry,
		totals: p.workers.totals, began: began, listeners: l,
	}
	p.control.manager = newManager(&p.cfg.ControlConfig, p.workers, p.control.drainer.phase)
	p.roller = &roller{
		manager: p.control.manager,
		log:     p.cfg.logger(), drain: p.cfg.DrainTimeout, cluster: p.workers.cluster, totals: p.workers.totals,
		next: &inheritanceWriter{
			cfg: &p.cfg, addresses: p.addresses, began: began, workers: p.workers, registry: p.registry, listeners: l,
			relay: p.relay, presence: p.presence, drainer: &p.control.drainer,
		},
	}
	p.control.roller = p.roller
	p.control.serve()
	return nil
}

// Control returns the server that answers operators.
func (p *Primary) Control() *ControlServer { return p.control }

// Hub returns the hub of this machine's messages.
func (p *Primary) Hub() *broker.Hub { return p.workers.hub }

// Run runs the workers until ctx ends or an operator requests a stop, and then drains and stops them. It calls serving
// once, when all workers are ready.
func (p *Primary) Run(ctx context.Context, serving func(Serving)) error {
	defer p.registry.Close()
	defer p.control.Close()
	p.registry.Start()
	if p.relay != nil {
		p.relay.Start()
		defer p.relay.Close()
	}
	if p.presence != nil {
		p.presence.Start()
		defer p.presence.Close()
	}
	done := make(chan struct{})
	defer close(done)
	go resource.NewHeapTrimmer().Run(done) // ends with Run
	watchdog := &memoryWatchdog{limit: p.cfg.MaxWorkerMemory, roller: p.roller, log: p.cfg.logger()}
	leaving := &departures{roller: p.roller, log: p.cfg.logger()}
	group, err := cluster.Start(ctx, cluster.Config{
		Workers: p.cfg.Workers, Listeners: p.clusterListeners(), Scheduling: p.cfg.Scheduling, Logger: p.cfg.logger(),
		Stdout: p.cfg.WorkerOutput, Stderr: p.cfg.WorkerOutput, Inherit: p.cfg.Inheritance,
		Heartbeat: max(p.cfg.HangTimeout, 0), Refusal: []byte(noWorker), Env: p.cfg.workerEnv(),
		OnEvent: p.workers.event, OnMove: p.workers.move, OnMessage: p.workers.message,
		OnReport: func(w *cluster.Worker, b []byte) {
			if r, ok := p.workers.report(w, b); ok {
				watchdog.examine(w, r)
				leaving.examine(w, r)
			}
		},
	})
	switch {
	case err != nil && ctx.Err() != nil:
		return nil // a stop was requested before everything had started
	case err != nil:
		return AddressError(err)
	}
	p.workers.group.Store(group)
	if p.relay != nil && p.before != nil {
		p.relay.CatchUp()
	}
	if p.presence != nil {
		p.presence.Settle()
	}
	defer p.completeReload()()
	CloseUnused(p.cfg.Activation, p.cfg.logger())
	if p.before != nil && p.before.Drain != nil {
		p.control.drainer.resume(*p.before.Drain)
	}
	bound := p.bound(group)
	p.control.SetServing(bound)
	defer p.cfg.Certificates.Start()() // the authority is a client
	if p.before != nil {
		p.cfg.logger().Info("primary replaced",
			"pid", os.Getpid(), "generation", group.Generation(), "version", p.cfg.Version)
	}
	serving(Serving{
		Addresses: Texts(bound), Secure: SecureTexts(bound), Admin: p.control.AdminAddr(),
		Workers: len(group.Workers()), Inherited: p.before != nil,
	})
	if !p.completesReload() {
		p.control.Settled()
	}
	deadline := p.control.AwaitStop(ctx)
	defer context.AfterFunc(p.control.StopNow(), func() { group.Stop() })() // perhaps during the drain
	if killed := stop(group, deadline); killed > 0 {
		p.cfg.logger().Warn("workers had to be killed", "workers", killed)
	}
	return nil
}

// noWorker is the response to clients while all workers have crashed again and again.
const noWorker = "HTTP/1.1 503 Service Unavailable\r\nRetry-After: 5\r\nConnection: close\r\n" +
	"Content-Type: application/json\r\nContent-Length: 97\r\n\r\n" +
	`{"error":{"type":"temporarily_unavailable","code":"no_worker","message":"no worker serves now"}}` + "\n"

// stop drains the workers until the deadline. If that has passed it stops them without a drain.
func stop(group *cluster.Primary, deadline time.Time) (killed int) {
	if !time.Now().Before(deadline) {
		return group.Stop()
	}
	ctx, cancel := context.WithDeadline(context.Background(), deadline)
	defer cancel()
	return group.Drain(ctx)
}

// completesReload reports whether this program was started by a reload, which completeReload ends.
func (p *Primary) completesReload() bool { return p.before != nil && p.before.Settings != nil }

// completeReload does what the reload that started this program could not: it changes the number of workers to that of
// the new settings, and reloads once more if that was requested meanwhile. stop ends it and waits for its end.
func (p *Primary) completeReload() (stop func()) {
	if !p.completesReload() {
		return func() {}
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { // ends with stop
		defer close(done)
		if n := p.cfg.Workers; n != p.before.Settings.Workers {
			if _, err := p.roller.scale(ctx, n, control.Discard{}); err != nil && ctx.Err() == nil {
				p.cfg.logger().Error("workers not scaled to the number of the settings", "workers", n, "error", err)
			}
		}
		if p.before.Again {
			_ = p.roller.reloadOrQueue(context.Background())
		} else {
			p.control.Settled()
		}
	}()
	return func() {
		cancel()
		<-done
	}
}
