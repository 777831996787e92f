package cluster

import (
	"fmt"
	"net"
	"syscall"
)

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
	// EventDisconnect: its socketpair has ended, by Self.Close or with the process: neither messages nor connections
	// reach it any more. It comes once before EventExit.
	EventDisconnect
	// EventOnline: the process has called Join. It comes before EventReady, and before the worker's messages.
	EventOnline
	// EventListening: the process accepts at Event.Addr, by Self.Listen, Self.ListenPacket or Self.Listening.
	EventListening
	// EventSetup: Primary.Setup was called; Primary.Settings has the outcome. Event.Worker is nil.
	EventSetup
	// EventError: Event.Err could not be done. A *StartError says that a process could not be started, and will be
	// tried again; Event.Worker is then the last one of the slot, or nil. ErrDisconnected says that the worker left
	// before it had got handles that were sent to it: they are closed.
	EventError
	// EventInherit: the worker was started by the program that this process ran before. It is told instead of
	// EventFork, before anything else of the worker.
	EventInherit
)

// String is the kind in one word.
func (k EventKind) String() string {
	if k > EventInherit {
		return fmt.Sprintf("event %d", uint8(k))
	}
	return [...]string{
		"fork", "ready", "exit", "dead", "disconnect", "online", "listening", "setup", "error", "inherit",
	}[k]
}

// Event is something that happened to a worker.
type Event struct {
	Kind EventKind
	// Worker tells whom it is about: there are no hooks per worker, compare it or its ID.
	Worker *Worker
	// Err is how the process ended, of EventExit; nil is exit code 0. Of EventDead and EventError it is what went
	// wrong.
	Err error
	// ExitCode and Signal are how the process ended, of EventExit: -1 and the signal that killed it, or its code and 0.
	ExitCode int
	Signal   syscall.Signal
	// Addr is where the worker accepts, of EventListening. Its Network tells tcp from udp and unix.
	Addr net.Addr
	// Wanted says, of EventExit and EventDisconnect, that the primary had asked for the end.
	Wanted bool
}
