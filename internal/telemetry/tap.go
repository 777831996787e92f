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
	maxRecent      = 256      // lines that are kept
	maxRecentBytes = 64 << 10 // of all lines that are kept
	maxLogLine     = 8 << 10  // bytes; a longer line is shortened to its message
	maxMessage     = 1 << 10  // bytes of the message of a shortened line
	maxSubscribers = 16
	defaultQueue   = 256 // lines
	maxQueue       = 4096
)

// ErrTooManySubscribers says that a log has as many followers as it takes.
var ErrTooManySubscribers = errors.New("telemetry: the log has 16 followers already")

// Tap is a handler that passes records on and lets others read along: it keeps the last lines, and has followers that
// get each as it comes. Lines are JSON objects, as slog.JSONHandler makes them. Make one with [NewTap]. Handlers that
// WithAttrs and WithGroup make share lines and followers.
type Tap struct {
	next slog.Handler
	log  *tapped
	// steps lead from a new JSON handler to one with this handler's attributes and groups.
	steps []func(slog.Handler) slog.Handler
	pens  *sync.Pool // of *pen
}

// pen makes lines. One goroutine at a time uses it: a record may hold values that log in their turn.
type pen struct {
	b bytes.Buffer
	h slog.Handler // writes to b
}

// tapped is what all handlers of a Tap have in common.
type tapped struct {
	least     atomic.Int64 // the lowest level of a follower
	lost      atomic.Uint64
	shortened atomic.Uint64

	mu        sync.Mutex // a leaf: held while lines are put into queues, never while something is written
	recent    [][]byte   // the newest last
	bytes     int        // of recent
	followers []*Subscriber
}

// NewTap makes a handler that passes records on to next.
func NewTap(next slog.Handler) *Tap {
	t := &tapped{}
	t.least.Store(math.MaxInt64)
	return newTap(next, t, nil)
}

func newTap(next slog.Handler, log *tapped, steps []func(slog.Handler) slog.Handler) *Tap {
	t := &Tap{next: next, log: log, steps: steps, pens: &sync.Pool{}}
	t.pens.New = func() any {
		p := &pen{}
		p.h = slog.NewJSONHandler(&p.b, &slog.HandlerOptions{Level: slog.Level(math.MinInt)})
		for _, step := range steps {
			p.h = step(p.h)
		}
		return p
	}
	return t
}

// Enabled says whether the next handler or a follower wants records of a level.
func (t *Tap) Enabled(ctx context.Context, level slog.Level) bool {
	return int64(level) >= t.log.least.Load() || t.next.Enabled(ctx, level)
}

// WithAttrs makes a handler with more attributes.
func (t *Tap) WithAttrs(attrs []slog.Attr) slog.Handler {
	if len(attrs) == 0 {
		return t
	}
	return t.with(func(h slog.Handler) slog.Handler { return h.WithAttrs(attrs) })
}

// WithGroup makes a handler that puts what follows into a group.
func (t *Tap) WithGroup(name string) slog.Handler {
	if name == "" {
		return t
	}
	return t.with(func(h slog.Handler) slog.Handler { return h.WithGroup(name) })
}

func (t *Tap) with(step func(slog.Handler) slog.Handler) *Tap {
	return newTap(step(t.next), t.log, append(slices.Clip(t.steps), step))
}

// Handle passes a record on, if the next handler wants it, and its line to the followers. The error is the next
// handler's.
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

// line is a record in JSON, without a newline, or nil if there is no JSON for it.
func (t *Tap) line(ctx context.Context, r slog.Record) []byte {
	p := t.pens.Get().(*pen)
	p.b.Reset()
	err := p.h.Handle(ctx, r)
	line := bytes.TrimSuffix(p.b.Bytes(), []byte("\n"))
	if err == nil && len(line) <= maxLogLine {
		line = bytes.Clone(line)
		t.pens.Put(p)
		return line
	}
	// The pen goes, too: its buffer is as long as the line.
	t.log.shortened.Add(1)
	line, err = json.Marshal(struct {
		Time    string `json:"time"`
		Level   string `json:"level"`
		Message string `json:"msg"`
		Bytes   int    `json:"shortened"`
	}{r.Time.Format("2006-01-02T15:04:05.999999999Z07:00"), r.Level.String(), cutText(r.Message), len(line)})
	if err != nil { // cannot be: strings and a number
		return nil
	}
	return line
}

