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

// patience limits every wait. It is far longer than any of them takes.
const patience = 20 * time.Second

// fence is the topic of publications that show that everything before has arrived.
const fence = "fence"

// gap is a Gap that a worker received, with the length of recorder.list at that time.
type gap struct {
	broker.Envelope
	at int
}

// recorder records what a worker receives.
type recorder struct {
	mu     sync.Mutex
	more   sync.Cond
	conns  map[uint64]bool // those that live here
	list   []broker.Envelope
	gaps   []gap
	fences []string
	last   uint64            // number of the last publication, including fences
	tokens map[uint64]uint64 // numbers in the answers to Worker.Fence, by token
	asked  map[uint64]int    // number of messages by connection, whether it lives here or not
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
		return false // it is ignored
	case broker.Gap:
		r.gaps = append(r.gaps, gap{e, len(r.list)})
		return false
	case broker.Fence:
		r.tokens[e.Conn] = e.Seq
		return false
	case broker.Past:
		r.list = append(r.list, e)
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

// leave makes a connection no longer live here.
func (r *recorder) leave(conn uint64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.conns, conn)
}

// latest returns the number of the last publication.
func (r *recorder) latest() uint64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.last
}

// missed returns a copy of the gaps.
func (r *recorder) missed() []gap {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.gaps)
}

// got returns a copy of what was received, except fences.
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

// await waits until done, which is called with r.mu held, returns true. It fails the test after patience.
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
	recorders []*recorder // of the first workers
	next      *recorder   // of the first worker that Succeed starts
	fenced    int
}

func (b *bench) recorder(i int) *recorder {
	if i == len(b.recorders) {
		return b.next
	}
	return b.recorders[i]
}

// all returns the numbers of the workers.
func (b *bench) all() []int {
	var list []int
	for i := range b.recorders {
		list = append(list, i)
	}
	return list
}

// settle waits until everything that was sent has arrived at the workers who, none of which may have left.
func (b *bench) settle(who []int) {
	b.Helper()
	b.settleFrom(who, who)
}

// settleFrom waits until everything that the workers senders sent has arrived at the workers who. Directed messages
// may be bounced, so each sender publishes twice, each time after the publication of the sender before it has
// arrived.
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

// fence waits until worker i has received the answer to a fence, and returns the number in it.
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

// run sends streams concurrently and waits until they are sent.
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

// wantStream checks that list has all messages of a stream once, in order.
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
