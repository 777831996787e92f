package cluster

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/expedite-go/expedite/internal/fdpass"
)

// Move is an order to move connections from one worker to another. The protocol between the two workers is their own:
// the primary gives each an end of a socketpair, and keeps the order of the messages before and after the move.
type Move struct {
	// ID identifies the move.
	ID uint64
	// Count is the number of connections to move. If it is negative, all of them move, or none.
	Count int
	// Leave is set if the giving worker must stop accepting, because it will end.
	Leave bool
	// Cross is set if the two workers have different slots.
	Cross bool
}

// MoveResult is the outcome of a move, as one of the two workers reports it.
type MoveResult struct {
	// Moved is the number of connections that moved, and Returned how many of them came back after a failure.
	Moved, Returned int
	// Staying is the number of connections that could not be moved.
	Staying int
	// Bytes is the size of the states that were sent.
	Bytes int
	// Freeze is the longest time for which a connection was not served.
	Freeze time.Duration
	// Error is the reason that not everything moved. Empty is success.
	Error string
	// Unsupported is set if the worker cannot move connections because its Hooks.Give or Hooks.Take is nil.
	Unsupported bool
}

// MoveStep is a point in a move at which the application must change the routes of its messages.
type MoveStep uint8

// The steps.
const (
	// MoveGiven: everything that moves has moved. What is sent to MoveEvent.From after OnMove has returned arrives
	// after everything that this worker forwards. Messages to connections must therefore be held back until the next
	// step.
	MoveGiven MoveStep = iota
	// MoveTaken: MoveEvent.To has received everything that was forwarded. If the move is whole, it has the slot now.
	MoveTaken
	// MoveFailed: the connections that did not move are served by MoveEvent.From.
	MoveFailed
)

// MoveEvent reports a step of a move.
type MoveEvent struct {
	Step     MoveStep
	From, To *Worker
	// Whole is set if To replaces From.
	Whole bool
}

// moveHeader is the length of the move's number, which begins each frame about a move.
const moveHeader = 8

func (m Move) append(dst []byte) []byte {
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

// start makes the socketpair and sends each worker its order and its end. The taker's order is sent first, so that the
// taker gets ready while the giver sends its greeting.
func (m *move) start() error {
	gives, takes, err := fdpass.Pair()
	if err != nil {
		return err
	}
	defer gives.Close()
	defer takes.Close()
	order := m.append(nil)
	if err := m.to.link.sendFile(kindTake, order, takes); err != nil {
		return fmt.Errorf("worker %d: %w", m.to.slot, err)
	}
	if err := m.from.link.sendFile(kindGive, order, gives); err != nil {
		return fmt.Errorf("worker %d: %w", m.from.slot, err)
	}
	return nil
}

// sendFile sends a duplicate of f's descriptor.
func (l *link) sendFile(kind byte, payload []byte, f *os.File) error {
	fd, err := duplicate(f)
	if err != nil {
		return err
	}
	return l.sendHandle(kind, payload, fd)
}

func parseResult(b []byte) (r MoveResult) {
	if err := json.Unmarshal(b, &r); err != nil {
		r.Error = "a worker's report about a move is malformed: " + err.Error()
	}
	return r
}

// order passes an order of the primary to Hooks.Give or Hooks.Take.
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

// Given reports the result of a move to the primary, from the worker that gave. After a success, Hooks.Settle follows.
func (s *Self) Given(m Move, r MoveResult) error { return s.result(kindGiven, m, r) }

// Taken reports the result of a move to the primary, from the worker that took.
func (s *Self) Taken(m Move, r MoveResult) error { return s.result(kindTaken, m, r) }

func (s *Self) result(kind byte, m Move, r MoveResult) error {
	b, err := json.Marshal(r)
	if err != nil {
		return errors.Join(ErrDisconnected, err)
	}
	return s.link.send(kind, append(binary.LittleEndian.AppendUint64(nil, m.ID), b...))
}

// Stuck reports that the other worker of a move does not respond. The primary kills that worker, so that this one can
// take back the connections that were on their way.
func (s *Self) Stuck(m Move) error {
	return s.link.send(kindStuck, binary.LittleEndian.AppendUint64(nil, m.ID))
}

// MoveProgress reports how many connections have moved and how many are left, from the worker that gives.
func (s *Self) MoveProgress(m Move, moved, left int) error {
	b := binary.LittleEndian.AppendUint64(nil, m.ID)
	b = binary.LittleEndian.AppendUint64(b, uint64(moved))
	return s.link.send(kindMoving, binary.LittleEndian.AppendUint64(b, uint64(left)))
}
