package expedite

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/expedite-go/expedite/cluster"
	"github.com/expedite-go/expedite/internal/control"
	"github.com/expedite-go/expedite/internal/listener"
	"github.com/expedite-go/expedite/internal/primary"
	"github.com/expedite-go/expedite/internal/registry"
	"github.com/expedite-go/expedite/internal/resource"
	"github.com/expedite-go/expedite/internal/systemd"
)

// runPrimary runs the workers until ctx ends or an operator stops the server.
func (a *App) runPrimary(ctx context.Context) error {
	specs, err := a.cfg.listeners()
	if err != nil {
		return err
	}
	left, err := cluster.Inherit()
	if err != nil {
		return fmt.Errorf("expedite: %w", err)
	}
	j, err := primary.OpenJournal(a.journalConfig(0), left)
	if err != nil {
		return fmt.Errorf("expedite: Config.LogDir: %w", err)
	}
	a.journal.Store(j)
	cfg := primary.Config{
		ControlConfig: a.controlConfig(),
		Listeners:     specs, Serves: a.cfg.serves(),
		Workers: a.cfg.workers(), Scheduling: a.cfg.Scheduling, Origins: a.cfg.Auth.Origins,
		StateDir: a.cfg.StateDir, HangTimeout: a.cfg.HangTimeout, MaxWorkerMemory: a.cfg.MaxWorkerMemory,
		Registry: a.registryConfig(), WorkerOutput: a.cfg.WorkerOutput, Inheritance: left,
		WorkerEnv: a.cfg.Tuning.settings().WorkerEnv(resource.ThisHost(), a.cfg.workers(), os.Environ()),
	}
	cfg.Certificates = a.cfg.TLS.Auto.client(specs, a.Logger())
	if cfg.Plane, cfg.ControlConfig.Backplane, err = a.cfg.plane(); err != nil {
		return err
	}
	if cfg.Presence, err = a.cfg.presence(); err != nil {
		return err
	}
	if cfg.History, _, err = a.cfg.histories(); err != nil {
		return err
	}
	cfg.Changed, cfg.Apply = a.cfg.Changed, func(b []byte) error { return a.apply(nil, b) }
	if cfg.Live, err = a.cfg.live(); err != nil {
		return fmt.Errorf("expedite: %w", err)
	}
	if kept, ok := os.LookupEnv(settingsVariable); ok {
		cfg.Env = []string{settingsVariable + "=" + kept}
	}
	if left == nil {
		cfg.Systemd = systemd.TakeEnvironment()
		if cfg.Activation, err = listener.TakeActivation(); err != nil {
			return fmt.Errorf("expedite: %w", err)
		}
	}
	watch, err := a.keepCertificates(&cfg, left != nil && !left.Trial)
	if err != nil {
		return err
	}
	p, err := primary.Open(ctx, cfg)
	switch {
	case errors.Is(err, primary.ErrTrial):
		return ErrTrial
	case err != nil:
		return err
	}
	defer watch()()
	a.role.Store(&role{control: p.Control()})
	defer a.role.Store(nil)
	return p.Run(ctx, func(s primary.Serving) {
		a.role.Store(&role{control: p.Control(), bus: p.Hub()})
		a.warnLimits()
		if !s.Inherited {
			a.started(s)
		}
	})
}

// started calls Config.OnStart.
func (a *App) started(s primary.Serving) {
	if a.cfg.OnStart == nil {
		return
	}
	from := ""
	if a.cfg.Workers == 0 && s.Workers > 0 {
		from = resource.ReadProcessors("").String()
	}
	a.cfg.OnStart(Started{
		Addresses: s.Addresses, TLS: s.Secure, Admin: s.Admin, Workers: s.Workers, WorkersFrom: from,
		Scheduling: a.cfg.Scheduling, Auth: a.cfg.Auth.mode(),
	})
}

// controlConfig returns the configuration of the server that answers operators.
func (a *App) controlConfig() primary.ControlConfig {
	c := &a.cfg
	address, _ := c.admin()
	return primary.ControlConfig{
		Socket: c.Control, Admin: address, AdminHosts: c.AdminHosts, BodyTimeout: c.BodyTimeout,
		DrainTimeout: c.DrainTimeout, StopNow: ErrStopNow, Version: c.Version, Auth: c.Auth.mode().String(),
		Journal: a.journal.Load(), Secrets: a.hide,
	}
}

// registryConfig returns the configuration of the registry.
func (a *App) registryConfig() registry.Config {
	s := &a.cfg.Sessions
	return registry.Config{
		Journal: a.journal.Load(), Verifier: a.cfg.Auth.Verifier, MaxDenials: a.cfg.Auth.MaxDenials,
		Redis: s.Redis, OwnStore: s.Store != nil, RequireRedis: s.RequireRedis,
		MaxSessions: s.MaxSessions, EmptyTTL: s.emptyTTL(),
	}
}

// Reload replaces the workers, and then the program of this process, by the program on disk, as the command expedite
// reload does: connections move, and no client is dropped. It returns when the workers are replaced; if the program of
// this process is replaced, too, it does not return. If another reload or a scale is under way, it returns nil at once,
// and one more reload follows, so that no newer program is left out. In processes other than the primary it returns
// ErrNotRunning. The primary logs every other error. It is safe for concurrent use.
func (a *App) Reload(ctx context.Context) error {
	r := a.role.Load()
	if r == nil || r.control == nil {
		return ErrNotRunning
	}
	err := r.control.ReloadOrQueue(ctx)
	if errors.Is(err, control.ErrUnsupported) {
		return ErrNotRunning
	}
	return err
}

// StopNow ends the server without a drain, even during a drain. In a worker, before Run and after its end, it returns
// ErrNotRunning. It is safe for concurrent use.
func (a *App) StopNow() error {
	r := a.role.Load()
	if r == nil || r.control == nil {
		return ErrNotRunning
	}
	return r.control.Stop(context.Background(), control.StopRequest{Fast: true})
}
