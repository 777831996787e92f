package primary

import (
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/expedite-go/expedite/internal/admin"
	"github.com/expedite-go/expedite/internal/broker"
	"github.com/expedite-go/expedite/internal/control"
	"github.com/expedite-go/expedite/internal/listener"
	"github.com/expedite-go/expedite/internal/registry"
	"github.com/expedite-go/expedite/internal/relay"
	"github.com/expedite-go/expedite/internal/systemd"
	"github.com/expedite-go/expedite/internal/telemetry"
)

// WorkerGroup is what a ControlServer tells operators about: the workers of a primary, or a process that serves alone.
type WorkerGroup interface {
	// Reports asks all workers for their reports. One that does not answer in time is represented by its last report,
	// marked as stale.
	Reports(ctx context.Context) []telemetry.SlotReport
	// LastReports returns the latest report of each worker without asking.
	LastReports() []telemetry.SlotReport
	// Profile answers a request for a profile of the worker in a slot.
	Profile(w http.ResponseWriter, r *http.Request, slot int)
	// Stats returns the figures that the workers themselves do not know.
	Stats() GroupStats
}

// GroupStats are figures of a WorkerGroup.
type GroupStats struct {
	Scheduling string          // the name of the policy
	Generation int             // number of programs that this process has run as a primary
	Handoff    control.Handoff // connections that have moved
	Restarts   map[int]uint64  // by slot, workers that ended without being asked to
	Dropped    map[int]uint64  // by slot, messages that the hub could not pass on
	OutputLost uint64          // bytes of workers' output that were dropped
}

// ControlServer answers operators: it serves the control socket and the admin listener.
type ControlServer struct {
	cfg      ControlConfig
	workers  WorkerGroup
	hub      *broker.Hub
	relay    *relay.Relay // nil without other machines
	registry *registry.Server
	totals   *telemetry.Totals
	roller   *roller // nil in a process that serves alone
	manager  *systemd.Notifier
	drainer  drainer
	stopping atomic.Bool
	began    time.Time

	listeners *listeners
	web       *http.Server // of the admin listener
	tasks     sync.WaitGroup
	closed    chan struct{} // closed by Close

	serving atomic.Pointer[[]control.ListenerStatus] // nil before all workers are ready
	stop    chan control.StopRequest
	stopNow context.Context // done when a stop without a drain was requested
	setNow  context.CancelFunc
}

const (
	// adminHeadTimeout bounds the reading of a request's head on the admin listener.
	adminHeadTimeout = 10 * time.Second
	// adminIdleTimeout bounds the time that a connection of the admin listener is kept alive without a request.
	adminIdleTimeout = time.Minute
)

// OpenControl opens the control socket and the admin listener of a process that serves alone, and answers from then on.
// machines is nil if there are no others.
// The caller must call Close.
func OpenControl(
	cfg ControlConfig, workers WorkerGroup, hub *broker.Hub, machines *relay.Relay, reg *registry.Server,
) (*ControlServer, error) {
	l, err := openListeners(&cfg, nil)
	if err != nil {
		return nil, err
	}
	s := &ControlServer{
		cfg: cfg, workers: workers, hub: hub, relay: machines, registry: reg, totals: new(telemetry.Totals),
		began: time.Now(), listeners: l,
	}
	s.manager = newManager(&cfg, workers, s.drainer.phase)
	s.serve()
	return s, nil
}

// serve answers at the listeners until Close.
func (s *ControlServer) serve() {
	s.drainer.log, s.drainer.registry, s.drainer.workers = s.cfg.logger(), s.registry, s.workers
	s.stop, s.closed = make(chan control.StopRequest, 1), make(chan struct{})
	s.stopNow, s.setNow = context.WithCancel(context.Background())
	s.tasks.Go(func() { s.manager.Run(s.closed) })
	if s.listeners.admin != nil {
		s.serveAdmin(s.listeners.admin)
	}
	if s.listeners.control != nil {
		s.serveSocket(s.listeners.control)
	}
	s.introduce()
}

