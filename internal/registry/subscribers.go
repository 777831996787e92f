package registry

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/expedite-go/expedite/internal/telemetry"
)

// LogQuery selects log lines of all processes.
type LogQuery struct {
	Filter telemetry.Filter
	Live   bool // lines as they are logged, until the context ends
	Recent bool // first the latest lines
}

// subscription is a LogQuery on its way to a worker.
type subscription struct {
	ID     uint64           `json:"id"`
	Filter telemetry.Filter `json:"match"`
	Live   bool             `json:"live"`
	Recent bool             `json:"recent"`
	Stop   bool             `json:"stop"` // end the subscription of this ID
}

const (
	// subscriberQueue is the number of lines that may wait for a subscriber.
	subscriberQueue = 1024
	// maxLines bounds the lines of one message in bytes.
	maxLines = 64 << 10
)

// subscribers receive log lines of all processes, in the primary.
type subscribers struct {
	s *Server

	mu   sync.Mutex
	last uint64
	live map[uint64]*subscriber
}

type subscriber struct {
	subscription
	lines chan []byte
}

// newSubscribers begins with a random number: workers may still know those of the primary before this one.
func newSubscribers(s *Server) *subscribers {
	return &subscribers{s: s, last: rand.Uint64() >> 1, live: make(map[uint64]*subscriber)}
}

// all returns the subscriptions that a new worker must know.
func (l *subscribers) all() []subscription {
	l.mu.Lock()
	defer l.mu.Unlock()
	list := make([]subscription, 0, len(l.live))
	for _, sub := range l.live {
		list = append(list, sub.subscription)
	}
	return list
}

// deliver passes on the lines of a worker. It never blocks.
func (l *subscribers) deliver(b []byte) {
	if len(b) < 8 {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	sub := l.live[binary.LittleEndian.Uint64(b)]
	if sub == nil {
		return
	}
	for line := range bytes.SplitSeq(b[8:], []byte("\n")) {
		select {
		case sub.lines <- bytes.Clone(line):
		default: // the worker's next line about lost lines shows it
		}
	}
}

// Logs writes the log lines of all processes that match. It blocks until the latest are written or, with Live, until
// ctx ends.
func (s *Server) Logs(ctx context.Context, q LogQuery, write func([]byte) error) error {
	l := s.subscribers
	sub := &subscriber{
		subscription: subscription{Filter: q.Filter, Live: q.Live, Recent: q.Recent},
		lines:        make(chan []byte, subscriberQueue),
	}
	l.mu.Lock()
	l.last++
	sub.ID = l.last
	if q.Live {
		l.live[sub.ID] = sub
	}
	l.mu.Unlock()
	defer l.end(sub)
	stop, recent, err := subscribe(s.journal, sub.subscription, func(lines []byte) error { l.deliver(lines); return nil })
	if err != nil {
		return err
	}
	defer stop()
	b, err := json.Marshal(sub.subscription)
	if err != nil {
		return err
	}
	for _, a := range s.ask(ctx, opFollow, b) {
		if a.err != nil {
			s.log.Warn("the log lines of a worker are missing", "error", a.err)
			continue
		}
		recent = append(recent, bytes.Split(a.payload, []byte("\n"))...)
	}
	for _, line := range sortedByTime(recent) {
		if err := write(line); err != nil {
			return err
		}
	}
	for q.Live {
		select {
		case line := <-sub.lines:
			if err := write(line); err != nil {
				return err
			}
		case <-ctx.Done():
			return nil
		}
	}
	return nil
}

// end tells the workers that a subscription has ended.
func (l *subscribers) end(sub *subscriber) {
	l.mu.Lock()
	delete(l.live, sub.ID)
	l.mu.Unlock()
	if !sub.Live {
		return
	}
	sub.Stop = true
	if b, err := json.Marshal(sub.subscription); err == nil {
		ctx, cancel := context.WithTimeout(context.Background(), orderTimeout)
		defer cancel()
		l.s.ask(ctx, opFollow, b)
	}
}

// ReopenLogs has all workers continue in new log files.
func (s *Server) ReopenLogs(ctx context.Context) error {
	var err error
	for _, a := range s.ask(ctx, opReopen, nil) {
		err = errors.Join(err, a.err)
	}
	return err
}

// subscribe sends the lines of this process that match until stop is called, and returns the latest. Stop is never nil.
func subscribe(
	j *telemetry.Journal, sub subscription, send func([]byte) error,
) (stop func(), recent [][]byte, err error) {
	stop = func() {}
	if sub.Live {
		var level slog.Level
		if sub.Filter.Level != "" {
			if err := level.UnmarshalText([]byte(sub.Filter.Level)); err != nil {
				return nil, nil, fmt.Errorf("expedite: level %q: want debug, info, warn or error", sub.Filter.Level)
			}
		}
		f, err := j.Subscribe(telemetry.SubscribeOptions{Level: level, Queue: subscriberQueue})
		if err != nil {
			return nil, nil, fmt.Errorf("expedite: %w", err)
		}
		ended := make(chan struct{})
		stop = func() { f.Close(); <-ended }
		go func() { // ends with stop
			defer close(ended)
			forward(f, sub, send)
		}()
	}
	if sub.Recent {
		for _, line := range j.Recent() {
			if sub.Filter.Match(line) {
				recent = append(recent, line)
			}
		}
	}
	return stop, recent, nil
}

// forward sends the lines that match, several in one message when they come fast.
func forward(f *telemetry.Subscriber, sub subscription, send func([]byte) error) {
	var lost uint64
	head := binary.LittleEndian.AppendUint64(nil, sub.ID)
	for line := range f.C() {
		batch := bytes.Clone(head)
		add := func(line []byte) {
			if sub.Filter.Match(line) {
				if len(batch) > len(head) {
					batch = append(batch, '\n')
				}
				batch = append(batch, line...)
			}
		}
		add(line)
		for len(f.C()) > 0 && len(batch) < maxLines {
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
			_ = send(batch) // lines that find no room are lost
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
		_ = json.Unmarshal(line, &head) // a line without a time comes first
		list = append(list, timed{head.Time, line})
	}
	slices.SortStableFunc(list, func(a, b timed) int { return a.at.Compare(b.at) })
	sorted := make([][]byte, len(list))
	for i, t := range list {
		sorted[i] = t.line
	}
	return sorted
}
