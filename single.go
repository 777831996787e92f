package expedite

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"os"

	"github.com/expedite-go/expedite/cluster"
	"github.com/expedite-go/expedite/internal/admin"
	"github.com/expedite-go/expedite/internal/broker"
	"github.com/expedite-go/expedite/internal/registry"
	"github.com/expedite-go/expedite/internal/resource"
	"github.com/expedite-go/expedite/internal/rpc"
	"github.com/expedite-go/expedite/internal/telemetry"
	"github.com/expedite-go/expedite/internal/worker"
)

// single is this process as the only one.
type single struct {
	worker *worker.Worker
	hub    *broker.Hub
}

// runSingle serves in this process. What is published takes the same way as among workers, but for the processes.
func (a *App) runSingle(ctx context.Context) error {
	ln, err := net.Listen("tcp", a.cfg.Addr)
	if err != nil {
		return startError(err)
	}
	defer ln.Close()
	const slot = 1
	if err := a.openJournal(slot); err != nil {
		return err
	}
	reg, err := a.newRegistry(ctx, func() bool { return false })
	if err != nil {
		return err
	}
	defer reg.Close()
	if err := a.openState(reg, nil); err != nil {
		return err
	}
	hub := broker.NewHub(func(uint64) int { return slot })
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
	w, err := a.newWorker(slot, 1, toHub, ln.Addr())
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
	defer trimHeap()()
	if err := w.Listen(ln); err != nil {
		return err
	}
	a.warnLimits()
	d, err := a.openDesk(&single{w, hub}, reg, nil)
	if err != nil {
		return err
	}
	defer d.close()
	w.Start()
	a.serves(w, d)
	d.open(ln.Addr().String())
	if a.cfg.OnStart != nil {
		a.cfg.OnStart(Started{
			Addresses: []string{ln.Addr().String()}, Admin: d.adminAddr(), Scheduling: a.cfg.Scheduling,
			Auth: a.cfg.Auth.mode(),
		})
	}
	drain, cancel := context.WithDeadline(context.Background(), d.awaitStop(ctx))
	defer cancel()
	defer context.AfterFunc(d.hurry, cancel)() // a later, faster stop wins
	return w.Stop(drain)
}

func (s *single) samples(context.Context) []telemetry.SlotReport {
	return []telemetry.SlotReport{{
		Slot: 1, Generation: 1, PID: os.Getpid(), State: "ready", Report: s.worker.Report(),
	}}
}

func (s *single) reported() []telemetry.SlotReport { return s.samples(context.Background()) }

func (s *single) profile(w http.ResponseWriter, r *http.Request, slot int) {
	if slot != 1 {
		http.Error(w, fmt.Sprintf("there is no worker %d", slot), http.StatusNotFound)
		return
	}
	admin.ServeProfile(w, r)
}

func (s *single) dropped() map[int]uint64 { return s.hub.Stats().Dropped }

func (s *single) cluster() *cluster.Primary { return nil }

func (s *single) scheduling() string { return "none" }

func (s *single) restarts() map[int]uint64 { return nil }
