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

// canFork says whether there can be more than one client process.
const canFork = cluster.Supported

// news is what the parent hears of a client process: a sample, or its end.
type news struct {
	member int
	sample *sample // nil: it has ended
	err    error   // of its end
}

// crew are the client processes, or the one generator in this process.
type crew struct {
	size  int
	news  chan news
	tell  func(member int, o order)
	close func()
}

// hire starts what cfg asks for.
func hire(ctx context.Context, cfg *Config) (*crew, error) {
	if cfg.Processes > 1 {
		return fork(ctx, cfg)
	}
	return alone(cfg)
}

// alone runs one generator in this process.
func alone(cfg *Config) (*crew, error) {
	samples := make(chan *sample, spareMeasures+1)
	g, err := newGenerator(cfg, samples)
	if err != nil {
		return nil, err
	}
	c := &crew{size: 1, news: make(chan news)}
	done := make(chan struct{})
	over := sync.OnceFunc(func() { close(done) })
	say := func(n news) {
		select {
		case c.news <- n:
		case <-done:
		}
	}
	var all sync.WaitGroup
	all.Go(func() { // ends with the generator
		for s := range samples {
			if !s.Ended {
				s.done = func() { g.recycle(s.times) }
			}
			say(news{sample: s})
		}
	})
	all.Go(func() { // ends with close, or the last sample
		if err := g.run(); err != nil {
			say(news{err: err})
		}
	})
	c.tell = func(_ int, o order) { g.tell(o) }
	c.close = func() {
		over()
		g.abort()
		all.Wait()
	}
	return c, nil
}

// recycle takes measures back that were read.
func (g *generator) recycle(m *measures) {
	m.reset()
	g.free <- m // has room for all there are
}

// fork runs this program again for each client process.
func fork(ctx context.Context, cfg *Config) (*crew, error) {
	c := &crew{size: cfg.Processes, news: make(chan news, cfg.Processes)}
	done := make(chan struct{})
	say := func(n news) {
		select {
		case c.news <- n:
		case <-done:
		}
	}
	p, err := cluster.Start(ctx, cluster.Config{
		Workers: cfg.Processes,
		// A loop, and a processor for what is not on the loop.
		Env: []string{"GOMAXPROCS=2"},
		// One that dies is missed, and told: another in its place would make the figures those of something else.
		Restart: cluster.Restart{MaxCrashes: 1, Rest: 1000 * time.Hour},
		Stdout:  io.Discard,
		Logger:  slog.New(slog.DiscardHandler),
		OnMessage: func(w *cluster.Worker, m []byte) {
			s, err := decodeSample(m)
			if err != nil {
				say(news{member: w.Slot() - 1, err: err})
				return
			}
			say(news{member: w.Slot() - 1, sample: s})
		},
		OnEvent: func(e cluster.Event) {
			if e.Kind == cluster.EventExit && !e.Wanted {
				err := e.Err
				if err == nil {
					err = errors.New("it ended by itself")
				}
				go say(news{member: e.Worker.Slot() - 1, err: err}) // ends with the crew
			}
		},
	})
	if err != nil {
		close(done)
		return nil, fmt.Errorf("loadtest: client processes: %w", err)
	}
	workers := p.Workers()
	c.tell = func(member int, o order) {
		if b, err := json.Marshal(o); err == nil {
			_ = workers[member].Send(b) // one that is gone is told of by its end
		}
	}
	c.close = func() {
		close(done)
		ctx, cancel := context.WithTimeout(context.Background(), closeTimeout)
		defer cancel()
		_ = p.Disconnect(ctx) // who does not end in time is killed
	}
	return c, nil
}

// Work is a client process, which Run has started: it does what its parent says, and returns when that has no more use
// for it. cfg must be the parent's.
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
			g.tell(o)
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
	all.Go(func() { // ends when the parent has no more use for this process
		<-finish
		g.abort()
	})
	err = g.run()
	all.Wait()
	return errors.Join(err, self.Close())
}
