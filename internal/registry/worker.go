package registry

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/expedite-go/expedite/internal/denylist"
	"github.com/expedite-go/expedite/internal/rpc"
	"github.com/expedite-go/expedite/internal/telemetry"
)

// pageBytes bounds the denials of one message, and pageFollows the subscriptions.
const (
	pageBytes   = 512 << 10
	pageFollows = 16
)

// errPage reports a page that is requested out of turn.
var errPage = errors.New("no such page")

// Worker is the server's side of the link to a worker.
type Worker struct {
	peer   *rpc.Peer
	behind bool // it did not carry out an order, and must get the whole deny list. Guarded by Server.mu

	// The contents of pages, taken when the first one was requested: what comes later is sent by itself.
	denials []denylist.Entry
	follows []subscription
}

// Join adds a worker. Send puts a message on its link and must not block.
func (s *Server) Join(id uint64, send func([]byte) error) *Worker {
	w := new(Worker)
	w.peer = rpc.NewPeer(send, func(op byte, payload []byte, reply func([]byte, error)) { s.serve(w, op, payload, reply) })
	s.mu.Lock()
	defer s.mu.Unlock()
	s.workers[id] = w
	return w
}

// Leave removes a worker.
func (s *Server) Leave(id uint64) {
	s.mu.Lock()
	w := s.workers[id]
	delete(s.workers, id)
	s.mu.Unlock()
	if w != nil {
		w.peer.Close()
	}
}

// Receive takes a message of the worker, one for which rpc.Is reports true. One goroutine at a time.
func (w *Worker) Receive(m []byte) { w.peer.Receive(m) }

// Greet asks the worker to say hello: a primary that has just begun may know what its predecessor did not.
func (w *Worker) Greet() error { return w.peer.Tell(opGreet, nil) }

// Report asks the worker for its report. If the link is full it tries again until ctx ends.
func (w *Worker) Report(ctx context.Context) (telemetry.Report, error) {
	for {
		b, err := w.peer.Call(ctx, opReport, nil)
		switch {
		case err == nil:
			return telemetry.ParseReport(b)
		case errors.Is(err, rpc.ErrClosed), errors.Is(err, rpc.ErrFailed), ctx.Err() != nil:
			return telemetry.Report{}, err
		}
		select {
		case <-time.After(orderRetry):
		case <-ctx.Done():
			return telemetry.Report{}, ctx.Err()
		}
	}
}

// page returns a page of what the worker must know. One goroutine at a time.
func (w *Worker) page(s *Server, at int) (p page, err error) {
	if at == 0 {
		w.denials, w.follows = s.deny.All(time.Now()), s.subscribers.all()
	}
	denials := len(w.denials)
	if at < 0 || at > denials+len(w.follows) {
		return p, errPage
	}
	for at < denials && len(p.Denials) < pageBytes {
		p.Denials = denylist.Append(p.Denials, w.denials[at])
		at++
	}
	if at >= denials {
		rest := w.follows[at-denials:]
		p.Follows = rest[:min(len(rest), pageFollows)]
		at += len(p.Follows)
	}
	if at < denials+len(w.follows) {
		p.Next = at
	} else {
		w.denials, w.follows = nil, nil
	}
	return p, nil
}

// all returns the workers of now.
func (s *Server) all() []*Worker {
	s.mu.Lock()
	defer s.mu.Unlock()
	list := make([]*Worker, 0, len(s.workers))
	for _, w := range s.workers {
		list = append(list, w)
	}
	return list
}

// answer is what a worker answered. A worker that ended meanwhile answers nothing.
type answer struct {
	worker  *Worker
	payload []byte
	err     error
}

// ask asks all workers at once.
func (s *Server) ask(ctx context.Context, op byte, b []byte) []answer {
	ctx, cancel := context.WithTimeout(ctx, orderTimeout)
	defer cancel()
	workers := s.all()
	answers := make([]answer, len(workers))
	var wg sync.WaitGroup
	for i, w := range workers {
		wg.Go(func() {
			payload, err := w.ask(ctx, op, b)
			answers[i] = answer{w, payload, err}
		})
	}
	wg.Wait()
	return answers
}

// ask asks a worker. While its queue is full it tries again until ctx ends.
func (w *Worker) ask(ctx context.Context, op byte, b []byte) ([]byte, error) {
	for {
		payload, err := w.peer.Call(ctx, op, b)
		switch {
		case errors.Is(err, rpc.ErrClosed): // it has ended
			return nil, nil
		case err != nil && !errors.Is(err, rpc.ErrFailed) && ctx.Err() == nil: // its queue is full
			select {
			case <-time.After(orderRetry):
				continue
			case <-ctx.Done():
			}
		}
		return payload, err
	}
}

// fellBehind notes that a worker did not carry out an order.
func (s *Server) fellBehind(w *Worker) {
	s.mu.Lock()
	defer s.mu.Unlock()
	w.behind = true
}

// errNoWorker reports that no worker has a store.
var errNoWorker = errors.New("expedite: no worker can ask the session store")

// askStore has a worker carry out a request of the application's session store. If one cannot, it asks the next.
func (s *Server) askStore(ctx context.Context, request []byte) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, orderTimeout)
	defer cancel()
	err := errNoWorker
	for _, w := range s.all() {
		var b []byte
		if b, err = w.ask(ctx, opStore, request); err == nil && b != nil {
			return b, nil
		}
		if ctx.Err() != nil {
			break
		}
	}
	if err == nil { // the last one has ended
		err = errNoWorker
	}
	return nil, err
}
