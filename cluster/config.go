package cluster

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"runtime"
	"time"
)

// Defaults of Config.
const (
	DefaultStartTimeout = 30 * time.Second
	DefaultQueueLimit   = 16 << 20
)

// MaxMessage is the longest message and, less 8 bytes, the longest report, in bytes.
const MaxMessage = maxFrame

const maxFrame = 64 << 20

// MaxWorkers is the largest number of slots.
const MaxWorkers = 1000

// Config is what a primary runs. Every field may be zero.
type Config struct {
	// Exec is the program of the workers. Empty is the one that runs now.
	Exec string
	// Args are its arguments, without its name. Nil is those of this process.
	Args []string
	// Env is added to the environment of the workers, which is that of this process.
	Env []string
	// Workers is the number of slots, at most MaxWorkers. 0 is one per core; negative is an error.
	Workers int
	// Listen is the TCP address that clients come to. Empty is none. With port 0 the system chooses one.
	Listen string
	// Scheduling is how connections find their worker.
	Scheduling Policy
	// Restart tells when a worker that has died is started again.
	Restart Restart
	// StartTimeout is the time a worker has until it is ready; then it is killed, which counts as a crash. 0 is
	// DefaultStartTimeout; negative is an error.
	StartTimeout time.Duration
	// QueueLimit is the number of bytes that may wait on the way to one worker; beyond, Send fails with ErrOverloaded. A
	// message that finds the queue empty is taken whatever its length. 0 is DefaultQueueLimit; negative is an error.
	QueueLimit int
	// Logger receives what an operator must know. Nil is slog.Default.
	Logger *slog.Logger
	// Stdout and Stderr receive what workers write there. Nil is this process's own.
	Stdout, Stderr io.Writer
	// OnEvent is told what happens to workers, by the goroutine that runs them: it must neither block nor call Drain or
	// Stop.
	OnEvent func(Event)
	// OnMessage receives a worker's messages, which are valid until it returns. It must not block for long.
	OnMessage func(w *Worker, m []byte)
	// OnReport receives a worker's report, valid until it returns.
	OnReport func(w *Worker, report []byte)
}

func (c Config) withDefaults() (Config, error) {
	switch {
	case c.Workers < 0 || c.Workers > MaxWorkers:
		return c, fmt.Errorf("%d workers: want 1 to %d", c.Workers, MaxWorkers)
	case c.StartTimeout < 0 || c.QueueLimit < 0:
		return c, errors.New("a negative StartTimeout or QueueLimit")
	case c.Scheduling > None:
		return c, fmt.Errorf("unknown scheduling: %v", c.Scheduling)
	}
	if c.Exec == "" {
		exe, err := os.Executable()
		if err != nil {
			return c, err
		}
		c.Exec = exe
		if c.Args == nil {
			c.Args = os.Args[1:]
		}
	}
	if c.Workers == 0 {
		c.Workers = min(runtime.NumCPU(), MaxWorkers)
	}
	if c.StartTimeout == 0 {
		c.StartTimeout = DefaultStartTimeout
	}
	if c.QueueLimit == 0 {
		c.QueueLimit = DefaultQueueLimit
	}
	if c.Logger == nil {
		c.Logger = slog.Default()
	}
	if c.Stdout == nil {
		c.Stdout = os.Stdout
	}
	if c.Stderr == nil {
		c.Stderr = os.Stderr
	}
	c.Restart = c.Restart.withDefaults()
	return c, nil
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
	// ErrNotWorker says that Join was called in a process that no primary has started.
	ErrNotWorker = errors.New("cluster: this process is no worker")
)
