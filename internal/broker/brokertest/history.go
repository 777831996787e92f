package brokertest

import (
	"fmt"
	"testing"

	"github.com/expedite-go/expedite/internal/broker"
)

// Recaller is a Worker that asks for what topics have kept: see broker.Local.Recall.
type Recaller interface {
	Worker
	Recall(q broker.Query) error
}

var _ Recaller = (*broker.Local)(nil)

// RunHistory tests clusters whose Hub has a History that keeps all publications on the topic "kept". Their workers are
// Recallers.
func RunHistory(t *testing.T, start func(t *testing.T, workers int, deliver Deliver) Cluster) {
	t.Helper()
	t.Run("a page comes in its place among publications", func(t *testing.T) {
		b := &bench{T: t, next: newRecorder()}
		for range 3 {
			b.recorders = append(b.recorders, newRecorder())
		}
		b.Cluster = start(t, len(b.recorders), func(i int, e broker.Envelope) bool { return b.recorder(i).deliver(e) })
		testPages(b)
	})
}

// testPages has one worker read the history again and again, in small pages, while the others publish.
func testPages(b *bench) {
	const n = 400
	var streams []stream
	for _, i := range []int{0, 2} {
		w, name := b.Worker(i), fmt.Sprintf("worker%d.kept", i)
		streams = append(streams, stream{name: name, n: n, send: func(p []byte) error { return w.Publish("kept", 1, p) }})
	}
	sent := make(chan struct{})
	go func() { // ends when everything is sent, which the test waits for
		defer close(sent)
		b.run(streams...)
	}()
	reader, r := b.Worker(1).(Recaller), b.recorders[1]
	for round, over := 0, false; !over; round++ {
		select {
		case <-sent:
			over = true // and once more, with everything
		default:
		}
		b.readAll(reader, r, uint64(round))
	}
	b.settle(b.all())
	live := 0
	for _, e := range r.got() {
		switch e.Kind {
		case broker.Publish:
			if live++; e.At.Offset != uint64(live) && e.Topic == "kept" {
				b.Fatalf("got offset %d, want %d", e.At.Offset, live)
			}
		case broker.Past:
			p, err := broker.ParsePage(&e)
			b.must(err)
			if end := int(p.End().Offset); end > live || !p.More && end != live {
				b.Fatalf("got a page up to %d after publication %d, more %v", end, live, p.More)
			}
		}
	}
	if live != 2*n {
		b.Errorf("got %d publications, want %d", live, 2*n)
	}
}

// readAll reads the whole history.
func (b *bench) readAll(w Recaller, r *recorder, token uint64) {
	b.Helper()
	q := broker.Query{Topic: "kept", Last: 1 << 20, Bytes: 1000, Token: token << 32}
	for more := true; more; q.Token++ {
		b.must(w.Recall(q))
		var page broker.Page
		b.must(r.await("a page", func() bool {
			for i := len(r.list) - 1; i >= 0; i-- {
				if e := &r.list[i]; e.Kind == broker.Past && e.Conn == q.Token {
					page, _ = broker.ParsePage(e)
					return true
				}
			}
			return false
		}))
		if page.Lost {
			b.Fatalf("got lost, after %+v", q.After)
		}
		more, q.After = page.More, page.End()
	}
}
