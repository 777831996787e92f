package registry

import (
	"context"
	"errors"
	"fmt"

	"github.com/expedite-go/expedite/internal/record"
)

// Bridge listens to other machines in a worker while the primary replaces its program.
type Bridge interface {
	// Open listens to topics. ready is called once: with the last topics, when all are listened to.
	Open(topics []string, last bool, ready func(error))
	// Close ends the bridge. Everything that it has heard was sent before.
	Close() error
}

// errNoBridge reports that a worker cannot listen.
var errNoBridge = errors.New("no bridge")

// OpenBridge has a worker listen to topics, and blocks until it does. EndBridge ends that. If it fails, it has ended
// what it began.
func (s *Server) OpenBridge(ctx context.Context, topics []string) (worker uint64, err error) {
	s.mu.Lock()
	var w *Worker
	for id, one := range s.workers {
		if w == nil || id > worker { // the latest: it is not replaced soon
			worker, w = id, one
		}
	}
	s.mu.Unlock()
	if w == nil {
		return 0, errNoWorker
	}
	for first := true; first || len(topics) > 0; first = false {
		b, n := []byte{0}, 0
		for n < len(topics) && len(b) < pageBytes {
			b = record.AppendText(b, topics[n])
			n++
		}
		if topics = topics[n:]; len(topics) == 0 {
			b[0] = 1
		}
		if _, err := w.peer.Call(ctx, opBridge, b); err != nil {
			go func() { // ends with the timeout of orders
				ctx, cancel := context.WithTimeout(context.Background(), orderTimeout)
				defer cancel()
				_, _ = w.ask(ctx, opEndBridge, nil)
			}()
			return 0, fmt.Errorf("registry: %w", err)
		}
	}
	return worker, nil
}

// EndBridge ends a bridge, and blocks until everything that it has heard has arrived. A worker that has ended has none.
func (s *Server) EndBridge(ctx context.Context, worker uint64) error {
	s.mu.Lock()
	w := s.workers[worker]
	s.mu.Unlock()
	if w == nil {
		return nil
	}
	_, err := w.ask(ctx, opEndBridge, nil)
	return err
}

// bridge carries out what the primary asks of the bridge.
func (c *Client) bridge(op byte, payload []byte, reply func([]byte, error)) {
	switch {
	case c.Bridge == nil:
		reply(nil, errNoBridge)
	case op == opEndBridge:
		go func() { reply(nil, c.Bridge.Close()) }() // ends when the connections are closed
	default:
		d := record.NewDecoder(payload)
		last := d.Byte() == 1
		var topics []string
		for d.More() && d.Err() == nil {
			topics = append(topics, string(d.Text()))
		}
		if err := d.End(); err != nil {
			reply(nil, err)
			return
		}
		go c.Bridge.Open(topics, last, func(err error) { reply(nil, err) }) // ends when they are asked for
	}
}

// Bridged passes what the bridge has heard to the primary.
func (c *Client) Bridged(b []byte) error { return c.peer.Tell(opBridged, b) }
