package expedite

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/expedite-go/expedite/cluster"
	"github.com/expedite-go/expedite/internal/admin"
	"github.com/expedite-go/expedite/internal/control"
	"github.com/expedite-go/expedite/internal/registry"
	"github.com/expedite-go/expedite/internal/statedir"
	"github.com/expedite-go/expedite/internal/telemetry"
	"github.com/expedite-go/expedite/internal/worker"
)

// desk is where operators ask and command: the control socket and the admin listener.
type desk struct {
	app    *App
	crew   crew
	began  time.Time
	ctl    *control.Server
	admin  net.Listener
	web    *http.Server
	totals *telemetry.Totals

	registry *registry.Server
	stop     chan control.StopRequest
	hurry    context.Context // ends when a stop without a drain is asked for
	hasten   context.CancelFunc
	serves   sync.WaitGroup

	progress atomic.Pointer[control.Progress] // of the roll under way
	next     atomic.Pointer[answer]           // of the program that the last reload has tried
	op       sync.Mutex                       // held by a reload, from its trial to its exec, and by each other roll
	again    atomic.Bool                      // a reload is to follow the roll under way

	mu   sync.Mutex
	addr []string // empty before everything serves
}

const (
	// adminHeadTimeout bounds the reading of a request's head on the admin listener.
	adminHeadTimeout = 10 * time.Second
	// adminIdleTimeout ends connections of the admin listener that are kept alive without a request.
	adminIdleTimeout = time.Minute
)

// crew is who does the work that the desk tells of.
type crew interface {
	samples(ctx context.Context) []telemetry.SlotReport // asks the workers
	reported() []telemetry.SlotReport                   // what they have said last
	dropped() map[int]uint64
	profile(w http.ResponseWriter, r *http.Request, slot int)
	scheduling() string
	restarts() map[int]uint64
	cluster() *cluster.Primary // nil if there is none, or not yet
}

// openDesk takes the control socket and the admin address, or fails: nothing starts half. It answers from now on. est
// is what the program before has left; nil is nothing.
func (a *App) openDesk(c crew, reg *registry.Server, est *estate) (*desk, error) {
	d := &desk{app: a, crew: c, registry: reg, began: time.Now(), stop: make(chan control.StopRequest, 1)}
	d.hurry, d.hasten = context.WithCancel(context.Background())
	metrics := telemetry.NewMetrics(d.scraped, func() telemetry.PrimaryReport {
		h := handoffOf(c)
		how, stats := reg.Health(c.reported()), reg.Stats()
		sessions, connected := int64(stats.Sessions), int64(stats.Connected)
		if stats.External { // those in Redis are nobody's to count
			sessions, connected = -1, -1
		}
		return telemetry.PrimaryReport{
			Version: a.cfg.Version, Restarts: c.restarts(),
			HandoffMoved: h.Moved, HandoffFailed: h.Failed, HandoffSeconds: h.LastSeconds,
			Sessions: sessions, SessionsConnected: connected, Revocations: int64(stats.Revocations),
			HasStore: stats.External, StoreUp: !how.Store.IsSet(), FeedUp: how.Current && !how.Feed.IsSet(), Limits: d.ownLimits(),
		}
	})
	d.totals = metrics.Totals()
	if est != nil {
		d.began = est.Began
		if err := d.totals.UnmarshalJSON(est.Totals); err != nil {
			return nil, fmt.Errorf("expedite: %w", err)
		}
	}
	if a.cfg.Admin != "" {
		ln, err := est.adminListener(a.cfg.Admin)
		switch {
		case err == nil:
			d.serveAdmin(ln, metrics)
		case est == nil:
			return nil, fmt.Errorf("expedite: Config.Admin: %w", err)
		default: // better without than to end, and all clients with it
			a.Logger().Error("no admin listener", "error", err)
		}
	}
	if a.cfg.Control != "" {
		ctl, err := est.controlServer(a.cfg.Control)
		switch {
		case err == nil:
			d.serveControl(ctl)
		case est == nil:
			d.close()
			return nil, fmt.Errorf("expedite: Config.Control: %w", err)
		default:
			a.Logger().Error("no control socket", "error", err)
		}
	}
	a.role.Store(&role{desk: d})
	return d, nil
}

// serveAdmin answers at the admin listener.
func (d *desk) serveAdmin(ln net.Listener, metrics *telemetry.Metrics) {
	d.admin = ln
	handler := admin.Handler(metrics, d.crew.profile, d.app.cfg.adminHosts())
	d.web = &http.Server{
		Handler:           control.LimitBody(d.app.cfg.BodyTimeout, handler),
		ReadHeaderTimeout: adminHeadTimeout, IdleTimeout: adminIdleTimeout,
		ErrorLog: slog.NewLogLogger(d.app.Logger().Handler(), slog.LevelDebug),
	}
	d.serves.Go(func() {
		if err := d.web.Serve(ln); err != nil && !errors.Is(err, http.ErrServerClosed) {
			d.app.Logger().Error("admin listener ended", "error", err)
		}
	})
}

