package expedite

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/expedite-go/expedite/internal/spool"
	"github.com/expedite-go/expedite/internal/telemetry"
)

// journal is the log of this process: what Config.Logger writes, or a file, with tokens left out and a tap for
// operators.
type journal struct {
	*slog.Logger
	tap  *telemetry.Tap
	out  *spool.Queue    // on the way to Config.Logger, or to the file
	file *telemetry.File // nil without Config.LogDir
	// sampled bounds the lines about clients that come and go.
	sampled *telemetry.Sampler
	// faults bounds those about panics, which no storm of the others should hide.
	faults *telemetry.Sampler
}

// defaultLogSample is the number of lines about clients that come and go, per worker and second.
const defaultLogSample = 20

// Lines that wait to be written, and how long the end of Run waits for them.
const (
	defaultLogQueue = 1024
	logFlush        = time.Second
)

// openJournal makes the log of a slot; 0 is the primary's.
func (a *App) openJournal(slot int) error {
	j := &journal{}
	base := a.cfg.Logger.Handler()
	if a.cfg.LogDir != "" {
		name := "primary.log"
		if slot > 0 {
			name = fmt.Sprintf("worker-%d.log", slot)
		}
		f, err := telemetry.OpenFile(filepath.Join(a.cfg.LogDir, name), telemetry.FileOptions{})
		if err != nil {
			return fmt.Errorf("expedite: Config.LogDir: %w", err)
		}
		j.file = f
		base = leveled{slog.NewJSONHandler(f, &slog.HandlerOptions{Level: slog.LevelDebug}), base}
	}
	h, ok := base.(*spool.Handler)
	if !ok {
		h = spool.NewHandler(base, spool.New(a.cfg.LogQueue))
	}
	j.out = h.Queue()
	j.tap = telemetry.NewTap(h)
	j.Logger = slog.New(telemetry.NewRedactor(j.tap))
	if slot > 0 {
		j.Logger = j.With("worker", slot)
	}
	sample := a.cfg.LogSample
	if sample == 0 {
		sample = defaultLogSample
	}
	j.sampled = telemetry.NewSampler(max(sample, 0), time.Now)
	j.faults = telemetry.NewSampler(defaultLogSample, time.Now)
	a.journal.Store(j)
	return nil
}

// flushLogs waits a while for the lines of this process to be written. From then on lines are written at once.
func (a *App) flushLogs() {
	if j := a.journal.Load(); j != nil {
		ctx, cancel := context.WithTimeout(context.Background(), logFlush)
		defer cancel()
		_ = j.out.Close(ctx) // what is not taken then is lost
	}
}

// flushBeforeExec waits a moment for the lines of this process to be written: a new program follows in its place.
func (a *App) flushBeforeExec() {
	ctx, cancel := context.WithTimeout(context.Background(), logFlush/10)
	defer cancel()
	_ = a.journal.Load().out.Flush(ctx)
}

// leveled writes what another handler would.
type leveled struct {
	slog.Handler
	level slog.Handler
}

// Enabled is what the other handler says.
func (l leveled) Enabled(ctx context.Context, level slog.Level) bool {
	return l.level.Enabled(ctx, level)
}

// WithAttrs is part of slog.Handler.
func (l leveled) WithAttrs(attrs []slog.Attr) slog.Handler {
	return leveled{l.Handler.WithAttrs(attrs), l.level}
}

// WithGroup is part of slog.Handler.
func (l leveled) WithGroup(name string) slog.Handler {
	return leveled{l.Handler.WithGroup(name), l.level}
}

// Logger is where this process logs: its lines are shown by `expedite logs`, and tokens are left out of them. Nothing
// waits for them to be written: see Config.Logger. Before Run it is Config.Logger.
func (a *App) Logger() *slog.Logger {
	if j := a.journal.Load(); j != nil {
		return j.Logger
	}
	return a.cfg.Logger
}

// ReopenLogs makes all processes go on in new files in Config.LogDir, after the old ones were renamed, or else by
// renaming them. In a worker it is this process alone. Any goroutine.
func (a *App) ReopenLogs(ctx context.Context) error {
	var err error
	if j := a.journal.Load(); j != nil && j.file != nil {
		err = j.file.Reopen()
	}
	if d := a.desk.Load(); d != nil {
		for _, answer := range d.registry.ask(ctx, opReopen, nil) {
			err = errors.Join(err, answer.err)
		}
	}
	if err != nil {
		return fmt.Errorf("expedite: logs not reopened: %w", err)
	}
	return nil
}

// follow is what somebody who reads the log lines of all processes wants to see.
type follow struct {
	ID     uint64           `json:"id"`
	Filter telemetry.Filter `json:"match"`
	Live   bool             `json:"live"`   // lines as they come
	Recent bool             `json:"recent"` // in the answer, the latest lines
	Stop   bool             `json:"stop"`
}

// followQueue is the number of log lines that wait for one who reads them; maxFollowBatch bounds what a worker sends in
// one message, in bytes.
const (
	followQueue    = 1024
	maxFollowBatch = 64 << 10
)

// follows are those who read log lines, at the primary.
type follows struct {
	r *registry

	mu      sync.Mutex
	last    uint64
	readers map[uint64]*reader
}

// reader is one of them.
type reader struct {
	follow
	lines chan []byte
}