// cutText is the beginning of a message that may be too long.
func cutText(s string) string {
	if len(s) <= maxMessage {
		return s
	}
	return s[:maxMessage] + "…" // a character that is cut in half becomes one of replacement in JSON
}

// Recent is a copy of the list of the last lines that the next handler got too, the oldest first: at most 256 of at
// most 64 KiB together. Nobody changes the lines.
func (t *Tap) Recent() [][]byte {
	t.log.mu.Lock()
	defer t.log.mu.Unlock()
	return slices.Clone(t.log.recent)
}

// Lost counts lines that followers did not get because they were slow.
func (t *Tap) Lost() uint64 { return t.log.lost.Load() }

// Shortened counts lines of which only the message was kept because they were longer than 8 KiB.
func (t *Tap) Shortened() uint64 { return t.log.shortened.Load() }

// SubscribeOptions say what a follower gets. The zero value is info and above, and a queue of 256 lines.
type SubscribeOptions struct {
	Level slog.Level // the lowest, also below what the next handler takes
	Queue int        // lines that may wait; 0 is 256, at most 4096
}

// Subscriber gets lines as they come. It belongs to whoever made it with [Tap.Subscribe] and closes it.
type Subscriber struct {
	log   *tapped
	level slog.Level
	lines chan []byte
	lost  atomic.Uint64
}

// Subscribe begins to read along. It fails with ErrTooManyFollowers if 16 do already.
func (t *Tap) Subscribe(o SubscribeOptions) (*Subscriber, error) {
	if o.Queue <= 0 {
		o.Queue = defaultQueue
	}
	f := &Subscriber{log: t.log, level: o.Level, lines: make(chan []byte, min(o.Queue, maxQueue))}
	t.log.mu.Lock()
	defer t.log.mu.Unlock()
	if len(t.log.followers) >= maxSubscribers {
		return nil, ErrTooManySubscribers
	}
	t.log.followers = append(t.log.followers, f)
	t.log.setLeast()
	return f, nil
}

// C brings the lines, without newlines, until Close. Nobody changes them.
func (f *Subscriber) C() <-chan []byte { return f.lines }

// Lost counts the lines that found the queue full: nobody waits for a follower.
func (f *Subscriber) Lost() uint64 { return f.lost.Load() }

// Close ends it: C brings what waits, and is closed. Further calls change nothing.
func (f *Subscriber) Close() {
	f.log.mu.Lock()
	defer f.log.mu.Unlock()
	if i := slices.Index(f.log.followers, f); i >= 0 {
		f.log.followers = slices.Delete(f.log.followers, i, i+1)
		f.log.setLeast()
		close(f.lines)
	}
}

// setLeast finds the lowest level of a follower. The caller holds the lock.
func (t *tapped) setLeast() {
	least := int64(math.MaxInt64)
	for _, f := range t.followers {
		least = min(least, int64(f.level))
	}
	t.least.Store(least)
}

// add gives a line to those who want it.
func (t *tapped) add(line []byte, level slog.Level, keep bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if keep {
		t.keep(line)
	}
	for _, f := range t.followers {
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

// keep puts a line behind the recent ones, and lets the oldest go.
func (t *tapped) keep(line []byte) {
	t.recent, t.bytes = append(t.recent, line), t.bytes+len(line)
	gone := 0
	for len(t.recent)-gone > maxRecent || t.bytes > maxRecentBytes {
		t.bytes -= len(t.recent[gone])
		t.recent[gone] = nil
		gone++
	}
	t.recent = t.recent[gone:] // append moves the list once in a while, and leaves the gone behind
}

var _ slog.Handler = (*Tap)(nil)
