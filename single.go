package expedite

import (
	"context"
	"fmt"
	"net/http"
	"os"

	"github.com/expedite-go/expedite/internal/acmeclient"
	"github.com/expedite-go/expedite/internal/admin"
	"github.com/expedite-go/expedite/internal/broker"
	"github.com/expedite-go/expedite/internal/control"
	"github.com/expedite-go/expedite/internal/history"
	"github.com/expedite-go/expedite/internal/listener"
	"github.com/expedite-go/expedite/internal/presence"
	"github.com/expedite-go/expedite/internal/primary"
	"github.com/expedite-go/expedite/internal/registry"
	"github.com/expedite-go/expedite/internal/relay"
	"github.com/expedite-go/expedite/internal/resource"
	"github.com/expedite-go/expedite/internal/rpc"
	"github.com/expedite-go/expedite/internal/systemd"
	"github.com/expedite-go/expedite/internal/telemetry"
	"github.com/expedite-go/expedite/internal/worker"
)

// single is the worker group of a process that serves alone: one worker.
type single struct {
	worker *worker.Worker
	hub    *broker.Hub
}

// runSingle serves in this process. Publications pass the hub and the worker's inbox as they do between processes.
func (a *App) runSingle(ctx context.Context) error {
	specs, opened, err := a.listenAlone()
	if err != nil {
		return err
	}
	defer listener.CloseAll(opened)
	const slot = 1
	if err := a.openJournal(slot); err != nil {
		return err
	}
	reg, err := a.registryAlone(ctx)
	if err != nil {
		return err
	}
	defer reg.Close()
	hub := broker.NewHub(func(uint64) int { return slot })
	around, err := a.lookAround(hub, reg, specs)
	if err != nil {
		return err
	}
	var port *broker.Port
	var peer *registry.Worker
	toHub := broker.LinkFunc(func(m []byte) error {
		if rpc.Is(m) {
			peer.Receive(m)
		} else {
			port.Receive(m)
		}
		return nil
	})
	a.cfg.Tuning.settings().Apply(resource.ThisHost(), os.Environ())
	w, err := a.newWorker(workerPlace{slot, 1, false}, toHub, opened[0].Addr(), specs)
	if err != nil {
		return err
	}
	// The publisher may be a callback on the loop: it must not wait for the loop.
	port = hub.Attach(slot, broker.LinkFunc(func(m []byte) error { return w.Receive(m, false) }))
	defer port.Detach()
	w.OnRoom(port.Flush)
	peer = reg.Join(slot, func(m []byte) error { w.Registry().Receive(m); return nil })
	defer reg.Leave(slot)
	reg.Start()
	defer around.start()()
	serving, err := a.acceptAlone(w, opened)
	if err != nil {
		return err
	}
	a.warnLimits()
	c, closeControl, err := a.openControl(around, &single{w, hub}, reg)
	if err != nil {
		return err
	}
	defer closeControl()
	defer a.role.Store(nil)
	if err := w.Start(); err != nil {
		return err
	}
	defer a.serves(w, c)()
	c.SetServing(serving)
	defer around.certificates.Start()() // the authority is a client
	a.started(primary.Serving{
		Addresses: primary.Texts(serving), Secure: primary.SecureTexts(serving), Admin: c.AdminAddr(),
	})
	c.Settled()
	drain, cancel := context.WithDeadline(context.Background(), c.AwaitStop(ctx))
	defer cancel()
	listener.RemoveFiles(opened)
	defer context.AfterFunc(c.StopNow(), cancel)() // a later, faster stop wins
	return w.Stop(drain)
}

// openControl opens the server that answers operators.
func (a *App) openControl(r around, group *single, reg *registry.Server) (*primary.ControlServer, func(), error) {
	cfg := a.controlAlone(r, group.worker)
	watch, err := a.secureAdmin(&cfg)
	if err != nil {
		return nil, nil, err
	}
	c, err := primary.OpenControl(cfg, group, group.hub, r.machines, reg)
	if err != nil {
		return nil, nil, err
	}
	end := watch()
	return c, func() {
		c.Close()
		end()
	}, nil
}

