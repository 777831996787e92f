package cluster

import "fmt"

// State is where a worker stands in its life.
type State uint8

// The states.
const (
	StateStarting State = iota
	StateReady
	StateMoving
	StateDraining
	StateDead
)

// String is the state in one word.
func (s State) String() string {
	if s > StateDead {
		return fmt.Sprintf("state %d", uint8(s))
	}
	return [...]string{"starting", "ready", "moving", "draining", "dead"}[s]
}

// EventKind tells what an Event is.
type EventKind uint8

// The kinds of events.
const (
	// EventFork: a process was started.
	EventFork EventKind = iota
	// EventReady: it serves.
	EventReady
	// EventExit: it has ended.
	EventExit
	// EventDead: it crashed too often; the slot stays empty for a while.
	EventDead
	// EventDisconnect: its socketpair has ended, by Self.Close or with the process: neither messages nor connections reach
	// it any more. It comes once before EventExit.
	EventDisconnect
)

// String is the kind in one word.
func (k EventKind) String() string {
	if k > EventDisconnect {
		return fmt.Sprintf("event %d", uint8(k))
	}
	return [...]string{"fork", "ready", "exit", "dead", "disconnect"}[k]
}

// Event is something that happened to a worker.
type Event struct {
	Kind   EventKind
	Worker *Worker
	// Err is how the process ended, of EventExit; nil is exit code 0.
	Err error
	// Wanted says, of EventExit, that the primary had asked for the end.
	Wanted bool
}
