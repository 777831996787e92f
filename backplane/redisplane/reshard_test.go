package redisplane_test

import (
	"errors"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/expedite-go/expedite/backplane"
	"github.com/expedite-go/expedite/backplane/redisplane"
	"github.com/expedite-go/expedite/internal/redistest"
)

// follower listens to topics of a writer, and reads what it may have missed when it begins to listen again. It checks that
// everything is in what was pushed since then or in what was read, in the same epoch, and that nothing is pushed twice.
type follower struct {
	*redisplane.Redis
	t *testing.T

	mu     sync.Mutex
	topics map[string]*followed
}

// followed is what a follower knows of a topic.
type followed struct {
	epoch, latest uint64 // of what was pushed or read
	pushed        uint64 // the latest offset that was pushed
	begun, missed int    // calls of Listening and Missing
	listening     bool
	first         uint64 // the first offset that was pushed since Listening
	head          uint64 // what was read since Listening
	read          bool
}

// follow starts a follower. It is closed with the test.
func follow(t *testing.T, url string, topics ...string) *follower {
	t.Helper()
	f := &follower{Redis: newRedis(t, redisplane.Config{}, url), t: t, topics: make(map[string]*followed)}
	for _, one := range topics {
		f.topics[one] = &followed{}
	}
	f.Start(f)
	t.Cleanup(func() {
		if err := f.Close(); err != nil {
			t.Error(err)
		}
	})
	f.Subscribe(topics...)
	f.until("all topics are listened to", topics, func(h *followed) bool { return h.listening && h.read })
	return f
}

func (f *follower) Receive(list []backplane.Message) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, one := range list {
		h, at := f.topics[one.Topic], one.At
		if string(one.Payload) != strconv.FormatUint(at.Offset, 10) {
			f.t.Errorf("%s: offset %d has message %s", one.Topic, at.Offset, one.Payload)
		}
		if at.Offset <= h.pushed || h.first != 0 && at.Offset != h.pushed+1 {
			f.t.Errorf("%s: message %d comes after %d, and Missing was not called", one.Topic, at.Offset, h.pushed)
		}
		if h.listening && h.first == 0 {
			h.first = at.Offset
		}
		h.pushed = at.Offset
		f.know(one.Topic, at)
	}
}

// know takes an epoch and an offset that was pushed or read. The caller holds the lock.
func (f *follower) know(topic string, at backplane.Position) {
	h := f.topics[topic]
	if h.epoch != 0 && at.Epoch != h.epoch {
		f.t.Errorf("%s: the epoch is %d, and was %d", topic, at.Epoch, h.epoch)
	}
	h.epoch, h.latest = at.Epoch, max(h.latest, at.Offset)
	if h.read && h.first > h.head+1 {
		f.t.Errorf("%s: %d was read, and %d is the first that was pushed", topic, h.head, h.first)
	}
}

func (f *follower) Listening(topics []string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, one := range topics {
		h := f.topics[one]
		h.begun++
		h.listening, h.first, h.read = true, 0, false
		f.catchUp(one, h.begun)
	}
}

func (f *follower) Missing(topics []string, _ error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, one := range topics {
		h := f.topics[one]
		h.missed++
		h.listening, h.first, h.read = false, 0, false
	}
}

// catchUp reads what is not known of a topic. The caller holds the lock.
func (f *follower) catchUp(topic string, begun int) {
	after := f.topics[topic].latest
	again := func() {
		time.AfterFunc(10*time.Millisecond, func() {
			f.mu.Lock()
			defer f.mu.Unlock()
			if f.topics[topic].begun == begun {
				f.catchUp(topic, begun)
			}
		})
	}
	err := f.Read(topic, backplane.Range{After: after, Keep: keep()}, func(p backplane.Page, err error) {
		if err != nil {
			again()
			return
		}
		f.mu.Lock()
		defer f.mu.Unlock()
		f.take(topic, begun, after, p)
	})
	if err != nil && !errors.Is(err, backplane.ErrClosed) {
		again()
	}
}

// take takes a page that was asked for after an offset. The caller holds the lock.
func (f *follower) take(topic string, begun int, after uint64, p backplane.Page) {
	for i, one := range p.Entries {
		if want := after + uint64(i) + 1; one.Offset != want || string(one.Payload) != strconv.FormatUint(want, 10) {
			f.t.Errorf("%s: offset %d is read with message %s, want %d", topic, one.Offset, one.Payload, want)
		}
	}
	if p.Head != after+uint64(len(p.Entries)) {
		f.t.Errorf("%s: %d messages after %d are read, the head is %d", topic, len(p.Entries), after, p.Head)
	}
	if h := f.topics[topic]; h.begun == begun && h.listening {
		h.read, h.head = true, p.Head
	}
	f.know(topic, backplane.Position{Epoch: p.Epoch, Offset: p.Head})
}

// until waits until ok returns true for all topics.
func (f *follower) until(what string, topics []string, ok func(h *followed) bool) {
	f.t.Helper()
	redistest.Until(f.t, what, func() bool {
		f.mu.Lock()
		defer f.mu.Unlock()
		return !slices.ContainsFunc(topics, func(one string) bool { return !ok(f.topics[one]) })
	})
}

// wantAll checks that everything of a writer, which has settled, was pushed or read.
func (f *follower) wantAll(w *writer) {
	f.t.Helper()
	for i, one := range w.topics {
		f.until("everything is pushed or read", []string{one}, func(h *followed) bool {
			return h.listening && h.read && h.latest == uint64(w.next[i])
		})
	}
}

// TestHistoryResharded: a topic whose slot moves with its keys keeps its history and its epoch. It waits while one of its
// keys, or both, are at the new server, and other topics do not. Nothing is lost or taken twice.
func TestHistoryResharded(t *testing.T) {
	t.Parallel()
	c := redistest.StartCluster(t)
	m := start(t, redisplane.Config{}, c.URL())
	m.healthy()
	moving, others := newWriter(m, "{x}0", "{x}1"), newWriter(m, names(9)...)
	late := newWriter(m, "{x}late") // has no keys before its slot moves
	f := follow(t, c.URL(), slices.Concat(moving.topics, others.topics)...)
	moving.during(func() {
		others.during(func() {
			for round := range 6 {
				moving.some()
				slot := c.Begin("expedite:0:{x}")
				if round == 0 {
					late.write()
				}
				moving.some()
				keys := slot.Keys() // the hash and the stream of the first topic, then of the others
				if len(keys) < 4 {
					t.Errorf("the slot has %q", keys)
					return
				}
				one := round % 2
				slot.Take(keys[one])
				m.fails("TRYAGAIN ")
				others.some()
				slot.Take(keys[1-one])
				m.fails("ASK ")
				others.some()
				slot.Take(keys[2:]...)
				others.some()
				slot.End()
			}
			moving.some()
			late.write()
		})
	})
	slot := c.Begin("expedite:0:{x}")
	slot.Take(slot.Keys()...)
	late.write()
	m.fails("ASK ")
	slot.End()
	m.healthy() // though the former server gets nothing more
	for _, w := range []*writer{moving, others, late} {
		w.wantAll()
	}
	f.wantAll(moving)
	f.wantAll(others)
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, one := range moving.topics {
		if h := f.topics[one]; h.missed == 0 {
			t.Errorf("%s: Missing was not called: has the slot moved?", one)
		}
	}
	for _, one := range others.topics {
		if h := f.topics[one]; h.missed > 0 {
			t.Errorf("%s: Missing was called %d times for a topic that has not moved", one, h.missed)
		}
	}
}
