package cluster

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"os/signal"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/expedite-go/expedite/internal/spool"
)

// Stats is what a primary has done. Counters only grow.
type Stats struct {
	Accepted      uint64 // sockets
	Passed        uint64 // sockets sent to workers, some of them more than once
	Redistributed uint64 // sockets that one worker did not take, and that went to another
	Refused       uint64 // sockets that were closed because no worker took them
	AcceptErrors  uint64
	Restarts      uint64 // workers that were started in place of one that had died
	Overloads     uint64 // messages that were not sent to workers because their queue was full
	HandlesLost   uint64 // handles that were closed because the worker left, or nobody took them here
	// ConnectionsLost counts the connections of workers that ended unasked, as far as they had reported them.
	ConnectionsLost uint64 `json:",omitzero"`
	OutputLost      uint64 `json:",omitzero"` // bytes of workers' output that Stdout or Stderr did not take in time
}

// Primary runs the workers.
type Primary struct {
	cfg             Config
	roster          roster
	shared          shared        // listening sockets that workers have asked for
	lost            atomic.Uint64 // handles
	connectionsLost atomic.Uint64
	outlets         outlets
	logs            *spool.Queue // to Config.Logger
	rolling         atomic.Bool  // a roll is under way
	moving          atomic.Pointer[move]
	moveIDs         atomic.Uint64
	listeners       []*net.TCPListener
	acceptors       []*acceptor
	disp            *dispatcher
	inbox           chan func()
	started         chan error    // the first outcome of Start
	ended           chan struct{} // closed when all workers have ended after Drain or Stop

	// On the run loop only.
	slots  []*slot
	nextID uint64
	// generation is the number of programs that this process has run as a primary.
	generation int
	programs   programs
	alive      int // processes
	unready    int // slots that have not been ready once
	stopping   bool

	mu       sync.Mutex
	settings Settings
	rolled   RollTotals
}

// maxLogs is the number of records that may wait for Config.Logger.
const maxLogs = 1024

// slot is a worker's place.
type slot struct {
	number, generation int
	env                []string
	program            *program // of its worker; nil is that of the primary
	worker             *Worker  // nil while there is none
	next               *Worker  // about to take the place of worker; nil most of the time
	crashes            atomic.Uint64
	history            history
	down               bool        // it crashed, and its next start was not to be soon; until it is ready
	timer              *time.Timer // of the next start
}

// Start runs the workers and returns when all of them are ready. If one does not become ready, everything is stopped
// again and the error, a *StartError, tells its slot, its end and its last words. After Start, ctx has no meaning.
//
// From here on this process ignores SIGPIPE: it does not end when the reader of its standard output or error does.
func Start(ctx context.Context, cfg Config) (*Primary, error) {
	if !Supported {
		return nil, ErrUnsupported
	}
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, fmt.Errorf("cluster: %w", err)
	}
	if i := cfg.Inherit; i != nil && i.h.Scheduling != nil { // the sockets were made for it
		cfg.Scheduling = *i.h.Scheduling
	}
	p := &Primary{
		cfg: cfg, disp: newDispatcher(cfg.Scheduling, newRefusals(cfg.Refusal)), unready: cfg.Workers,
		generation: 1,
		inbox:      make(chan func(), 64), started: make(chan error, 1), ended: make(chan struct{}),
	}
	if err := p.programs.find(cfg.Inherit); err != nil {
		return nil, fmt.Errorf("cluster: %w", err)
	}
	p.settings = cfg.settings(p.programs.current.path)
	signal.Ignore(syscall.SIGPIPE)
	p.outlets.limit = cfg.OutputLimit
	p.logs = spool.New(maxLogs)
	p.cfg.Logger = slog.New(spool.NewHandler(cfg.Logger.Handler(), p.logs))
	if cfg.Inherit != nil {
		return p, p.startInherited(cfg.Inherit)
	}
	if cfg.Listen != "" {
		p.listeners, err = listen(ctx, cfg.Listen, cfg.Workers, cfg.Scheduling == None)
		if err != nil {
			p.programs.close()
			return nil, err
		}
	}
	if err := p.openAcceptors(); err != nil {
		p.programs.close()
		return nil, err
	}
	for range cfg.Workers {
		p.addSlot(nil)
	}
	go p.disp.run() // ends with stop
	go p.run()      // ends when all workers have ended
	p.startWatch()
	p.startReaper()
	p.do(func() {
		for _, s := range slices.Clone(p.slots) {
			p.spawn(s)
		}
	})
	select {
	case err = <-p.started:
	case <-ctx.Done():
		err = context.Cause(ctx)
	}
	if err != nil {
		p.Stop()
		return nil, err
	}
	return p, nil
}