// newFollows makes the list. Numbers begin anywhere: workers may still know those of the primary before.
func newFollows(r *registry) *follows {
	return &follows{r: r, last: rand.Uint64() >> 1, readers: make(map[uint64]*reader)}
}

// all are those that go on: what a new worker must know.
func (f *follows) all() []follow {
	f.mu.Lock()
	defer f.mu.Unlock()
	list := make([]follow, 0, len(f.readers))
	for _, r := range f.readers {
		list = append(list, r.follow)
	}
	return list
}

// lines passes on what a worker has sent. It never blocks.
func (f *follows) lines(b []byte) {
	if len(b) < 8 {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	r := f.readers[binary.LittleEndian.Uint64(b)]
	if r == nil {
		return
	}
	for line := range bytes.SplitSeq(b[8:], []byte("\n")) {
		select {
		case r.lines <- bytes.Clone(line):
		default: // the next line that the worker counts as lost tells
		}
	}
}

// read writes the lines of all processes that match, until ctx ends or, if they are not to be followed, the latest are
// written.
func (f *follows) read(ctx context.Context, own *journal, want follow, write func([]byte) error) error {
	r := &reader{follow: want, lines: make(chan []byte, followQueue)}
	f.mu.Lock()
	f.last++
	r.ID = f.last
	if want.Live {
		f.readers[r.ID] = r
	}
	f.mu.Unlock()
	defer f.end(r)
	stop, recent, err := own.follow(r.follow, func(lines []byte) error { f.lines(lines); return nil })
	if err != nil {
		return err
	}
	defer stop()
	b, err := json.Marshal(r.follow)
	if err != nil {
		return err
	}
	for _, a := range f.r.ask(ctx, opFollow, b) {
		if a.err != nil {
			f.r.log.Warn("a worker's log lines are missing", "error", a.err)
			continue
		}
		recent = append(recent, bytes.Split(a.payload, []byte("\n"))...)
	}
	for _, line := range sortedByTime(recent) {
		if err := write(line); err != nil {
			return err
		}
	}
	for want.Live {
		select {
		case line := <-r.lines:
			if err := write(line); err != nil {
				return err
			}
		case <-ctx.Done():
			return nil
		}
	}
	return nil
}

// end tells the workers that somebody reads no more.
func (f *follows) end(r *reader) {
	f.mu.Lock()
	delete(f.readers, r.ID)
	f.mu.Unlock()
	if !r.Live {
		return
	}
	r.Stop = true
	if b, err := json.Marshal(r.follow); err == nil {
		ctx, cancel := context.WithTimeout(context.Background(), orderTimeout)
		defer cancel()
		f.r.ask(ctx, opFollow, b)
	}
}

// follow sends the lines of this process that are wanted to where they are read, until stop, and returns the latest.
func (j *journal) follow(want follow, send func([]byte) error) (stop func(), recent [][]byte, err error) {
	stop = func() {}
	if want.Live {
		var level slog.Level
		if want.Filter.Level != "" {
			if err := level.UnmarshalText([]byte(want.Filter.Level)); err != nil {
				return nil, nil, fmt.Errorf("expedite: level %q: want debug, info, warn or error", want.Filter.Level)
			}
		}
		f, err := j.tap.Subscribe(telemetry.SubscribeOptions{Level: level, Queue: followQueue})
		if err != nil {
			return nil, nil, fmt.Errorf("expedite: %w", err)
		}
		ended := make(chan struct{})
		stop = func() { f.Close(); <-ended }
		go func() { // ends with stop
			defer close(ended)
			pass(f, want, send)
		}()
	}
	if want.Recent {
		for _, line := range j.tap.Recent() {
			if want.Filter.Match(line) {
				recent = append(recent, line)
			}
		}
	}
	return stop, recent, nil
}

// pass sends the lines of f that match, several at once when they come fast.
func pass(f *telemetry.Subscriber, want follow, send func([]byte) error) {
	var lost uint64
	head := binary.LittleEndian.AppendUint64(nil, want.ID)
	for line := range f.C() {
		batch := bytes.Clone(head)
		add := func(line []byte) {
			if want.Filter.Match(line) {
				if len(batch) > len(head) {
					batch = append(batch, '\n')
				}
				batch = append(batch, line...)
			}
		}
		add(line)
		for len(f.C()) > 0 && len(batch) < maxFollowBatch {
			more, ok := <-f.C()
			if !ok {
				break
			}
			add(more)
		}
		if n := f.Lost(); n > lost {
			batch = append(batch, fmt.Sprintf("\n{\"lost\":%d}", n-lost)...)
			lost = n
		}
		if len(batch) > len(head) {
			_ = send(batch) // what finds no room is not worth a wait
		}
	}
}

// sortedByTime sorts lines of JSON by their time. Those without one come first.
func sortedByTime(lines [][]byte) [][]byte {
	type timed struct {
		at   time.Time
		line []byte
	}
	list := make([]timed, 0, len(lines))
	for _, line := range lines {
		if len(line) == 0 {
			continue
		}
		var head struct {
			Time time.Time `json:"time"`
		}
		_ = json.Unmarshal(line, &head) // one without a time comes first
		list = append(list, timed{head.Time, line})
	}
	slices.SortStableFunc(list, func(a, b timed) int { return a.at.Compare(b.at) })
	sorted := make([][]byte, len(list))
	for i, t := range list {
		sorted[i] = t.line
	}
	return sorted
}
