package cluster

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"sync/atomic"
	"time"

	"github.com/expedite-go/expedite/internal/fdpass"
)

// Move is an order to move connections from one worker to another. What they say to each other is their own affair: the
// primary gives each an end of a socketpair, and keeps the order of what comes before and after.
type Move struct {
	// ID names the move.
	ID uint64
	// Count is the number of connections to move; negative is all of them, and then it is all or none.
	Count int
	// Leave says that the worker which gives accepts nothing from here on, as it will end.
	Leave bool
	// Cross says that the two workers have different slots.
	Cross bool
}

// MoveResult is how a move has ended, as one of the workers saw it.
type MoveResult struct {
	// Moved is the number of connections that have a new worker, Returned of those that came back after a failure.
	Moved, Returned int
	// Staying is the number of connections that could not be moved.
	Staying int
	// Bytes is the size of the states that travelled.
	Bytes int
	// Freeze is the longest time that a connection stood still.
	Freeze time.Duration
	// Error says why not all has moved; empty is a success.
	Error string
	// Unsupported says that the worker does not move connections: its Hooks.Give or Hooks.Take is nil.
	Unsupported bool
}

// MoveStep is a point in a move that the application's routes depend on.
type MoveStep uint8

// The steps.
const (
	// MoveGiven: all that moves has moved. What is sent to Moving.From after OnMove has returned comes after all that
	// it forwards: messages to connections must be held back until the next step.
	MoveGiven MoveStep = iota
	// MoveTaken: Moving.To has had all that was forwarded. If the move is whole, it has the slot.
	MoveTaken
	// MoveFailed: the connections that were not moved are where they were.
	MoveFailed
)

// MoveEvent tells where a move stands.
type MoveEvent struct {
	Step     MoveStep
	From, To *Worker
	// Whole says that To replaces From.
	Whole bool
}

// move is a Move as the primary sees it.
type move struct {
	Move
	from, to *Worker
	// fromHad and toHad are the connections that they had before.
	fromHad, toHad int64
	given, taken   chan MoveResult
	stuck          chan struct{}
	passed         int // connections that a taker had which has died since
	moved, left    atomic.Int64
}

const moveHeader = 8

func (m Move) appendGive(dst []byte) []byte {
	dst = binary.LittleEndian.AppendUint64(dst, m.ID)
	dst = binary.LittleEndian.AppendUint64(dst, uint64(int64(m.Count)))
	return append(dst, flag(m.Leave), flag(m.Cross))
}

func parseMove(b []byte) (m Move, ok bool) {
	if len(b) != moveHeader+10 {
		return m, false
	}
	return Move{
		ID: binary.LittleEndian.Uint64(b), Count: int(int64(binary.LittleEndian.Uint64(b[8:]))),
		Leave: b[16] != 0, Cross: b[17] != 0,
	}, true
}

func flag(b bool) byte {
	if b {
		return 1
	}
	return 0
}

// begin makes the socketpair and gives each worker its end. The taker's order is sent first, and it gets ready while
// the giver greets it.
func (m *move) begin() error {
	gives, takes, err := fdpass.Pair()
	if err != nil {
		return err
	}
	defer gives.Close()
	defer takes.Close()
	order := m.appendGive(nil)
	if err := m.to.link.passFile(kindTake, order, takes); err != nil {
		return fmt.Errorf("worker %d: %w", m.to.slot, err)
	}
	if err := m.from.link.passFile(kindGive, order, gives); err != nil {
		return fmt.Errorf("worker %d: %w", m.from.slot, err)
	}
	return nil
}

// passFile sends a copy of f's descriptor.
func (l *link) passFile(kind byte, payload []byte, f *os.File) error {
	fd, err := duplicate(f)
	if err != nil {
		return err
	}
	return l.sendHandle(kind, payload, fd)
}

// handleMove does what a worker says about a move. It runs on the goroutine that reads from it.
func (p *Primary) handleMove(w *Worker, f fdpass.Frame) {
	m := p.moving.Load()
	if m == nil || len(f.Payload) < moveHeader || binary.LittleEndian.Uint64(f.Payload) != m.ID {
		return
	}
	b := f.Payload[moveHeader:]
	switch {
	case f.Kind == kindMoving && w == m.from && len(b) == 16:
		m.moved.Store(int64(binary.LittleEndian.Uint64(b)))
		m.left.Store(int64(binary.LittleEndian.Uint64(b[8:])))
	case f.Kind == kindStuck && w == m.from:
		tellOnce(m.stuck, struct{}{})
	case f.Kind == kindGiven && w == m.from:
		tellOnce(m.given, parseResult(b))
	case f.Kind == kindTaken && w == m.to:
		tellOnce(m.taken, parseResult(b))
	}
}

// tellOnce leaves v in a channel with room for one, unless there is one.
func tellOnce[T any](c chan T, v T) {
	select {
	case c <- v:
	default:
	}
}

func parseResult(b []byte) (r MoveResult) {
	if err := json.Unmarshal(b, &r); err != nil {
		r.Error = "a worker's word about a move made no sense: " + err.Error()
	}
	return r
}

// order gives an order of the primary to the worker's own code.
func (s *Self) order(h *Hooks, f fdpass.Frame) {
	m, ok := parseMove(f.Payload)
	if !ok || len(f.FDs) != 1 {
		closeFDs(f.FDs)
		if ok {
			_ = s.answer(f.Kind, m, MoveResult{Error: "the worker has no descriptor free for the socketpair"})
		}
		return
	}
	do := h.Give
	if f.Kind == kindTake {
		do = h.Take
	}
	if do == nil {
		closeFDs(f.FDs)
		_ = s.answer(f.Kind, m, MoveResult{Unsupported: true, Error: "this worker does not move connections"})
		return
	}
	do(m, os.NewFile(uintptr(f.FDs[0]), "handoff"))
}

func (s *Self) answer(order byte, m Move, r MoveResult) error {
	if order == kindTake {
		return s.Taken(m, r)
	}
	return s.Given(m, r)
}

// Given tells the primary that a move has ended, at the worker that gave. After a success Hooks.Settle follows.
func (s *Self) Given(m Move, r MoveResult) error { return s.result(kindGiven, m, r) }

// Taken tells the primary that a move has ended, at the worker that took.
func (s *Self) Taken(m Move, r MoveResult) error { return s.result(kindTaken, m, r) }

func (s *Self) result(kind byte, m Move, r MoveResult) error {
	b, err := json.Marshal(r)
	if err != nil {
		return errors.Join(ErrDisconnected, err)
	}
	return s.link.send(kind, append(binary.LittleEndian.AppendUint64(nil, m.ID), b...))
}

// Stuck tells the primary that the other worker of a move does not answer: it is killed, so that what was under way to
// it can go on here.
func (s *Self) Stuck(m Move) error {
	return s.link.send(kindStuck, binary.LittleEndian.AppendUint64(nil, m.ID))
}

// MoveProgress tells the primary how far a move is.
func (s *Self) MoveProgress(m Move, moved, left int) error {
	b := binary.LittleEndian.AppendUint64(nil, m.ID)
	b = binary.LittleEndian.AppendUint64(b, uint64(moved))
	return s.link.send(kindMoving, binary.LittleEndian.AppendUint64(b, uint64(left)))
}
