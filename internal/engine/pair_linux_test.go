package engine

import (
	"bytes"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/expedite-go/expedite/internal/reactor"
	"github.com/expedite-go/expedite/ws"
)

// pair is two engines between which connections move.
type pair struct {
	t      *testing.T
	here   *fixture // has the connections
	there  *fixture
	ready  chan struct{}
	tamper func(states []byte) []byte
}

func startPair(t *testing.T, routes func() map[string]*Route) *pair {
	var ids atomic.Uint64
	// The two loops of this process must not keep the processors from each other.
	cfg := Config{NewID: func() uint64 { return ids.Add(1) }, Reactor: reactor.Options{Wait: reactor.WaitVisible}}
	return &pair{t: t, here: start(t, cfg, routes()), there: start(t, cfg, routes()), ready: make(chan struct{}, 1)}
}

// on runs f on an engine's loop and waits until it has returned.
func on(t *testing.T, e *fixture, f func()) {
	t.Helper()
	done := make(chan struct{})
	if !e.Post(func() { f(); close(done) }) {
		t.Fatal("the loop has ended")
	}
	select {
	case <-done:
	case <-time.After(patience):
		t.Fatal("the loop does not go on")
	}
}

// move moves all connections, waiting for those whose callbacks run, and swaps here and there.
func (p *pair) move() (moved int) {
	p.t.Helper()
	on(p.t, p.there, p.there.Record)
	on(p.t, p.here, func() {
		p.here.Depart(-1, func() {
			select {
			case p.ready <- struct{}{}:
			default:
			}
		})
	})
	for left := 1; left > 0; {
		var b *Batch
		var position uint64
		on(p.t, p.here, func() { b, left = p.here.Freeze(3); position = p.here.position })
		if b.Len() == 0 && left > 0 {
			<-p.ready
			continue
		}
		moved += b.Len()
		p.carry(b, position)
	}
	on(p.t, p.here, func() { p.here.Stay() })
	on(p.t, p.there, p.there.Unrecord)
	p.here, p.there = p.there, p.here
	return moved
}

// carry passes a batch to the other engine, as a channel between processes does.
func (p *pair) carry(b *Batch, position uint64) {
	p.t.Helper()
	fds := dupAll(p.t, b.FDs)
	states := bytes.Clone(b.States)
	if p.tamper != nil {
		states = p.tamper(states)
	}
	var err error
	on(p.t, p.there, func() {
		var a *Arrivals
		if a, err = p.there.Admit(fds, states, position); err == nil {
			p.there.Start(a)
			clear(states)
		}
	})
	if err != nil {
		p.t.Fatal(err)
	}
	on(p.t, p.here, func() { p.here.Release(b) })
}

func dupAll(t *testing.T, fds []int) []int {
	t.Helper()
	list := make([]int, len(fds))
	for i, fd := range fds {
		var err error
		if list[i], err = unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0); err != nil {
			t.Fatal(err)
		}
	}
	return list
}

// journal counts the callbacks of connections in both engines.
type journal struct {
	opens, closes, drains atomic.Int64

	mu     sync.Mutex
	closed []ws.CloseCode
}

// handler returns a Handler that echoes and carries how often it was resumed.
func (j *journal) handler() funcs {
	return funcs{
		open:    func(*Conn) { j.opens.Add(1) },
		message: func(c *Conn, op ws.Opcode, b []byte) { c.Send(op, b) },
		drain:   func(*Conn) { j.drains.Add(1) },
		close: func(_ *Conn, code ws.CloseCode, _ string) {
			j.closes.Add(1)
			j.mu.Lock()
			j.closed = append(j.closed, code)
			j.mu.Unlock()
		},
	}
}

// codes returns with what the connections were closed.
func (j *journal) codes() []ws.CloseCode {
	j.mu.Lock()
	defer j.mu.Unlock()
	return slices.Clone(j.closed)
}

func (j *journal) routes() map[string]*Route {
	return map[string]*Route{
		"/inline": {Handler: j.handler(), Inline: true},
		"/work":   {Handler: j.handler()},
	}
}
