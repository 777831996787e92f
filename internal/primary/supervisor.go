package primary

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/expedite-go/expedite/cluster"
	"github.com/expedite-go/expedite/internal/broker"
	"github.com/expedite-go/expedite/internal/control"
	"github.com/expedite-go/expedite/internal/registry"
	"github.com/expedite-go/expedite/internal/rpc"
	"github.com/expedite-go/expedite/internal/telemetry"
)

// supervisor connects the workers to the hub and the registry, and keeps their latest reports.
type supervisor struct {
	log      *slog.Logger
	hub      *broker.Hub
	registry *registry.Server
	totals   *telemetry.Totals
	policy   cluster.Policy
	group    *atomic.Pointer[cluster.Primary] // nil before all workers are ready

	// workers holds a *worker by id. Publications take this path: it has no lock that reports or status would share.
	workers sync.Map
	// inherited holds the reports of the workers of the program before until EventInherit announces those workers. Only
	// the cluster's goroutine uses it.
	inherited map[uint64]telemetry.Report
}

// worker is what the supervisor keeps of a worker, from EventOnline or EventInherit to EventExit.
type worker struct {
	port   *broker.Port
	peer   *registry.Worker
	report atomic.Pointer[telemetry.Report] // the latest; nil before the first
}

// worker returns what is kept of a worker, or nil.
func (s *supervisor) worker(id uint64) *worker {
	w, ok := s.workers.Load(id)
	if !ok {
		return nil
	}
	return w.(*worker)
}

// add connects a worker before its first message, so that it misses nothing of what its predecessor receives. A worker
// that was inherited while it started is connected already when it comes online. It runs on the cluster's goroutine.
func (s *supervisor) add(w *cluster.Worker) *worker {
	if known := s.worker(w.ID()); known != nil {
		return known
	}
	l := &link{Worker: w, attached: make(chan struct{})}
	l.port = s.hub.Attach(w.Slot(), l)
	close(l.attached)
	added := &worker{port: l.port, peer: s.registry.Join(w.ID(), w.Send)}
	if r, ok := s.inherited[w.ID()]; ok {
		added.report.Store(&r)
		delete(s.inherited, w.ID())
	}
	s.workers.Store(w.ID(), added)
	return added
}

// event follows what happens to the workers. It runs on the cluster's goroutine, in order.
func (s *supervisor) event(e cluster.Event) {
	switch w := e.Worker; e.Kind {
	case cluster.EventOnline:
		s.add(w)
	case cluster.EventInherit:
		_ = s.add(w).peer.Greet() // its queue is empty
	case cluster.EventReady:
		s.log.Info("worker ready", "worker", w.Slot(), "pid", w.PID(), "generation", w.Generation())
	case cluster.EventExit:
		if ended := s.worker(w.ID()); ended != nil {
			ended.port.Detach()
		}
		s.registry.Leave(w.ID())
		s.workers.Delete(w.ID())
	}
}

// message passes a message of a worker to the registry or to the other workers. Each worker has a goroutine that calls
// it.
func (s *supervisor) message(from *cluster.Worker, m []byte) {
	w := s.worker(from.ID())
	switch {
	case w == nil: // it has exited
	case rpc.Is(m):
		w.peer.Receive(m)
	default:
		w.port.Receive(m)
	}
}

// move redirects messages to connections while those move. It runs on the cluster's goroutine, in order.
func (s *supervisor) move(m cluster.MoveEvent) {
	from, to := s.worker(m.From.ID()), s.worker(m.To.ID()) // nil if it has exited
	switch {
	case damaged("hold") && to != nil:
		to.port.Lead()
	case m.Step == cluster.MoveTaken && m.Whole && to != nil:
		to.port.Lead()
	case m.Step != cluster.MoveGiven:
		for _, w := range []*worker{from, to} { // if both are of one slot, either may end what holds it
			if w != nil {
				w.port.Resume()
			}
		}
	case from != nil:
		from.port.Hold()
	}
}

// report keeps a worker's report. It reports false if the report makes no sense.
func (s *supervisor) report(from *cluster.Worker, b []byte) (r telemetry.Report, ok bool) {
	r, err := telemetry.ParseReport(b)
	if err != nil {
		s.log.Warn("report of a worker not understood", "worker", from.Slot(), "error", err)
		return r, false
	}
	if w := s.worker(from.ID()); w != nil {
		w.report.Store(&r)
	}
	s.totals.Add(slotReport(from, r))
	return r, true
}

