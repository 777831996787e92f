package loadtest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"sync"
	"time"

	"github.com/expedite-go/expedite/cluster"
)

// canFork reports whether a run can have more than one client process.
const canFork = cluster.Supported

// processEvent is a sample of a client process, or its end.
type processEvent struct {
	member int
	sample *sample // nil if the process has ended
	err    error   // why it has ended
}

// processGroup is the client processes, or the one generator in this process.
type processGroup struct {
	size   int
	events chan processEvent
	send   func(member int, o order)
	close  func()
}

// startProcesses starts the number of client processes that cfg requires.
func startProcesses(ctx context.Context, cfg *Config) (*processGroup, error) {
	if cfg.Processes > 1 {
		return startChildren(ctx, cfg)
	}
	return startInProcess(cfg)
}

// startInProcess starts one generator in this process.
func startInProcess(cfg *Config) (*processGroup, error) {
	samples := make(chan *sample, spareMeasures+1)
	g, err := newGenerator(cfg, samples)
	if err != nil {
		return nil, err
	}
	c := &processGroup{size: 1, events: make(chan processEvent)}
	done := make(chan struct{})
	over := sync.OnceFunc(func() { close(done) })
	report := func(e processEvent) {
		select {
		case c.events <- e:
		case <-done:
		}
	}
	var all sync.WaitGroup
	all.Go(func() { // ends with the generator
		for s := range samples {
			if !s.Ended {
				s.done = func() { g.recycle(s.times) }
			}
			report(processEvent{sample: s})
		}
	})
	all.Go(func() { // ends with close or the last sample
		if err := g.run(); err != nil {
			report(processEvent{err: err})
		}
	})
	c.send = func(_ int, o order) { g.send(o) }
	c.close = func() {
		over()
		g.abort()
		all.Wait()
	}
	return c, nil
}

// recycle takes back histograms that were read.
func (g *generator) recycle(m *measures) {
	m.reset()
	g.free <- m // does not block: the channel has room for all sets
}

// startChildren executes this program again for each client process.
func startChildren(ctx context.Context, cfg *Config) (*processGroup, error) {
	c := &processGroup{size: cfg.Processes, events: make(chan processEvent, cfg.Processes)}
	done := make(chan struct{})
	report := func(e processEvent) {
		select {
		case c.events <- e:
		case <-done:
		}
	}
	p, err := cluster.Start(ctx, cluster.Config{
		Workers: cfg.Processes,
		// One processor for the loop, and one for everything else.
		Env: []string{"GOMAXPROCS=2"},
		// A process that dies is reported and not replaced: with a new process in its place, the figures would describe
		// a different run.
		Restart: cluster.Restart{MaxCrashes: 1, Rest: 1000 * time.Hour},
		Stdout:  io.Discard,
		Logger:  slog.New(slog.DiscardHandler),
		OnMessage: func(w *cluster.Worker, m []byte) {
			s, err := decodeSample(m)
			if err != nil {
				report(processEvent{member: w.Slot() - 1, err: err})
				return
			}
			report(processEvent{member: w.Slot() - 1, sample: s})
		},
		OnEvent: func(e cluster.Event) {
			if e.Kind == cluster.EventExit && !e.Wanted {
				err := e.Err
				if err == nil {
					err = errors.New("it exited")
				}
				go report(processEvent{member: e.Worker.Slot() - 1, err: err}) // ends with the group
			}
		},
	})
	if err != nil {
		close(done)
		return nil, fmt.Errorf("loadtest: client processes: %w", err)
	}
	workers := p.Workers()
	c.send = func(member int, o order) {
		if b, err := json.Marshal(o); err == nil {
			_ = workers[member].Send(b) // if the process has died, its exit event reports it
		}
	}
	c.close = func() {
		close(done)
		ctx, cancel := context.WithTimeout(context.Background(), closeTimeout)
		defer cancel()
		_ = p.Disconnect(ctx) // kills processes that do not end in time
	}
	return c, nil
}

// Work runs a client process that Run has started. It executes the orders of its parent and returns when the parent
// drains it or is gone. cfg must equal the parent's.
func Work(cfg Config) error {
	cfg = cfg.withDefaults()
	self, err := cluster.Join()
	if err != nil {
		return err
	}
	samples := make(chan *sample, spareMeasures+1)
	g, err := newGenerator(&cfg, samples)
	if err != nil {
		return err
	}
	finish := make(chan struct{})
	once := sync.OnceFunc(func() { close(finish) })
	self.Serve(cluster.Hooks{
		Message: func(m []byte) {
			var o order
			if err := json.Unmarshal(m, &o); err != nil {
				fmt.Fprintln(os.Stderr, "loadtest:", err)
				return
			}
			g.send(o)
		},
		Drain: func(time.Time) { once() },
		Lost:  once,
	})
	if err := self.Ready(); err != nil {
		return err
	}
	var all sync.WaitGroup
	all.Go(func() { // ends with the generator
		for s := range samples {
			b, err := s.encode()
			if err == nil {
				err = self.Send(b)
			}
			if err != nil {
				fmt.Fprintln(os.Stderr, "loadtest: sample lost:", err)
			}
			if !s.Ended {
				g.recycle(s.times)
			}
		}
	})
	all.Go(func() { // ends when the parent drains this process or is gone
		<-finish
		g.abort()
	})
	err = g.run()
	all.Wait()
	return errors.Join(err, self.Close())
}
