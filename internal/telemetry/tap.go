package telemetry

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"math"
	"slices"
	"sync"
	"sync/atomic"
)

const (
	maxRecent      = 256      // lines to keep
	maxRecentBytes = 64 << 10 // of all lines to keep
	maxLogLine     = 8 << 10  // bytes; a longer line is shortened to its message
	maxMessage     = 1 << 10  // bytes of the message of a shortened line
	maxSubscribers = 16
	defaultQueue   = 256 // lines
	maxQueue       = 4096
)

// ErrTooManySubscribers is returned if a log has 16 subscribers already.
var ErrTooManySubscribers = errors.New("telemetry: the log has 16 subscribers already")

// Tap is a handler that passes records on, keeps the last lines, and copies each line to its subscribers. Lines are
// JSON objects, as slog.JSONHandler writes them. Create one with [NewTap]. Handlers returned by WithAttrs and WithGroup
// share lines and subscribers.
type Tap struct {
	next slog.Handler
	log  *sharedLog
	// steps turn a new JSON handler into one with the attributes and groups of this handler.
	steps      []func(slog.Handler) slog.Handler
	formatters *sync.Pool // of *lineFormatter
}

// lineFormatter formats lines. Only one goroutine at a time uses it. A Tap has several, because a record may contain
// values that log, too.
type lineFormatter struct {
	b bytes.Buffer
	h slog.Handler // writes to b
}

// sharedLog is the state that all handlers of a Tap share.
type sharedLog struct {
	least     atomic.Int64 // the lowest level of a subscriber
	lost      atomic.Uint64
	shortened atomic.Uint64

	mu          sync.Mutex // a leaf lock; held while lines are queued, never while anything is written
	recent      [][]byte   // the newest last
	bytes       int        // of recent
	subscribers []*Subscriber
}

// NewTap returns a Tap that passes records on to next.
func NewTap(next slog.Handler) *Tap {
	t := &sharedLog{}
	t.least.Store(math.MaxInt64)
	return newTap(next, t, nil)
}

func newTap(next slog.Handler, log *sharedLog, steps []func(slog.Handler) slog.Handler) *Tap {
	t := &Tap{next: next, log: log, steps: steps, formatters: &sync.Pool{}}
	t.formatters.New = func() any {
		p := &lineFormatter{}
		p.h = slog.NewJSONHandler(&p.b, &slog.HandlerOptions{Level: slog.Level(math.MinInt)})
		for _, step := range steps {
			p.h = step(p.h)
		}
		return p
	}
	return t
}

// Enabled reports whether the next handler or a subscriber wants records of a level.
func (t *Tap) Enabled(ctx context.Context, level slog.Level) bool {
	return int64(level) >= t.log.least.Load() || t.next.Enabled(ctx, level)
}

// WithAttrs returns a handler with more attributes.
func (t *Tap) WithAttrs(attrs []slog.Attr) slog.Handler {
	if len(attrs) == 0 {
		return t
	}
	return t.with(func(h slog.Handler) slog.Handler { return h.WithAttrs(attrs) })
}

// WithGroup returns a handler that puts later attributes into a group.
func (t *Tap) WithGroup(name string) slog.Handler {
	if name == "" {
		return t
	}
	return t.with(func(h slog.Handler) slog.Handler { return h.WithGroup(name) })
}

func (t *Tap) with(step func(slog.Handler) slog.Handler) *Tap {
	return newTap(step(t.next), t.log, append(slices.Clip(t.steps), step))
}

// Handle passes a record on if the next handler wants it, and its line to the subscribers. It returns the error of the
// next handler.
func (t *Tap) Handle(ctx context.Context, r slog.Record) error {
	kept := t.next.Enabled(ctx, r.Level)
	if !kept && int64(r.Level) < t.log.least.Load() {
		return nil
	}
	var err error
	if kept {
		err = t.next.Handle(ctx, r.Clone())
	}
	if line := t.line(ctx, r); line != nil {
		t.log.add(line, r.Level, kept)
	}
	return err
}

