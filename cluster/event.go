package cluster

import (
	"fmt"
	"net"
	"syscall"
)

// State is the state of a worker.
type State uint8

// The states.
const (
	StateStarting State = iota // it has not called Self.Ready
	StateReady                 // it serves
	StateMoving                // it serves, and its connections are moving away
	StateDraining              // it was asked to exit, or has disconnected
	StateDead                  // its process has ended
)

// String returns the state as one word.
func (s State) String() string {
	if s > StateDead {
		return fmt.Sprintf("state %d", uint8(s))
	}
	return [...]string{"starting", "ready", "moving", "draining", "dead"}[s]
}

// EventKind is the kind of an Event.
type EventKind uint8

// The kinds of events.
const (
	// EventFork: a process was started.
	EventFork EventKind = iota
	// EventReady: the worker has called Self.Ready.
	EventReady
	// EventExit: the process has ended.
	EventExit
	// EventDead: workers of the slot crashed too often. It stays empty for a while.
	EventDead
	// EventDisconnect: the worker's socketpair was closed, by Self.Close or with the process. No more messages and
	// connections reach it. It comes once, before EventExit.
	EventDisconnect
	// EventOnline: the process has called Join. It comes before EventReady, and before the worker's messages.
	EventOnline
	// EventListening: the process accepts at Event.Addr because of Self.Listen, Self.ListenPacket or Self.Listening.
	EventListening
	// EventSetup: Primary.Setup was called; Primary.Settings returns the new settings. Event.Worker is nil.
	EventSetup
	// EventError: something failed. If Event.Err is a *StartError, a process could not be started; the primary will try
	// again. Event.Worker is then the last one of the slot, or nil. If it is ErrDisconnected, the worker disconnected
	// before it had received handles that were sent to it; they are closed.
	EventError
	// EventInherit: the worker was started by the program that this process ran before. It replaces EventFork as the
	// first event of the worker.
	EventInherit
)

// String returns the kind as one word.
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
	// Worker is the worker that the event is about. There are no hooks for single workers: compare it or its ID.
	Worker *Worker
	// Err is, for EventExit, how the process ended; nil is exit code 0. For EventDead and EventError it is what went
	// wrong.
	Err error
	// ExitCode and Signal are, for EventExit, the exit code and 0, or -1 and the signal that killed the process.
	ExitCode int
	Signal   syscall.Signal
	// Addr is, for EventListening, where the worker accepts. Its Network is tcp, udp or unix.
	Addr net.Addr
	// Wanted is set, for EventExit and EventDisconnect, if the primary had asked the worker to exit.
	Wanted bool
}