// reports returns the latest report of each worker by the worker's id.
func (s *supervisor) reports() map[uint64]telemetry.Report {
	list := make(map[uint64]telemetry.Report)
	for id, w := range s.workers.Range {
		if r := w.(*worker).report.Load(); r != nil {
			list[id.(uint64)] = *r
		}
	}
	return list
}

// cluster returns the group of workers; nil before all of them are ready.
func (s *supervisor) cluster() *cluster.Primary { return s.group.Load() }

// list returns the workers; none before all of them are ready.
func (s *supervisor) list() []*cluster.Worker {
	if group := s.cluster(); group != nil {
		return group.Workers()
	}
	return nil
}

// reportTimeout bounds the wait for a worker's report. After it, Reports returns the last one, marked as stale.
const reportTimeout = time.Second

// Reports asks all workers for their reports.
func (s *supervisor) Reports(ctx context.Context) []telemetry.SlotReport {
	ctx, cancel := context.WithTimeout(ctx, reportTimeout)
	defer cancel()
	workers := s.list()
	list := make([]telemetry.SlotReport, len(workers))
	var wg sync.WaitGroup
	for i, w := range workers {
		wg.Go(func() { list[i] = s.ask(ctx, w) })
	}
	wg.Wait()
	return list
}

// ask asks a worker for its report.
func (s *supervisor) ask(ctx context.Context, of *cluster.Worker) telemetry.SlotReport {
	r := s.last(of)
	if state := of.State(); state == cluster.StateStarting || state == cluster.StateDead {
		return r
	}
	w := s.worker(of.ID())
	if w == nil {
		r.Stale = true
		return r
	}
	fresh, err := w.peer.Report(ctx)
	if err != nil {
		r.Stale = true
		return r
	}
	w.report.Store(&fresh)
	r.Report = fresh
	return r
}

// LastReports returns the latest report of each worker without asking for new ones.
func (s *supervisor) LastReports() []telemetry.SlotReport {
	workers := s.list()
	list := make([]telemetry.SlotReport, len(workers))
	for i, w := range workers {
		list[i] = s.last(w)
	}
	return list
}

// last returns the latest report of a worker.
func (s *supervisor) last(of *cluster.Worker) telemetry.SlotReport {
	var r telemetry.Report
	if w := s.worker(of.ID()); w != nil {
		if last := w.report.Load(); last != nil {
			r = *last
		}
	}
	return slotReport(of, r)
}

func slotReport(w *cluster.Worker, r telemetry.Report) telemetry.SlotReport {
	return telemetry.SlotReport{
		Slot: w.Slot(), Generation: w.Generation(), PID: w.PID(), State: w.State().String(), Report: r,
	}
}

// Stats returns the figures of the group.
func (s *supervisor) Stats() GroupStats {
	st := GroupStats{
		Scheduling: s.policy.String(), Generation: 1, Dropped: s.hub.Stats().Dropped, Restarts: make(map[int]uint64),
	}
	group := s.cluster()
	if group == nil {
		return st
	}
	moved := group.RollTotals()
	st.Generation, st.OutputLost = group.Generation(), group.Stats().OutputLost
	st.Handoff = control.Handoff{
		Moved: moved.Moved, Drained: moved.Drained, Failed: moved.Failed, LastSeconds: moved.Last.Seconds(),
	}
	for _, w := range group.Workers() {
		st.Restarts[w.Slot()] = w.Crashes()
	}
	return st
}

// link carries messages of the hub to a worker. After the worker's queue was full, it tells the hub when there is room
// again.
type link struct {
	*cluster.Worker
	attached chan struct{} // closed when port is set: the hub may send before
	port     *broker.Port
	full     atomic.Bool
}

// Send implements broker.Link.
func (l *link) Send(m []byte) error {
	err := l.Worker.Send(m)
	if errors.Is(err, cluster.ErrOverloaded) && l.full.CompareAndSwap(false, true) {
		go func() { // ends with the worker's queue
			<-l.Drained()
			l.full.Store(false)
			<-l.attached
			l.port.Flush()
		}()
	}
	return err
}

var (
	_ WorkerGroup = (*supervisor)(nil)
	_ broker.Link = (*link)(nil)
	_ broker.Link = (*cluster.Worker)(nil)
)
