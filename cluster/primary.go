package cluster

import (
	"context"
	"fmt"
	"os/signal"
	"syscall"
	"time"
)

// Stats are the counters of a primary. They only grow.
type Stats struct {
	Accepted      uint64 // sockets
	Passed        uint64 // sockets sent to workers, counting those that were sent more than once each time
	Redistributed uint64 // sockets that one worker did not take and that were passed to another
	Refused       uint64 // sockets that were closed because no worker took them
	AcceptErrors  uint64
	Restarts      uint64 // workers that were started in place of one that had died
	Overloads     uint64 // messages that were not sent to workers because their queue was full
	HandlesLost   uint64 // handles that were closed because a worker disconnected, or because nothing received them here
	// ConnectionsLost counts the connections of workers that ended without being asked to, as far as they were
	// reported.
	ConnectionsLost uint64 `json:",omitzero"`
	OutputLost      uint64 `json:",omitzero"` // bytes of workers' output that Stdout or Stderr did not take in time
}

// Primary starts and supervises worker processes.
type Primary struct{ s *supervisor }

// Start starts the workers and returns when all of them are ready. If one fails to become ready, Start stops everything
// and returns a *StartError with its slot, its exit status and the end of its standard error. ctx has no effect after
// Start has returned.
//
// Start makes this process ignore SIGPIPE, so that it does not end when the reader of its standard output or error
// does.
func Start(ctx context.Context, cfg Config) (*Primary, error) {
	if !Supported {
		return nil, ErrUnsupported
	}
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, fmt.Errorf("cluster: %w", err)
	}
	if i := cfg.Inherit; i != nil && i.h.Scheduling != nil { // the listening sockets were opened for it
		cfg.Scheduling = *i.h.Scheduling
	}
	s, err := newSupervisor(cfg)
	if err != nil {
		return nil, err
	}
	p := &Primary{s: s}
	signal.Ignore(syscall.SIGPIPE)
	if cfg.Inherit != nil {
		return p, s.startInherited(cfg.Inherit)
	}
	if err := s.listen(ctx); err != nil {
		s.launcher.close()
		return nil, err
	}
	if err := s.start(ctx); err != nil {
		p.Stop()
		return nil, err
	}
	return p, nil
}

// Generation returns the number of programs that this process has run as a primary: see Exec.
func (p *Primary) Generation() int { return p.s.generation }

// Broadcast sends a message to all workers that are ready. Workers whose queue is full miss it.
func (p *Primary) Broadcast(m []byte) {
	for _, w := range p.Workers() {
		if s := w.State(); s == StateReady || s == StateMoving {
			_ = w.Send(m) // the link counts failures
		}
	}
}

// Stats returns a snapshot.
func (p *Primary) Stats() Stats { return p.s.stats() }

// Workers returns the workers in the order of their slots. A slot whose worker has died is represented by that
// worker, in StateDead, until the next one starts. While a worker is being replaced, both are listed. A worker that
// was disconnected with Worker.Disconnect is not listed after its exit.
func (p *Primary) Workers() []*Worker { return p.s.roster.workers() }

// Worker returns the worker with an id; nil if there is none. A worker can be found from before its EventFork until
// before its EventExit, which is its last event and comes after EventDisconnect.
func (p *Primary) Worker(id uint64) *Worker { return p.s.roster.get(id) }

// Fork starts one more worker, in addition to those of Config.Workers, and returns when its process runs. EventReady
// follows. The worker gets the lowest free slot. env is added to its environment, and to that of the workers that
// replace it: apart from env it is a worker like the others. Fork returns ErrStopped after Drain or Stop.
func (p *Primary) Fork(env ...string) (w *Worker, err error) {
	err = ErrStopped
	p.s.loop.call(func() { w, err = p.s.fork(env) })
	return w, err
}

// Setup changes the settings of workers that start from now on, including restarts. Fields that are zero keep their
// values. Running workers are not affected. EventSetup follows.
func (p *Primary) Setup(s Settings) {
	p.s.launcher.setup(s)
	p.s.loop.post(func() { p.s.emit(Event{Kind: EventSetup}) })
}

// Settings returns the settings that the next worker is started with.
func (p *Primary) Settings() Settings { return p.s.launcher.current() }

// Sync blocks until the primary has handled what happened before the call. If a callback of Config hangs, so does Sync,
// which lets a watchdog notice. After Drain or Stop it returns at once.
func (p *Primary) Sync() { p.s.loop.call(func() {}) }

// Done returns a channel that is closed when all workers have ended after Drain or Stop.
func (p *Primary) Done() <-chan struct{} { return p.s.loop.ended }

// Drain closes the listening sockets, so that new clients are refused, asks the workers to finish within the time
// left in ctx, and blocks until all have ended. Workers that have not ended when ctx ends are killed; Drain returns
// their number.
func (p *Primary) Drain(ctx context.Context) (killed int) {
	left := timeLeft(ctx)
	p.s.loop.post(func() { p.s.retire(left) })
	select {
	case <-p.Done():
		return 0
	case <-ctx.Done():
	}
	var late []*Worker
	p.s.loop.post(func() {
		for _, w := range p.Workers() {
			if !w.IsDead() {
				late = append(late, w)
				w.proc.kill()
			}
		}
	})
	<-p.Done()
	for _, w := range late {
		if _, sig := exitStatus(w.proc.state); sig == syscall.SIGKILL { // others have exited just before
			killed++
		}
	}
	return killed
}

// Disconnect asks all workers to finish within the time left in ctx, and blocks until all have ended, as Drain does. It
// returns an error if some had to be killed.
func (p *Primary) Disconnect(ctx context.Context) error {
	if killed := p.Drain(ctx); killed > 0 {
		return fmt.Errorf("cluster: %d workers had to be killed: %w", killed, context.Cause(ctx))
	}
	return nil
}

// stopGrace is the time that Stop gives the workers.
const stopGrace = 2 * time.Second

// Stop ends everything without waiting for connections. It returns the number of workers that had to be killed.
func (p *Primary) Stop() (killed int) {
	ctx, cancel := context.WithTimeout(context.Background(), stopGrace)
	defer cancel()
	p.s.loop.post(func() { p.s.retire(0) })
	return p.Drain(ctx)
}