// adminHosts are the names that requests to the admin listener may be for.
func (c *Config) adminHosts() []string {
	hosts := slices.Clone(c.AdminHosts)
	if name, _, err := net.SplitHostPort(c.Admin); err == nil && name != "" {
		hosts = append(hosts, name)
	}
	return hosts
}

// serveControl answers at the control socket.
func (d *desk) serveControl(ctl *control.Server) {
	ctl.BodyTimeout = d.app.cfg.BodyTimeout
	d.ctl = ctl
	d.serves.Go(func() {
		if err := ctl.Serve(d); err != nil {
			d.app.Logger().Error("control socket ended", "error", err)
		}
	})
}

// open notes where clients are served.
func (d *desk) open(addr string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.addr = []string{addr}
}

// close closes all ways in.
func (d *desk) close() {
	d.app.role.Store(nil)
	if d.ctl != nil {
		_ = d.ctl.Close()
	}
	if d.web != nil {
		_ = d.web.Close()
	}
	d.serves.Wait()
}

// adminAddr is the address of the admin listener, or empty.
func (d *desk) adminAddr() string {
	if d.admin == nil {
		return ""
	}
	return d.admin.Addr().String()
}

// awaitStop waits for the word to stop, and returns when the stop has to be complete.
func (d *desk) awaitStop(ctx context.Context) time.Time {
	select {
	case <-ctx.Done():
		return d.app.stopDeadline(ctx)
	case req := <-d.stop:
		if req.Fast {
			return time.Now()
		}
		return time.Now().Add(d.app.cfg.DrainTimeout)
	}
}

// Stop begins the end. The answer to the one who asked is that the server is gone.
func (d *desk) Stop(_ context.Context, req control.StopRequest) error {
	if req.Fast {
		d.hasten()
	}
	select {
	case d.stop <- req:
	default: // it is asked for already
	}
	return nil
}

// StopNow ends the server without a drain, also while a drain is under way. Only where Run is the primary, or the only
// process: ErrNotRunning else.
func (a *App) StopNow() error {
	r := a.role.Load()
	if r == nil || r.desk == nil {
		return ErrNotRunning
	}
	d := r.desk
	return d.Stop(context.Background(), control.StopRequest{Fast: true})
}

// Status tells how everything is.
func (d *desk) Status(ctx context.Context) (control.Status, error) {
	d.mu.Lock()
	addr := d.addr
	d.mu.Unlock()
	st := control.Status{
		Version: d.app.cfg.Version, PID: os.Getpid(), UptimeSeconds: time.Since(d.began).Seconds(),
		Addresses: addr, Scheduling: d.crew.scheduling(), Generation: 1, Rolling: d.progress.Load(),
	}
	if group := d.crew.cluster(); group != nil {
		st.Generation = group.Generation()
	}
	st.Handoff = handoffOf(d.crew)
	samples, dropped := d.samples(ctx), d.crew.dropped()
	d.identities(ctx, &st, samples)
	restarts := d.crew.restarts()
	for i, s := range samples {
		d.totals.Add(s)
		if n := dropped[s.Slot]; n > 0 && (i == len(samples)-1 || samples[i+1].Slot != s.Slot) { // the slot's latest
			limits := map[string]uint64{limitWorkerQueue: n}
			maps.Copy(limits, s.Limits)
			s.Limits = limits
		}
		st.Workers = append(st.Workers, control.WorkerStatus{
			Slot: s.Slot, Generation: s.Generation, PID: s.PID, State: control.State(s.State), Stale: s.Stale,
			Connections: s.Connections, HTTPConnections: s.HTTPConnections, RSSBytes: s.RSSBytes, HeapBytes: s.HeapBytes,
			MessagesIn: s.MessagesIn(), MessagesOut: s.MessagesOut(), BytesIn: s.BytesIn, BytesOut: s.BytesOut,
			LoopLagSeconds: s.LoopLagSeconds, Restarts: restarts[s.Slot], Limits: s.Limits,
		})
		st.Totals.Connections += s.Connections
		st.Totals.HTTPConnections += s.HTTPConnections
		st.Totals.RSSBytes += s.RSSBytes
		st.Totals.HeapBytes += s.HeapBytes
		st.Totals.Restarts += restarts[s.Slot]
	}
	sum := d.totals.Sum()
	st.Totals.MessagesIn, st.Totals.MessagesOut = sum.MessagesIn(), sum.MessagesOut()
	st.Totals.BytesIn, st.Totals.BytesOut, st.Totals.Limits = sum.BytesIn, sum.BytesOut, sum.Limits
	for name, n := range d.ownLimits() {
		if st.Totals.Limits == nil {
			st.Totals.Limits = make(map[string]uint64)
		}
		st.Totals.Limits[name] += n
	}
	return st, nil
}