// startInherited goes on where the program before had stopped.
func (p *Primary) startInherited(i *Inheritance) error {
	if err := p.inherit(i); err != nil {
		return fmt.Errorf("cluster: %w", err)
	}
	go p.disp.run() // ends with stop
	go p.run()      // ends when all workers have ended
	p.startWatch()
	p.startReaper()
	p.do(p.resume)
	return <-p.started
}

// startWatch looks for workers that hang.
func (p *Primary) startWatch() {
	if p.cfg.Heartbeat > 0 {
		go p.watch() // ends when all workers have ended
	}
}

// Generation is the number of programs that this process has run as a primary: see Exec.
func (p *Primary) Generation() int { return p.generation }

// openAcceptors makes an acceptor, which is off, for each listening socket; or closes them all.
func (p *Primary) openAcceptors() error {
	for _, ln := range p.listeners {
		a, err := newAcceptor(ln, p.disp)
		if err != nil {
			for _, a := range p.acceptors {
				a.close()
			}
			for _, ln := range p.listeners {
				_ = ln.Close() // some of them once more
			}
			return err
		}
		p.acceptors = append(p.acceptors, a)
	}
	for _, a := range p.acceptors {
		go a.run() // ends with close
	}
	return nil
}

// Addr is the address that clients come to; nil without Config.Listen.
func (p *Primary) Addr() net.Addr {
	if len(p.listeners) == 0 {
		return nil
	}
	return p.listeners[0].Addr()
}

// Broadcast sends a message to all workers that are ready. Those whose queue is full miss it.
func (p *Primary) Broadcast(m []byte) {
	for _, w := range p.Workers() {
		if s := w.State(); s == StateReady || s == StateMoving {
			_ = w.Send(m) // counted by the link
		}
	}
}

// Stats returns a snapshot.
func (p *Primary) Stats() Stats {
	s := p.disp.snapshot()
	p.roster.count(&s)
	s.HandlesLost = p.lost.Load()
	s.ConnectionsLost += p.connectionsLost.Load()
	s.OutputLost += p.outlets.lost() // to what programs before have lost
	return s
}

// Done is closed when all workers have ended after Drain or Stop.
func (p *Primary) Done() <-chan struct{} { return p.ended }

// Drain closes the listening sockets, so that new clients are refused, asks the workers to finish within the time that
// ctx has, and waits for their end. It returns the number of workers that had to be killed.
func (p *Primary) Drain(ctx context.Context) (killed int) {
	left := timeLeft(ctx)
	p.do(func() { p.retire(left) })
	select {
	case <-p.ended:
		return 0
	case <-ctx.Done():
	}
	var late []*Worker
	p.do(func() {
		for _, w := range p.Workers() {
			if !w.IsDead() {
				late = append(late, w)
				w.proc.kill()
			}
		}
	})
	<-p.ended
	for _, w := range late { // some have ended meanwhile by themselves
		if _, sig := exitOf(w.proc.state); sig == syscall.SIGKILL {
			killed++
		}
	}
	return killed
}

// stopGrace is the time that Stop gives the workers.
const stopGrace = 2 * time.Second

// Stop ends everything without waiting for connections. It returns the number of workers that had to be killed.
func (p *Primary) Stop() (killed int) {
	ctx, cancel := context.WithTimeout(context.Background(), stopGrace)
	defer cancel()
	p.do(func() { p.retire(0) })
	return p.Drain(ctx)
}

// do runs f on the run loop, after what was asked for before.
func (p *Primary) do(f func()) {
	select {
	case p.inbox <- f:
	case <-p.ended:
	}
}