// line returns a record as JSON without a newline, or nil if it has no JSON.
func (t *Tap) line(ctx context.Context, r slog.Record) []byte {
	p := t.formatters.Get().(*lineFormatter)
	p.b.Reset()
	err := p.h.Handle(ctx, r)
	line := bytes.TrimSuffix(p.b.Bytes(), []byte("\n"))
	if err == nil && len(line) <= maxLogLine {
		line = bytes.Clone(line)
		t.formatters.Put(p)
		return line
	}
	// The formatter is dropped: its buffer is as long as the line.
	t.log.shortened.Add(1)
	line, err = json.Marshal(struct {
		Time    string `json:"time"`
		Level   string `json:"level"`
		Message string `json:"msg"`
		Bytes   int    `json:"shortened"`
	}{r.Time.Format("2006-01-02T15:04:05.999999999Z07:00"), r.Level.String(), cutText(r.Message), len(line)})
	if err != nil { // cannot happen: strings and a number
		return nil
	}
	return line
}

// cutText shortens a message that is too long.
func cutText(s string) string {
	if len(s) <= maxMessage {
		return s
	}
	return s[:maxMessage] + "…" // JSON replaces half a character by the replacement character
}

// Recent returns the last lines that the next handler got, the oldest first: at most 256, and at most 64 KiB in total.
// Do not modify the lines.
func (t *Tap) Recent() [][]byte {
	t.log.mu.Lock()
	defer t.log.mu.Unlock()
	return slices.Clone(t.log.recent)
}

// Lost returns the number of lines that subscribers missed because they were slow.
func (t *Tap) Lost() uint64 { return t.log.lost.Load() }

// Shortened returns the number of lines longer than 8 KiB, which were shortened to their message.
func (t *Tap) Shortened() uint64 { return t.log.shortened.Load() }

// SubscribeOptions says which lines a subscriber receives. The zero value selects level info and above, and a queue of
// 256 lines.
type SubscribeOptions struct {
	Level slog.Level // the lowest; may be below that of the next handler
	Queue int        // lines that may wait; 0 is 256, the maximum 4096
}

// Subscriber receives lines as they are logged. Create one with [Tap.Subscribe], and close it.
type Subscriber struct {
	log   *sharedLog
	level slog.Level
	lines chan []byte
	lost  atomic.Uint64
}

// Subscribe adds a subscriber. If there are 16 already, it returns ErrTooManySubscribers.
func (t *Tap) Subscribe(o SubscribeOptions) (*Subscriber, error) {
	if o.Queue <= 0 {
		o.Queue = defaultQueue
	}
	f := &Subscriber{log: t.log, level: o.Level, lines: make(chan []byte, min(o.Queue, maxQueue))}
	t.log.mu.Lock()
	defer t.log.mu.Unlock()
	if len(t.log.subscribers) >= maxSubscribers {
		return nil, ErrTooManySubscribers
	}
	t.log.subscribers = append(t.log.subscribers, f)
	t.log.setLeast()
	return f, nil
}

// C returns the channel of lines, which have no newline. Do not modify them. Close closes the channel.
func (f *Subscriber) C() <-chan []byte { return f.lines }

// Lost returns the number of lines that were dropped because the queue was full.
func (f *Subscriber) Lost() uint64 { return f.lost.Load() }

// Close ends the subscription. C still delivers the queued lines, and is then closed. Further calls do nothing.
func (f *Subscriber) Close() {
	f.log.mu.Lock()
	defer f.log.mu.Unlock()
	if i := slices.Index(f.log.subscribers, f); i >= 0 {
		f.log.subscribers = slices.Delete(f.log.subscribers, i, i+1)
		f.log.setLeast()
		close(f.lines)
	}
}

// setLeast computes the lowest level of a subscriber. The caller holds the lock.
func (t *sharedLog) setLeast() {
	least := int64(math.MaxInt64)
	for _, f := range t.subscribers {
		least = min(least, int64(f.level))
	}
	t.least.Store(least)
}

// add passes a line to the subscribers that want its level.
func (t *sharedLog) add(line []byte, level slog.Level, keep bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if keep {
		t.keep(line)
	}
	for _, f := range t.subscribers {
		if level < f.level {
			continue
		}
		select {
		case f.lines <- line:
		default:
			f.lost.Add(1)
			t.lost.Add(1)
		}
	}
}

// keep adds a line to the recent ones, and drops the oldest.
func (t *sharedLog) keep(line []byte) {
	t.recent, t.bytes = append(t.recent, line), t.bytes+len(line)
	gone := 0
	for len(t.recent)-gone > maxRecent || t.bytes > maxRecentBytes {
		t.bytes -= len(t.recent[gone])
		t.recent[gone] = nil
		gone++
	}
	t.recent = t.recent[gone:] // append reallocates now and then, and frees the dropped ones
}

var _ slog.Handler = (*Tap)(nil)