func (s *ControlServer) serveAdmin(ln net.Listener) {
	metrics := telemetry.NewMetrics(s.totals, func() []telemetry.SlotReport {
		return s.reports(context.Background())
	}, s.primaryReport)
	handler := admin.Handler(admin.Config{
		Metrics: metrics, Ready: http.HandlerFunc(s.serveReady), Worker: s.workers.Profile, Hosts: s.cfg.adminHosts(),
	})
	s.web = &http.Server{
		Handler:           control.LimitBody(s.cfg.BodyTimeout, handler),
		ReadHeaderTimeout: adminHeadTimeout, IdleTimeout: adminIdleTimeout,
		ErrorLog: slog.NewLogLogger(s.cfg.logger().Handler(), slog.LevelDebug),
	}
	if s.cfg.AdminTLS != nil {
		ln = tls.NewListener(ln, s.cfg.AdminTLS)
	}
	s.tasks.Go(func() {
		if err := s.web.Serve(ln); err != nil && !errors.Is(err, http.ErrServerClosed) {
			s.cfg.logger().Error("admin listener ended", "error", err)
		}
	})
}

// adminHosts returns the host names that requests to the admin listener may be for.
func (c *ControlConfig) adminHosts() []string {
	hosts := slices.Clone(c.AdminHosts)
	if name, _, err := net.SplitHostPort(c.Admin); err == nil && name != "" {
		hosts = append(hosts, name)
	}
	return hosts
}

func (s *ControlServer) serveSocket(socket *control.Server) {
	socket.BodyTimeout = s.cfg.BodyTimeout
	s.tasks.Go(func() {
		if err := socket.Serve(s); err != nil {
			s.cfg.logger().Error("control socket ended", "error", err)
		}
	})
}

// Close closes the control socket and the admin listener, and waits until nothing is served any more.
func (s *ControlServer) Close() {
	close(s.closed)
	s.drainer.close()
	if s.listeners.control != nil {
		_ = s.listeners.control.Close()
	}
	if s.web != nil {
		_ = s.web.Close()
	}
	s.tasks.Wait()
	s.setNow()
}

// Registry returns the registry of this machine.
func (s *ControlServer) Registry() *registry.Server { return s.registry }

// AdminAddr returns the address of the admin listener, as [listener.WithTLS] does if clients use TLS, or an empty
// string.
func (s *ControlServer) AdminAddr() string {
	switch l := s.listeners.admin; {
	case l == nil:
		return ""
	case s.cfg.AdminTLS != nil:
		return listener.WithTLS(l.Addr().String())
	default:
		return l.Addr().String()
	}
}

// SetServing notes that clients are served.
func (s *ControlServer) SetServing(at []control.ListenerStatus) { s.serving.Store(&at) }

// Settled tells the service manager that everything is ready. After a reload it is called when that is complete.
func (s *ControlServer) Settled() { s.manager.Ready() }

// AwaitStop blocks until ctx ends or an operator requests a stop, and returns the time by which it has to be complete.
func (s *ControlServer) AwaitStop(ctx context.Context) (deadline time.Time) {
	fast := false
	select {
	case <-ctx.Done():
		fast = errors.Is(context.Cause(ctx), s.cfg.StopNow)
	case req := <-s.stop:
		fast = req.Fast
	}
	s.stopping.Store(true)
	s.drainer.close()
	s.manager.Stopping()
	if fast {
		return time.Now()
	}
	return time.Now().Add(s.cfg.DrainTimeout)
}

// StopNow returns a context that is done when a stop without a drain was requested, perhaps during a drain.
func (s *ControlServer) StopNow() context.Context { return s.stopNow }

// Stop requests a stop, and returns at once. A stop without a drain ends a drain that was requested before.
func (s *ControlServer) Stop(_ context.Context, req control.StopRequest) error {
	if req.Fast {
		s.setNow()
	}
	select {
	case s.stop <- req:
	default: // it was requested before
	}
	return nil
}

var _ control.Target = (*ControlServer)(nil)
