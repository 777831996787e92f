package brokertest

import (
	"bytes"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/expedite-go/expedite/internal/broker"
)

// patience is how long something may take that must come: far longer than it does, so that a test ends.
const patience = 20 * time.Second

// fence is the topic of publications that say that all before has come.
const fence = "fence"

// gap is what a worker was told that it has missed, and how much of recorder.list had come by then.
type gap struct {
	broker.Envelope
	at int
}

// recorder is what a worker got.
type recorder struct {
	mu     sync.Mutex
	more   sync.Cond
	conns  map[uint64]bool // those that live here
	list   []broker.Envelope
	gaps   []gap
	fences []string
	last   uint64            // number of the latest publication, fences included
	tokens map[uint64]uint64 // numbers that answers to Worker.Fence came with
	asked  map[uint64]int    // how often for a connection, here or not
	within func(broker.Envelope)
}

func newRecorder() *recorder {
	r := &recorder{
		conns: make(map[uint64]bool), asked: make(map[uint64]int),
		tokens: make(map[uint64]uint64),
	}
	r.more.L = &r.mu
	return r
}

func (r *recorder) deliver(e broker.Envelope) (found bool) {
	e.Payload = bytes.Clone(e.Payload)
	r.mu.Lock()
	defer r.mu.Unlock()
	defer r.more.Broadcast()
	switch e.Kind {
	case broker.Publish:
		r.last = e.Seq
		if e.Topic == fence {
			r.fences = append(r.fences, string(e.Payload))
			return false
		}
		r.list = append(r.list, e)
		if r.within != nil {
			r.within(e)
		}
		return false // it means nothing
	case broker.Gap:
		r.gaps = append(r.gaps, gap{e, len(r.list)})
		return false
	case broker.Fence:
		r.tokens[e.Conn] = e.Seq
		return false
	}
	r.asked[e.Conn]++
	if !r.conns[e.Conn] {
		return false
	}
	r.list = append(r.list, e)
	return true
}

// live makes a connection live here.
func (r *recorder) live(conn uint64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.conns[conn] = true
}

// leave makes a connection live here no more.
func (r *recorder) leave(conn uint64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.conns, conn)
}

// latest is the number of the latest publication.
func (r *recorder) latest() uint64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.last
}

// missed is a copy of what was told of gaps.
func (r *recorder) missed() []gap {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.gaps)
}

// got is a copy of what has come but fences.
func (r *recorder) got() []broker.Envelope {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.list)
}

func (r *recorder) timesAsked(conn uint64) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.asked[conn]
}

// await waits until done says so; that is called with r.mu held. It fails when patience ends.
func (r *recorder) await(what string, done func() bool) error {
	late := false
	timer := time.AfterFunc(patience, func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		late = true
		r.more.Broadcast()
	})
	defer timer.Stop()
	r.mu.Lock()
	defer r.mu.Unlock()
	for !done() {
		if late {
			return fmt.Errorf("waited in vain for %s: got %d envelopes", what, len(r.list))
		}
		r.more.Wait()
	}
	return nil
}

// bench is a cluster under test.
type bench struct {
	*testing.T
	Cluster
	recorders []*recorder // of the workers that are there at the start
	next      *recorder   // of the first that Succeed brings
	fenced    int
}

func (b *bench) recorder(i int) *recorder {
	if i == len(b.recorders) {
		return b.next
	}
	return b.recorders[i]
}

// all are the workers.
func (b *bench) all() []int {
	var list []int
	for i := range b.recorders {
		list = append(list, i)
	}
	return list
}

// settle waits until everything that was sent has come to the workers who, who must be there.
func (b *bench) settle(who []int) {
	b.Helper()
	b.settleFrom(who, who)
}

// settleFrom waits until everything that the workers senders sent has come to the workers who. Directed messages go
// there and back again: so each sender publishes after the one before has been heard, twice.
func (b *bench) settleFrom(senders, who []int) {
	b.Helper()
	for range 2 {
		for _, from := range senders {
			b.fenced++
			mark := fmt.Sprint("fence ", b.fenced)
			b.publish(from, fence, mark)
			for _, i := range who {
				r := b.recorder(i)
				b.must(r.await(mark, func() bool { return slices.Contains(r.fences, mark) }))
			}
		}
	}
}

// fence waits until worker i has an answer to a fence, and returns the number that it came with.
func (b *bench) fence(i int) (seq uint64) {
	b.Helper()
	b.fenced++
	token, r := uint64(b.fenced), b.recorder(i)
	b.must(b.Worker(i).Fence(token))
	b.must(r.await("an answer to a fence", func() (ok bool) {
		seq, ok = r.tokens[token]
		return ok
	}))
	return seq
}

func (b *bench) publish(from int, topic, text string) {
	b.Helper()
	b.must(b.Worker(from).Publish(topic, 1, []byte(text)))
}

func (b *bench) must(err error) {
	b.Helper()
	if err != nil {
		b.Fatal(err)
	}
}

// stream sends n numbered messages.
type stream struct {
	name string
	n    int
	send func(payload []byte) error
}

// run sends streams all at once and waits until they are sent.
func (b *bench) run(streams ...stream) {
	b.Helper()
	var wg sync.WaitGroup
	for _, s := range streams {
		wg.Go(func() {
			for k := range s.n {
				if err := s.send(fmt.Appendf(nil, "%s %d", s.name, k)); err != nil {
					b.Errorf("%s %d: %v", s.name, k, err)
					return
				}
			}
		})
	}
	wg.Wait()
}

// wantStream says that list holds a whole stream in order, each message once.
func (b *bench) wantStream(list []broker.Envelope, s stream) {
	b.Helper()
	next := 0
	for _, e := range list {
		var name string
		var k int
		if _, err := fmt.Sscan(string(e.Payload), &name, &k); err != nil || name != s.name {
			continue
		}
		if k != next {
			b.Fatalf("%s: got message %d, want %d", s.name, k, next)
		}
		next++
	}
	if next != s.n {
		b.Errorf("%s: got %d messages, want %d", s.name, next, s.n)
	}
}
