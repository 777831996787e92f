package cluster

import (
	"encoding/binary"
	"sync/atomic"

	"github.com/expedite-go/expedite/internal/fdpass"
)

// moves holds the move that is under way, of which there is one at a time, and counts the connections that were lost
// with their workers. Methods belong to the loop, unless they are documented otherwise.
type moves struct {
	onMove  func(MoveEvent) // Config.OnMove; may be nil
	ids     atomic.Uint64   // the last Move.ID
	current atomic.Pointer[move]
	lost    atomic.Uint64 // connections of workers that ended without being asked to
}

// move is a Move that is under way.
type move struct {
	Move
	from, to *Worker
	// fromHad and toHad are the numbers of connections that the workers had before.
	fromHad, toHad int64
	given, taken   chan MoveResult
	stuck          chan struct{}
	passed         int          // connections that had moved to a taker that has died since
	moved, left    atomic.Int64 // as the giver reported last
}

// begin registers a move. Any goroutine.
func (t *moves) begin(o Move, from, to *Worker) *move {
	o.ID = t.ids.Add(1)
	o.Cross = from.slot != to.slot
	m := &move{
		Move: o, from: from, to: to,
		given: make(chan MoveResult, 1), taken: make(chan MoveResult, 1), stuck: make(chan struct{}, 1),
	}
	m.fromHad, m.toHad = int64(from.Load()), int64(to.Load())
	t.current.Store(m)
	return m
}

// end unregisters a move in which moved connections have changed their worker for good. It counts the connections that
// were lost with either worker.
func (t *moves) end(m *move, moved int) {
	t.current.Store(nil)
	all := m.toHad + int64(moved)
	if m.from.IsDead() && !m.from.counted && !m.from.wanted {
		t.lose(m.from, m.fromHad-int64(moved))
	}
	if m.to.IsDead() && !m.to.counted && !m.to.wanted {
		t.lose(m.to, max(all, m.to.held))
	}
	// The next reports may be some time away.
	m.to.load.Store(max(m.to.load.Load(), all))
	if m.Count < 0 {
		m.from.load.Store(min(m.from.load.Load(), max(m.fromHad-int64(moved), 0)))
	}
}

// involve reports whether a worker is part of the move that is under way. How many connections are lost with it is
// known only at the end of the move.
func (t *moves) involve(w *Worker) bool {
	m := t.current.Load()
	return m != nil && (m.from == w || m.to == w)
}

// lose counts n connections that ended with their worker.
func (t *moves) lose(w *Worker, n int64) {
	w.counted = true
	t.lost.Add(uint64(max(n, 0)))
}

// announce calls Config.OnMove.
func (t *moves) announce(m *move, step MoveStep) {
	if t.onMove != nil {
		t.onMove(MoveEvent{Step: step, From: m.from, To: m.to, Whole: m.Count < 0})
	}
}

// receive handles a frame about a move. It runs on the goroutine that reads from the worker.
func (t *moves) receive(w *Worker, f fdpass.Frame) {
	m := t.current.Load()
	if m == nil || len(f.Payload) < moveHeader || binary.LittleEndian.Uint64(f.Payload) != m.ID {
		return
	}
	b := f.Payload[moveHeader:]
	switch {
	case f.Kind == kindMoving && w == m.from && len(b) == 16:
		m.moved.Store(int64(binary.LittleEndian.Uint64(b)))
		m.left.Store(int64(binary.LittleEndian.Uint64(b[8:])))
	case f.Kind == kindStuck && w == m.from:
		offer(m.stuck, struct{}{})
	case f.Kind == kindGiven && w == m.from:
		offer(m.given, parseResult(b))
	case f.Kind == kindTaken && w == m.to:
		offer(m.taken, parseResult(b))
	}
}

// offer sends v on a channel unless its buffer is full.
func offer[T any](c chan T, v T) {
	select {
	case c <- v:
	default:
	}
}