// ownLimits are the limits of the primary that were hit: requests on the control socket that were refused, sessions
// that found its store full or ended early, log lines that were dropped, and bytes of workers' output.
func (d *desk) ownLimits() map[string]uint64 {
	hits := make(map[string]uint64)
	if d.ctl != nil {
		if n := d.ctl.Refused(); n > 0 {
			hits["control"] = n
		}
	}
	memory := d.registry.Stats()
	if memory.Full > 0 {
		hits["sessions"] = memory.Full
	}
	if memory.Discarded > 0 {
		hits["sessions_discarded"] = memory.Discarded
	}
	group := d.crew.cluster()
	if group == nil { // its only worker tells
		return hits
	}
	if n := d.app.journal.Load().Lost(); n > 0 {
		hits["log_queue"] = n
	}
	if n := group.Stats().OutputLost; n > 0 {
		hits["worker_output"] = n
	}
	return hits
}

// identities tells how clients identify themselves, and how their sessions are.
func (d *desk) identities(ctx context.Context, st *control.Status, samples []telemetry.SlotReport) {
	r := d.registry
	st.Auth = d.app.cfg.Auth.mode().String()
	h, stats := r.Health(samples), r.Stats()
	st.Degraded = h.Degraded()
	if keysMissing(samples) {
		st.Degraded = append(st.Degraded, worker.DegradedKeys)
	}
	st.Sessions = &control.SessionStatus{Store: r.StoreName()}
	if !stats.External {
		st.Sessions.Sessions, st.Sessions.Connected = new(int64(stats.Sessions)), new(int64(stats.Connected))
	} else {
		st.Sessions.Connected = r.Connected(ctx)
	}
	if h.Store.IsSet() {
		st.Sessions.Degraded, st.Sessions.Since, st.Sessions.Cause = true, h.Store.Since.Format(time.RFC3339), h.Store.Cause
	}
	st.Revocations = &control.RevocationStatus{Revocations: int64(stats.Revocations), Current: h.Current}
	if h.Feed.IsSet() {
		st.Revocations.Degraded, st.Revocations.Cause = true, h.Feed.Cause
		st.Revocations.Since = h.Feed.Since.Format(time.RFC3339)
	}
}

// handoffOf is how many connections have moved.
func handoffOf(c crew) control.Handoff {
	group := c.cluster()
	if group == nil {
		return control.Handoff{}
	}
	r := group.RollTotals()
	return control.Handoff{Moved: r.Moved, Failed: r.Failed + r.Drained, LastSeconds: r.Last.Seconds()}
}

var _ control.Target = (*desk)(nil)

// keysMissing reports whether workers serve and none of them can verify a token.
func keysMissing(samples []telemetry.SlotReport) (missing bool) {
	for _, s := range samples {
		switch control.State(s.State) {
		case control.StateStarting, control.StateDead:
			continue
		}
		if !s.KeysMissing {
			return false
		}
		missing = true
	}
	return missing
}

// newRegistry makes the registry of a process that just begins.
func (a *App) newRegistry(ctx context.Context, moving func() bool) (*registry.Server, error) {
	s := &a.cfg.Sessions
	return registry.NewServer(ctx, registry.Config{
		Journal: a.journal.Load(), Verifier: a.cfg.Auth.Verifier, MaxDenials: a.cfg.Auth.MaxDenials,
		Redis: s.Redis, OwnStore: s.Store != nil, RequireRedis: s.RequireRedis, MaxSessions: s.MaxSessions, EmptyTTL: s.emptyTTL(), Moving: moving,
	})
}

// openState opens Config.StateDir, if there is one. A program that replaces another cannot do without its clients: what
// fails then is logged, and the trial before should have found it.
func (a *App) openState(reg *registry.Server, est *estate) error {
	var lock *os.File
	if est != nil {
		lock = est.left.File(fileState)
	}
	if lock != nil && est.StateDir != a.cfg.StateDir {
		_ = lock.Close()
		lock = nil
	}
	err := reg.OpenStateDir(a.cfg.StateDir, lock)
	switch {
	case err != nil && est != nil:
		a.Logger().Error("revocations are not kept on the disk", "error", err)
	case err != nil:
		return fmt.Errorf("expedite: Config.StateDir: %w", err)
	}
	return nil
}

// tryState reports, in a trial, whether a folder that the running program does not have can be used. The lock of the
// one that it has stays where it is.
func (e *estate) tryState(path string) error {
	if path == "" || path == e.StateDir {
		return nil
	}
	d, err := statedir.Open(path)
	if err != nil {
		return fmt.Errorf("expedite: Config.StateDir: %w", err)
	}
	return d.Close()
}
