package brokertest

import (
	"slices"
	"sync"
)

// paced makes one of n streams wait for what seen receives, so that the streams last while something else happens.
func paced(seen *recorder, n int, send func([]byte) error) func([]byte) error {
	const ahead = 32
	sent := 0
	return func(p []byte) error {
		sent++
		if err := send(p); err != nil {
			return err
		}
		return seen.await("own publications", func() bool { return len(seen.list) >= n*(sent-ahead) })
	}
}

// held makes a stream wait for a channel before its message k.
func held(moment <-chan struct{}, k int, send func([]byte) error) func([]byte) error {
	sent := 0
	return func(p []byte) error {
		if sent == k {
			<-moment
		}
		sent++
		return send(p)
	}
}

func testOverload(b *bench) {
	conn := b.Conn(1, 1)
	b.recorders[1].live(conn)
	before, during, after := b.publisher(0, 1, 50), b.publisher(0, 2, 50), b.publisher(0, 3, 50)
	mine, letters := b.publisher(2, 1, 50), b.letters(2, conn, 50)
	b.run(before)
	b.settle(b.all())
	recovered := b.Overload(2)
	b.run(during, mine, letters)          // messages of the overloaded worker get through
	b.settleFrom(b.all(), []int{0, 1, 3}) // otherwise its own messages might come back after it has recovered
	recovered()
	b.run(after)
	b.settle(b.all())
	for _, i := range []int{0, 1, 3} {
		got := b.recorders[i].got()
		for _, s := range []stream{before, during, after, mine} {
			b.wantStream(got, s)
		}
	}
	b.wantStream(b.recorders[1].got(), letters)
	got := b.recorders[2].got()
	b.wantStream(got, before)
	b.wantStream(got, after)
	b.wantNumbered(got)
	if len(got) != before.n+after.n {
		b.Errorf("the overloaded worker: got %d publications, want %d", len(got), before.n+after.n)
	}
	b.wantGap(2, "news", before.n, during.n+mine.n)
	for _, i := range []int{0, 1, 3} {
		if gaps := b.recorders[i].missed(); len(gaps) > 0 {
			b.Errorf("worker %d, which missed nothing: got %+v", i, gaps)
		}
	}
}

// wantGap checks that a worker received a gap for a topic after n messages.
func (b *bench) wantGap(worker int, topic string, n, missed int) {
	b.Helper()
	told := 0
	for _, g := range b.recorders[worker].missed() {
		if g.Topic == topic {
			told += int(g.Conn)
		}
		if g.at != n || g.Topic == "" {
			b.Errorf("worker %d: got %+v, want a topic, after %d messages", worker, g, n)
		}
	}
	if told != missed {
		b.Errorf("worker %d was told of %d publications to %s that it has missed, want %d", worker, told, topic, missed)
	}
}

func testLeaveJoin(b *bench) {
	seen := b.recorders[0]
	streams := []stream{b.publisher(0, 1, 600), b.publisher(3, 1, 600)}
	for i := range streams {
		streams[i].send = paced(seen, len(streams), streams[i].send)
	}
	joined := make(chan struct{})
	join := sync.OnceFunc(func() { close(joined) })
	streams[1].send = held(joined, 500, streams[1].send) // so that something is left for the new worker
	sent := make(chan struct{})
	go func() { // ends when everything is sent
		defer close(sent)
		b.run(streams...)
	}()
	defer func() { join(); <-sent }()
	b.must(seen.await("some publications", func() bool { return len(seen.list) >= 50 }))
	b.Leave(1)
	left := len(b.recorders[1].got())
	b.must(seen.await("more publications", func() bool { return len(seen.list) >= 400 }))
	if got := len(b.recorders[1].got()); got != left {
		b.Errorf("a worker that has left delivered %d publications", got-left)
	}
	b.Join(1)
	join()
	<-sent
	last := b.publisher(1, 2, 20) // by the new one
	b.run(last)
	b.settle(b.all())
	all := b.recorders[0].got()
	for _, s := range append(streams, last) {
		b.wantStream(all, s)
	}
	for _, i := range []int{2, 3} {
		if !slices.EqualFunc(b.recorders[i].got(), all, same) {
			b.Errorf("worker %d: got another order than worker 0", i)
		}
	}
	got := b.recorders[1].got()
	if !slices.EqualFunc(got[:left], all[:left], same) {
		b.Error("the worker that left: got something else than the beginning")
	}
	rest := got[left:]
	if len(rest) < last.n+100 || !slices.EqualFunc(rest, all[len(all)-len(rest):], same) {
		b.Errorf("the worker that came: got something else than the end, or too little of it: %d", len(rest))
	}
}

func testHomeless(b *bench) {
	conn := b.Conn(1, 7)
	b.recorders[2].live(conn)
	b.Leave(1)
	b.must(b.Worker(0).SendTo(conn, 1, []byte("found")))
	b.settle([]int{0, 2, 3})
	b.wantOnly(2, 1)
	b.Join(1)
	b.must(b.Worker(0).SendTo(conn, 1, []byte("found again")))
	b.settle(b.all())
	b.wantOnly(2, 2)
}