// controlAlone returns the configuration of the server that answers operators.
func (a *App) controlAlone(r around, w *worker.Worker) primary.ControlConfig {
	c := a.controlConfig()
	c.Alone, c.Backplane, c.Histories, c.Members = true, r.kind, r.kept, r.presence
	c.Systemd, c.Check, c.Certificates = systemd.TakeEnvironment(), w.Sync, r.certificates
	return c
}

// around is what a process that serves alone has beside its worker.
type around struct {
	kept     *history.Store // nil if no topic keeps anything
	machines *relay.Relay   // nil if there are no others
	kind     string
	presence *presence.Server // nil if nobody wants to know who is in a topic

	certificates *acmeclient.Client // nil if no certificate is obtained
}

func (a *App) lookAround(hub *broker.Hub, reg *registry.Server, specs []listener.Spec) (r around, err error) {
	if r.kept, err = a.keepAlone(hub); err != nil {
		return r, err
	}
	r.certificates = a.cfg.TLS.Auto.client(specs, a.Logger())
	err = a.joinMachines(&r, hub, reg)
	return r, err
}

// start starts what there is, and what trims the heap, and returns what ends it.
func (r around) start() (end func()) {
	done := make(chan struct{})
	go resource.NewHeapTrimmer().Run(done) // ends with end
	if r.machines != nil {
		r.machines.Start()
	}
	if r.presence != nil {
		r.presence.Start()
	}
	return func() {
		close(done)
		if r.presence != nil {
			r.presence.Close()
		}
		if r.machines != nil {
			_ = r.machines.Close()
		}
	}
}

// registryAlone opens the registry of a process that serves alone.
func (a *App) registryAlone(ctx context.Context) (*registry.Server, error) {
	cfg := a.registryConfig()
	cfg.Moving = func() bool { return false }
	reg, err := registry.NewServer(ctx, cfg)
	if err != nil {
		return nil, err
	}
	if err := reg.OpenStateDir(a.cfg.StateDir, nil); err != nil {
		reg.Close()
		return nil, fmt.Errorf("expedite: Config.StateDir: %w", err)
	}
	return reg, nil
}

// listenAlone opens the addresses.
func (a *App) listenAlone() (specs []listener.Spec, opened []listener.Opened, err error) {
	if specs, err = a.cfg.listeners(); err != nil {
		return nil, nil, err
	}
	activation, err := listener.TakeActivation()
	if err != nil {
		return nil, nil, fmt.Errorf("expedite: %w", err)
	}
	opened, err = listener.OpenAll(specs, activation)
	if err == nil {
		primary.CloseUnused(activation, a.cfg.Logger)
		return specs, opened, nil
	}
	return nil, nil, primary.AddressError(err)
}

// acceptAlone accepts from all addresses, once w runs.
func (a *App) acceptAlone(w *worker.Worker, opened []listener.Opened) (serving []control.ListenerStatus, err error) {
	for _, o := range opened {
		if err := w.Listen(o.Socket(), o.String()); err != nil {
			return nil, err
		}
		serving = append(serving, primary.Bound(o.Spec, o.Addr(), a.cfg.serves()))
	}
	return serving, nil
}

// Reports implements primary.WorkerGroup.
func (s *single) Reports(context.Context) []telemetry.SlotReport { return s.LastReports() }

// LastReports implements primary.WorkerGroup. The report is a fresh one.
func (s *single) LastReports() []telemetry.SlotReport {
	return []telemetry.SlotReport{{
		Slot: 1, Generation: 1, PID: os.Getpid(), State: "ready", Report: s.worker.Report(),
	}}
}

// Profile implements primary.WorkerGroup.
func (s *single) Profile(w http.ResponseWriter, r *http.Request, slot int) {
	if slot != 1 {
		http.Error(w, fmt.Sprintf("there is no worker %d", slot), http.StatusNotFound)
		return
	}
	admin.ServeProfile(w, r)
}

// Stats implements primary.WorkerGroup.
func (s *single) Stats() primary.GroupStats {
	return primary.GroupStats{Scheduling: "none", Generation: 1, Dropped: s.hub.Stats().Dropped}
}

var _ primary.WorkerGroup = (*single)(nil)
