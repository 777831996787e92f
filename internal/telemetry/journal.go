package telemetry

import (
	"context"
	"fmt"
	"log/slog"
	"path/filepath"
	"time"

	"github.com/expedite-go/expedite/internal/spool"
)

// Journal is the log of one process. Its lines pass a redactor, a [Tap] and a bounded queue on their way to the
// application's handler or to a file, so that nothing waits for a log. It is safe for concurrent use.
type Journal struct {
	*slog.Logger
	// Clients limits the lines about clients that connect and disconnect.
	Clients *Sampler
	// Faults limits the lines about panics. It is apart from Clients, so that a storm of clients cannot hide a panic.
	Faults *Sampler

	tap  *Tap
	out  *spool.Queue // to the handler, or to the file
	file *File        // nil: lines go to the application's handler
}

// JournalConfig configures a Journal.
type JournalConfig struct {
	// Handler receives the lines and decides which levels are logged.
	Handler slog.Handler
	// Dir is the folder of log files. Empty writes to Handler.
	Dir string
	// Slot is the worker whose log this is. 0 is the primary.
	Slot int
	// Queue is the number of lines that may wait to be written.
	Queue int
	// PerSecond is the number of lines about clients in a second. Negative logs none, 0 is 20.
	PerSecond int
}

const (
	// defaultPerSecond is the number of lines about clients, and of those about panics, in a second.
	defaultPerSecond = 20
	// journalClose is how long Close waits for the queue, and journalFlush how long Flush does.
	journalClose, journalFlush = time.Second, 100 * time.Millisecond
)

// OpenJournal opens the log of a process.
func OpenJournal(c JournalConfig) (*Journal, error) {
	j := &Journal{}
	base := c.Handler
	if c.Dir != "" {
		name := "primary.log"
		if c.Slot > 0 {
			name = fmt.Sprintf("worker-%d.log", c.Slot)
		}
		f, err := OpenFile(filepath.Join(c.Dir, name), FileOptions{})
		if err != nil {
			return nil, err
		}
		j.file = f
		base = leveled{slog.NewJSONHandler(f, &slog.HandlerOptions{Level: slog.LevelDebug}), c.Handler}
	}
	h, ok := base.(*spool.Handler)
	if !ok {
		h = spool.NewHandler(base, spool.New(c.Queue))
	}
	j.out = h.Queue()
	j.tap = NewTap(h)
	j.Logger = slog.New(NewRedactor(j.tap))
	if c.Slot > 0 {
		j.Logger = j.With("worker", c.Slot)
	}
	if c.PerSecond == 0 {
		c.PerSecond = defaultPerSecond
	}
	j.Clients = NewSampler(max(c.PerSecond, 0), time.Now)
	j.Faults = NewSampler(defaultPerSecond, time.Now)
	return j, nil
}

// Close waits up to a second for the queued lines, and drops the rest. Later lines are written at once.
func (j *Journal) Close() {
	ctx, cancel := context.WithTimeout(context.Background(), journalClose)
	defer cancel()
	_ = j.out.Close(ctx) // lines that are still queued are lost
}

// Flush waits up to 100 ms for the queued lines: another program is about to replace this one.
func (j *Journal) Flush() {
	ctx, cancel := context.WithTimeout(context.Background(), journalFlush)
	defer cancel()
	_ = j.out.Flush(ctx)
}

// Lost returns the number of lines that found the queue full.
func (j *Journal) Lost() uint64 { return j.out.Lost() }

// Reopen continues in a new file. Without a file it does nothing.
func (j *Journal) Reopen() error {
	if j.file == nil {
		return nil
	}
	return j.file.Reopen()
}

// Subscribe begins to copy each line to a subscriber.
func (j *Journal) Subscribe(o SubscribeOptions) (*Subscriber, error) { return j.tap.Subscribe(o) }

// Recent returns the latest lines, as JSON.
func (j *Journal) Recent() [][]byte { return j.tap.Recent() }

// Sampled is a handler that writes to the log what Clients allows.
func (j *Journal) Sampled() slog.Handler { return j.Clients.Handler(j.Handler()) }

// leveled writes the records that another handler is enabled for.
type leveled struct {
	slog.Handler
	level slog.Handler
}

// Enabled implements slog.Handler with the levels of the other handler.
func (l leveled) Enabled(ctx context.Context, level slog.Level) bool {
	return l.level.Enabled(ctx, level)
}

// WithAttrs implements slog.Handler.
func (l leveled) WithAttrs(attrs []slog.Attr) slog.Handler {
	return leveled{l.Handler.WithAttrs(attrs), l.level}
}

// WithGroup implements slog.Handler.
func (l leveled) WithGroup(name string) slog.Handler {
	return leveled{l.Handler.WithGroup(name), l.level}
}
