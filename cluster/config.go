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

// Config configures a primary. The zero value is valid.
type Config struct {
	// Exec is the program of the workers. Empty is the program of this process, from the file that is being executed:
	// workers that start later are of the same build even if another file has its name by then. Only Primary.Reload
	// starts another build. Exec and the next five fields are the first Settings, which Primary.Setup changes.
	Exec string
	// Args are its arguments, without the program's name. Nil is those of this process, if Exec is empty.
	Args []string
	// Env is added to the environment of the workers, which is that of this process.
	Env []string
	// Dir is their working directory. Empty is that of this process.
	Dir string
	// Stdout and Stderr receive the output of the workers. Nil is this process's own; io.Discard drops it. Workers
	// never block on them: see OutputLimit.
	Stdout, Stderr io.Writer
	// Credential is the user that the workers run as. Nil is the user of this process.
	Credential *Credential
	// Workers is the number of slots, at most MaxWorkers. 0 is one per core; negative is an error.
	Workers int
	// Listen is the TCP address that clients connect to. Empty is none. With port 0 the system chooses a port.
	Listen string
	// Listeners are further addresses that clients connect to, at most 256 with Listen.
	Listeners []Listener
	// Scheduling determines which worker gets a connection.
	Scheduling Policy
	// Restart determines when a worker that has died is restarted.
	Restart Restart
	// Refusal is written to clients that connect while no worker is ready and none will be soon: in each slot the
	// breaker is open, or the next start is more than a second away. The connection is closed after it. If Refusal is
	// nil, it is only closed. The bytes must not change.
	Refusal []byte
	// StartTimeout is how long a worker may take to become ready. Then it is killed, which counts as a crash. 0 is 30
	// s; negative is an error.
	StartTimeout time.Duration
	// Heartbeat is the longest time between two reports of a worker. A worker that exceeds it is considered to hang; it
	// is killed and replaced. It does not apply before the first report. 0 is no limit; negative is an error.
	Heartbeat time.Duration
	// QueueLimit is the number of bytes that may be queued for one worker. Beyond that, Send returns ErrOverloaded. An
	// empty queue accepts a message of any length. 0 is 16 MiB; negative is an error.
	QueueLimit int
	// OutputLimit is the number of bytes of workers' output that may be queued for each of Stdout and Stderr. Lines
	// that exceed it are dropped; Stats.OutputLost counts them. 0 is 1 MiB; negative is an error.
	OutputLimit int
	// Logger receives what operators need to know. Nil is slog.Default. It is called on a goroutine of its own, so that
	// a slow handler delays nothing.
	Logger *slog.Logger
	// OnEvent receives the events of workers. It is called on the goroutine that manages the workers: it must not
	// block, and must not call Fork, Setup, Drain, Stop or either Disconnect.
	OnEvent func(Event)
	// OnMessage receives the messages of workers. They are valid until it returns. It must not block for long.
	OnMessage func(w *Worker, m []byte)
	// OnHandle receives what Self.SendHandle sent: a message, valid until it returns, and a handle, which it must
	// close. The handle is nil if this process had no descriptor free for it. If OnHandle is nil, handles are closed.
	// Stats.HandlesLost counts both cases.
	OnHandle func(w *Worker, m []byte, h Handle)
	// Inherit continues where the program that this process ran before has stopped, instead of starting anew. Workers and
	// Scheduling are then those of that program. A listener whose name that program had, too, keeps its sockets; others
	// are opened, or taken from Primary.Stage. Those that are in none of the two lists any more are retired: see
	// Listener.Retired. See Primary.Exec.
	Inherit *Inheritance
	// OnMove receives the steps of moves: see MoveStep. It is called on the goroutine that manages the workers: it must
	// not block, and must not call methods of Primary that wait.
	OnMove func(MoveEvent)
	// OnReport receives the reports of workers. They are valid until it returns.
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

// isNilPointer reports whether w holds a nil pointer, to which nothing can be written. A nil interface is the default.
func isNilPointer(w io.Writer) bool {
	r := reflect.ValueOf(w)
	return r.Kind() == reflect.Pointer && r.IsNil()
}

// Errors that callers branch on.
var (
	// ErrUnsupported is returned on platforms without worker processes.
	ErrUnsupported = errors.New("cluster: not supported on this platform")
	// ErrOverloaded is returned if a message was not sent because the queue is full.
	ErrOverloaded = errors.New("cluster: queue full")
	// ErrTooLong is returned for a message that is longer than MaxMessage.
	ErrTooLong = errors.New("cluster: message too long")
	// ErrDisconnected is returned if the other side has disconnected or ended.
	ErrDisconnected = errors.New("cluster: disconnected")
	// ErrStopped is returned after Drain or Stop.
	ErrStopped = errors.New("cluster: stopped")
	// ErrHandle is returned if a handle is of a type that cannot be sent, or if a descriptor is not of the announced
	// type.
	ErrHandle = errors.New("cluster: not a handle that can be sent")
	// ErrNotServing is returned if Serve was not called before.
	ErrNotServing = errors.New("cluster: Serve was not called")
	// ErrNotWorker is returned if Join is called in a process that was not started by a primary.
	ErrNotWorker = errors.New("cluster: this process is not a worker")
)
