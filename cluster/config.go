package cluster

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"reflect"
	"runtime"
	"time"
)

// The defaults of Config.
const (
	defaultStartTimeout = 30 * time.Second
	defaultQueueLimit   = 16 << 20
	defaultOutputLimit  = 1 << 20
)

// MaxMessage is the longest message and, less 8 bytes, the longest report, in bytes.
const MaxMessage = maxFrame

const maxFrame = 64 << 20

// MaxWorkers is the largest number of slots.
const MaxWorkers = 1000

// Config is what a primary runs. Every field may be zero.
type Config struct {
	// Exec is the program of the workers. Empty is the one that runs now, as it is now: a worker that is started
	// later is of the same build, whatever lies in its place on disk by then; only Primary.Reload takes that. This
	// and the next five are the first Settings, which Primary.Setup changes.
	Exec string
	// Args are its arguments, without its name. Nil is those of this process, if Exec is empty.
	Args []string
	// Env is added to the environment of the workers, which is that of this process.
	Env []string
	// Dir is their working directory. Empty is that of this process.
	Dir string
	// Stdout and Stderr receive what workers write there. Nil is this process's own; io.Discard makes them silent.
	// Workers never wait for them: see OutputLimit.
	Stdout, Stderr io.Writer
	// Credential is who the workers are. Nil is the user of this process.
	Credential *Credential
	// Workers is the number of slots, at most MaxWorkers. 0 is one per core; negative is an error.
	Workers int
	// Listen is the TCP address that clients come to. Empty is none. With port 0 the system chooses one.
	Listen string
	// Scheduling is how connections find their worker.
	Scheduling Policy
	// Restart tells when a worker that has died is started again.
	Restart Restart
	// Refusal is written to clients that come while no worker serves and none is about to: the breaker of every slot is
	// open, or its next start is more than a second away. Their sockets are closed after it. Nil closes them without a
	// word. The bytes must not change.
	Refusal []byte
	// StartTimeout is the time a worker has until it is ready; then it is killed, which counts as a crash. 0 is 30 s;
	// negative is an error.
	StartTimeout time.Duration
	// Heartbeat is how long a worker that has reported once may be silent; then it counts as hanging, and is killed and
	// replaced. 0 is for ever; negative is an error.
	Heartbeat time.Duration
	// QueueLimit is the number of bytes that may wait on the way to one worker; beyond, Send fails with
	// ErrOverloaded. A message that finds the queue empty is taken whatever its length. 0 is 16 MiB;
	// negative is an error.
	QueueLimit int
	// OutputLimit is the number of bytes of workers' output that may wait for each of Stdout and Stderr. Lines beyond
	// it are dropped; Stats.OutputLost counts them. 0 is 1 MiB; negative is an error.
	OutputLimit int
	// Logger receives what an operator must know. Nil is slog.Default. A goroutine of its own calls it: nothing waits
	// for a handler that is slow.
	Logger *slog.Logger
	// OnEvent is told what happens to workers, by the goroutine that runs them: it must neither block nor wait for what
	// that goroutine does. Fork, Setup, Drain, Stop and both Disconnect are for another goroutine.
	OnEvent func(Event)
	// OnMessage receives a worker's messages, which are valid until it returns. It must not block for long.
	OnMessage func(w *Worker, m []byte)
	// OnHandle receives what Self.SendHandle sent: a message, valid until it returns, and a handle, which is the
	// receiver's to close. The handle is nil if this process could not take it, for want of descriptors. Nil closes
	// what comes. Stats.HandlesLost counts both.
	OnHandle func(w *Worker, m []byte, h Handle)
	// Inherit goes on with what the program that this process ran before has left, instead of starting anew: Workers,
	// Listen and Scheduling are what they were, whatever stands here. See Primary.Exec.
	Inherit *Inheritance
	// OnMove is told where a move of connections stands, by the goroutine that runs the workers: see MoveStep. It must
	// neither block nor call the methods of Primary that wait.
	OnMove func(MoveEvent)
	// OnReport receives a worker's report, valid until it returns.
	OnReport func(w *Worker, report []byte)
}

func (c Config) withDefaults() (Config, error) {
	switch {
	case c.Workers < 0 || c.Workers > MaxWorkers:
		return c, fmt.Errorf("%d workers: want 1 to %d", c.Workers, MaxWorkers)
	case c.StartTimeout < 0 || c.QueueLimit < 0 || c.OutputLimit < 0 || c.Heartbeat < 0:
		return c, errors.New("a negative StartTimeout, QueueLimit, OutputLimit or Heartbeat")
	case isNilPointer(c.Stdout) || isNilPointer(c.Stderr):
		return c, errors.New("a nil pointer as Stdout or Stderr")
	case c.Scheduling > None:
		return c, fmt.Errorf("unknown scheduling: %v", c.Scheduling)
	}
	if c.Workers == 0 {
		c.Workers = min(runtime.NumCPU(), MaxWorkers)
	}
	if c.StartTimeout == 0 {
		c.StartTimeout = defaultStartTimeout
	}
	if c.QueueLimit == 0 {
		c.QueueLimit = defaultQueueLimit
	}
	if c.OutputLimit == 0 {
		c.OutputLimit = defaultOutputLimit
	}
	if c.Logger == nil {
		c.Logger = slog.Default()
	}
	c.Restart = c.Restart.withDefaults()
	return c, nil
}

// isNilPointer reports whether w holds a pointer that is nil: unlike a nil interface, it cannot be written to.
func isNilPointer(w io.Writer) bool {
	r := reflect.ValueOf(w)
	return r.Kind() == reflect.Pointer && r.IsNil()
}

// Errors that callers branch on.
var (
	// ErrUnsupported says that this platform has no worker processes.
	ErrUnsupported = errors.New("cluster: not supported on this platform")
	// ErrOverloaded says that a message was not sent because the queue is full.
	ErrOverloaded = errors.New("cluster: queue full")
	// ErrTooLong says that a message is longer than MaxMessage.
	ErrTooLong = errors.New("cluster: message too long")
	// ErrDisconnected says that the other side is gone.
	ErrDisconnected = errors.New("cluster: disconnected")
	// ErrStopped says that the primary has stopped.
	ErrStopped = errors.New("cluster: stopped")
	// ErrHandle says that a handle is of no kind that can be sent, or that a descriptor is not what it was said to be.
	ErrHandle = errors.New("cluster: no handle that can be passed")
	// ErrNotServing says that Serve must come first.
	ErrNotServing = errors.New("cluster: the worker does not serve yet")
	// ErrNotWorker says that Join was called in a process that no primary has started.
	ErrNotWorker = errors.New("cluster: this process is no worker")
)
