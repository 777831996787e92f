package engine

import (
	"fmt"
	"testing"

	"github.com/expedite-go/expedite/ws"
)

// gapRoutes returns endpoints whose connections subscribe to the topic that their path names, or to none. A message
// blocks until release; a gap is reported to the client.
func gapRoutes(release <-chan struct{}) map[string]*Route {
	routes := make(map[string]*Route)
	handler := func(topic string) funcs {
		return funcs{
			open: func(c *Conn) {
				if topic != "" {
					_, _ = c.Subscribe(topic)
				}
				c.Send(ws.OpText, []byte("open"))
			},
			message: func(*Conn, ws.Opcode, []byte) { <-release },
			gap: func(c *Conn, topic string, missed uint64) {
				<-release
				c.Send(ws.OpText, fmt.Appendf(nil, "gap %s %d", topic, missed))
			},
		}
	}
	for _, topic := range []string{"a", "b", ""} {
		routes["/gap/"+topic] = &Route{Handler: handler(topic), Gaps: true}
		routes["/closed/"+topic] = &Route{Handler: handler(topic)}
	}
	return routes
}

// subscriber opens a connection, which may be subscribed to a topic.
func subscriber(t *testing.T, f *fixture, path string) *peer {
	t.Helper()
	p := f.dial(t, path)
	p.want(ws.OpText, []byte("open"))
	return p
}

func (p *peer) wantTexts(texts ...string) {
	p.t.Helper()
	for _, text := range texts {
		p.want(ws.OpText, []byte(text))
	}
}

// publish publishes all numbers of the range from to to (inclusive) on a topic.
func (f *fixture) publish(t *testing.T, topic string, from, to uint64) {
	t.Helper()
	on(t, f, func() {
		for seq := from; seq <= to; seq++ {
			f.Engine.Publish(seq, topic, ws.OpText, fmt.Append(nil, seq))
		}
	})
}

// TestGap: the subscribers of a topic with missing publications are informed, after what came before and before what
// came after, even if a callback takes long. Those whose handler has no Gap are closed. Nobody else notices.
func TestGap(t *testing.T) {
	release := make(chan struct{})
	f := start(t, Config{}, gapRoutes(release))
	informed, other, closed, otherClosed := subscriber(t, f, "/gap/a"), subscriber(t, f, "/gap/b"), subscriber(t, f, "/closed/a"), subscriber(t, f, "/closed/b")
	f.publish(t, "a", 1, 1)
	on(t, f, func() { f.Engine.Gap(3, Gap{Topic: "a", Missed: 2}) })
	f.publish(t, "a", 4, 5) // the callback still waits
	f.publish(t, "b", 6, 6)
	informed.wantTexts("1")
	other.wantTexts("6")
	otherClosed.wantTexts("6")
	closed.wantTexts("1")
	if reason := closed.wantClose(ws.CloseTryAgainLater); reason != gapReason {
		t.Errorf("got reason %q", reason)
	}
	release <- struct{}{}
	informed.wantTexts("gap a 2", "4", "5")
	f.publish(t, "a", 7, 7)
	informed.wantTexts("7")
	if got := f.Stats().Limits["gap"]; got != 2 {
		t.Errorf("%d gaps are counted, want 2", got)
	}
	if pos := f.position; pos != 7 {
		t.Errorf("the position is %d, want 7", pos)
	}
}

// TestGapOfAnyTopic: if the topics are unknown, all connections with subscriptions are informed.
func TestGapOfAnyTopic(t *testing.T) {
	release := make(chan struct{})
	close(release)
	f := start(t, Config{}, gapRoutes(release))
	a, b, none, closed := subscriber(t, f, "/gap/a"), subscriber(t, f, "/gap/b"), subscriber(t, f, "/gap/"), subscriber(t, f, "/closed/")
	on(t, f, func() { f.Engine.Gap(9, Gap{Topic: "", Missed: 0}) })
	a.wantTexts("gap  0")
	b.wantTexts("gap  0")
	for _, p := range []*peer{none, closed} {
		p.send(ws.OpPing, nil) // nothing arrives before the answer
		if ev, err := p.next(); err != nil || ev.Kind != ws.KindPong {
			t.Errorf("without subscriptions: got %+v, %v", ev, err)
		}
	}
}

