package brokertest

import (
	"slices"
	"sync"

	"github.com/expedite-go/expedite/internal/broker"
)

// traffic sends publications, and letters to a connection, while something else happens. Each stream sends both.
type traffic struct {
	b       *bench
	conn    uint64
	streams []stream
	sent    chan struct{} // closed when everything is sent
	gate    chan struct{} // closed by finish, which the second half of each stream waits for
	once    sync.Once
}

// letter is the prefix of a letter's payload.
const letter = "letter."

// beforeGate is how much each stream may send before finish, so that something is left for the last step.
const beforeGate = 500

// start makes workers 0 and 3 send.
func (b *bench) start(conn uint64) *traffic {
	t := &traffic{b: b, conn: conn, sent: make(chan struct{}), gate: make(chan struct{})}
	for _, i := range []int{0, 3} {
		s, w := b.publisher(i, 9, 1000), b.Worker(i)
		sent := 0
		s.send = paced(b.recorders[0], 2, func(p []byte) error {
			if sent++; sent > beforeGate {
				<-t.gate
			}
			if err := w.SendTo(conn, 2, append([]byte(letter), p...)); err != nil {
				return err
			}
			return w.Publish("news", 1, p)
		})
		t.streams = append(t.streams, s)
	}
	go func() { // ends when everything is sent, which the test waits for
		defer close(t.sent)
		b.run(t.streams...)
	}()
	return t
}

// finish makes the streams send the rest, and waits for that.
func (t *traffic) finish() {
	t.once.Do(func() { close(t.gate) })
	<-t.sent
}

// until waits for the n-th publication.
func (t *traffic) until(n int) {
	t.b.Helper()
	r := t.b.recorders[0]
	t.b.must(r.await("publications", func() bool { return len(r.list) >= n }))
}

// letters returns the letters that worker i received.
func (t *traffic) letters(i int) []broker.Envelope {
	return slices.DeleteFunc(t.b.recorder(i).got(), func(e broker.Envelope) bool { return e.Kind != broker.Send })
}

// news returns the publications that worker i received.
func (t *traffic) news(i int) []broker.Envelope {
	return slices.DeleteFunc(t.b.recorder(i).got(), func(e broker.Envelope) bool { return e.Kind != broker.Publish })
}

// wantAll checks that everything was published, and that all letters arrived: first at worker before and then, if it is
// another one, at worker after.
func (t *traffic) wantAll(before, after int) {
	t.b.Helper()
	news := t.news(0)
	first, rest := t.letters(before), []broker.Envelope(nil)
	if after != before {
		rest = t.letters(after)
	}
	for _, s := range t.streams {
		t.b.wantStream(news, s)
		s.name = letter + s.name
		t.b.wantStream(slices.Concat(first, rest), s)
	}
	if before != after && (len(first) == 0 || len(rest) == 0) {
		t.b.Errorf("got %d letters before and %d after, want some", len(first), len(rest))
	}
}

func testFence(b *bench) {
	const n = 200
	w, r := b.Worker(1), b.recorders[1]
	conn, late := b.Conn(2, 1), 0
	r.live(conn)
	for range n {
		b.must(w.SendTo(conn, 2, []byte("moved")))
		b.must(w.Publish("news", 1, nil))
	}
	seq := b.fence(1)
	published := 0
	for _, e := range r.got() {
		if e.Kind != broker.Publish {
			continue
		}
		published++
		if e.Seq > seq {
			late++
		}
	}
	if seq < n || published != n || late > 0 {
		b.Errorf("got number %d, %d publications, %d later ones; want at least %d, %d, 0", seq, published, late, n, n)
	}
	if got := w.Position(); got < seq {
		b.Errorf("got position %d, want at least %d", got, seq)
	}
	b.settle(b.all())
	if got := len(r.got()); got != 2*n {
		b.Errorf("got %d envelopes, want %d", got, 2*n)
	}
}

func testPosition(b *bench) {
	for range 10 {
		b.publish(0, "news", "before")
	}
	b.settle(b.all())
	start := b.recorders[0].latest()
	next := b.Succeed(1)
	if got := b.fence(next); got != start {
		b.Errorf("got number %d, want %d", got, start)
	}
	if got := b.Worker(next).Position(); got != start {
		b.Errorf("got position %d, want %d", got, start)
	}
	for range 10 {
		b.publish(0, "news", "after")
	}
	b.settle(append(b.all(), next))
	got := b.next.got()
	for k, e := range got {
		if want := start + 1 + uint64(k); e.Seq != want || string(e.Payload) != "after" {
			b.Errorf("got number %d, %q, want %d", e.Seq, e.Payload, want)
		}
	}
	if len(got) != 10 {
		b.Errorf("got %d publications, want 10", len(got))
	}
}

func testReplace(b *bench) {
	conn := b.Conn(1, 1)
	b.recorders[1].live(conn)
	t := b.start(conn)
	defer t.finish()
	t.until(300)
	next := b.Succeed(1)
	start := b.fence(next)
	t.until(500)
	b.Hold(1)
	b.fence(1) // so it has received everything
	b.recorders[1].leave(conn)
	t.until(700)
	b.next.live(conn)
	b.Lead(next)
	t.until(900)
	b.Leave(1)
	t.finish()
	b.settle([]int{0, 2, 3, next})
	t.wantAll(1, next)
	all, old, got := t.news(0), t.news(1), t.news(next)
	if !slices.EqualFunc(old, all[:len(old)], same) {
		b.Error("the worker that left: got something else than the beginning")
	}
	if !slices.EqualFunc(got, all[len(all)-len(got):], same) || len(got)+len(old) < len(all) {
		b.Errorf("its successor: got something else than the end, or too little: %d", len(got))
	}
	if missed := all[len(all)-len(got)-1].Seq; missed > start {
		b.Errorf("its successor: missed number %d, though told %d", missed, start)
	}
	for _, i := range []int{0, 2, 3} {
		if n := b.recorders[i].timesAsked(conn); n != 0 {
			b.Errorf("worker %d was asked %d times", i, n)
		}
	}
}

func testReplaceFails(b *bench) {
	conn := b.Conn(1, 1)
	b.recorders[1].live(conn)
	t := b.start(conn)
	defer t.finish()
	t.until(300)
	next := b.Succeed(1)
	b.Hold(1)
	t.until(500)
	b.Leave(next)
	b.Lead(1)
	t.finish()
	b.settle(b.all())
	t.wantAll(1, 1)
}

func testMove(b *bench) {
	conn := b.Conn(1, 1)
	b.recorders[1].live(conn)
	t := b.start(conn)
	defer t.finish()
	t.until(300)
	b.Hold(1)
	b.fence(1)
	b.recorders[1].leave(conn)
	t.until(500)
	b.recorders[2].live(conn)
	b.must(b.Worker(2).Here(conn))
	b.fence(2) // so the Hub knows
	t.until(700)
	b.Lead(1)
	t.finish()
	b.settle(b.all())
	t.wantAll(1, 2)
	asked := b.recorders[1].timesAsked(conn)
	if want := len(t.letters(1)); asked != want {
		b.Errorf("the first worker: was asked %d times, want %d", asked, want)
	}
	b.recorders[2].leave(conn)
	b.must(b.Worker(2).Gone(conn))
	b.fence(2)
	b.must(b.Worker(0).SendTo(conn, 2, []byte("to nobody")))
	b.settle(b.all())
	if got := b.recorders[1].timesAsked(conn); got != asked+1 {
		b.Errorf("the first worker: was asked %d times after the end, want once", got-asked)
	}
}