// TestGapBehindGap: the policy of the route bounds what waits behind a Gap that does not return.
func TestGapBehindGap(t *testing.T) {
	release := make(chan struct{})
	routes := gapRoutes(release)
	routes["/gap/a"].QueueLimit = 1 << 10
	routes["/gap/b"].QueueLimit, routes["/gap/b"].Policy = 1<<10, PolicyDropNewest
	f := start(t, Config{}, routes)
	closes, drops := subscriber(t, f, "/gap/a"), subscriber(t, f, "/gap/b")
	on(t, f, func() { f.Engine.Gap(1, Gap{Topic: "a", Missed: 1}); f.Engine.Gap(2, Gap{Topic: "b", Missed: 1}) })
	f.publish(t, "a", 3, 100)
	f.publish(t, "b", 101, 200)
	closes.wantClose(ws.CloseTryAgainLater)
	close(release)
	drops.wantTexts("gap b 1", "101", "102")
	if got := f.Stats().Limits; got["queue_close"] != 1 || got["queue_drop_newest"] == 0 {
		t.Errorf("got %v", got)
	}
}

// TestGapWhileMoving: a connection that moves is informed of a gap in its new worker if it has missed something because
// of it. A gap that waits for a callback moves with the connection, and so does what waits behind it.
func TestGapWhileMoving(t *testing.T) {
	release := make(chan struct{})
	p := startPair(t, func() map[string]*Route { return gapRoutes(release) })
	c := subscriber(t, p.here, "/gap/a")
	behind := subscriber(t, p.here, "/closed/b")
	p.here.publish(t, "a", 1, 1)
	on(t, p.there, func() {
		p.there.Record()
		p.there.Engine.Publish(1, "a", ws.OpText, []byte("1"))
		p.there.Engine.Gap(3, Gap{Topic: "a", Missed: 2})
		p.there.Engine.Publish(4, "a", ws.OpText, []byte("4"))
	})
	var b *Batch
	on(t, p.here, func() { p.here.Depart(-1, func() {}); b, _ = p.here.Freeze(64) })
	p.carry(b, 1)
	on(t, p.here, func() { p.here.Stay() })
	on(t, p.there, p.there.Unrecord)
	p.here, p.there = p.there, p.here
	c.wantTexts("1")
	release <- struct{}{}
	c.wantTexts("gap a 2", "4")

	// A callback runs, and a gap and a publication wait behind it.
	c.send(ws.OpText, []byte("wait"))
	until(t, "the callback runs", func() bool { return p.here.Stats().TextIn == 1 })
	on(t, p.there, func() { p.there.Engine.Gap(4, Gap{Topic: "", Missed: 0}) })
	on(t, p.there, p.there.Record)
	ready := make(chan struct{}, 8)
	on(t, p.here, func() {
		p.here.Depart(-1, func() { ready <- struct{}{} })
		b, _ = p.here.Freeze(64) // asks the connection to pause
		p.here.Engine.Gap(5, Gap{Topic: "a", Missed: 1})
		p.here.Engine.Publish(6, "a", ws.OpText, []byte("6"))
	})
	p.carry(b, 4) // the other one
	release <- struct{}{}
	<-ready
	on(t, p.here, func() { b, _ = p.here.Freeze(64) })
	if b.Len() != 1 {
		t.Fatalf("%d are frozen, want 1", b.Len())
	}
	p.carry(b, 6)
	on(t, p.there, func() { p.there.Engine.Publish(7, "a", ws.OpText, []byte("7")) })
	release <- struct{}{}
	c.wantTexts("gap a 1", "6", "7")
	behind.send(ws.OpPing, nil)
	if ev, err := behind.next(); err != nil || ev.Kind != ws.KindPong {
		t.Errorf("the other one: got %+v, %v", ev, err)
	}
}

// TestGapOfReplay: a connection gets a gap if more was published during its move than the history keeps.
func TestGapOfReplay(t *testing.T) {
	release := make(chan struct{})
	close(release)
	f := start(t, Config{}, gapRoutes(release))
	c, none := subscriber(t, f, "/gap/a"), subscriber(t, f, "/closed/")
	f.publish(t, "a", 1, 1)
	c.wantTexts("1")
	on(t, f, func() {
		f.Record()
		f.Depart(-1, func() {})
		b, _ := f.Freeze(64)
		f.Engine.Publish(2, "a", ws.OpText, []byte("2"))
		big := make([]byte, 1<<20)
		for seq := uint64(3); seq < 3+historyLimit>>20; seq++ {
			f.Engine.Publish(seq, "other", ws.OpBinary, big)
		}
		f.Engine.Publish(1000, "a", ws.OpText, []byte("1000"))
		f.Thaw(b)
		f.Stay()
		f.Unrecord()
	})
	c.wantTexts("gap  0", "1000")
	none.send(ws.OpPing, nil)
	if ev, err := none.next(); err != nil || ev.Kind != ws.KindPong {
		t.Errorf("without subscriptions: got %+v, %v", ev, err)
	}
}
