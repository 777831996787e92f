package engine

import (
	"fmt"
	"testing"

	"github.com/expedite-go/expedite/ws"
)

// repairRoutes returns an endpoint whose Gap goes on after the first message of the topic. Its messages wait for release,
// and so does Gap when it begins.
func repairRoutes(release <-chan struct{}) map[string]*Route {
	return map[string]*Route{"/": {Gaps: true, Handler: funcs{
		open: func(c *Conn) {
			for _, topic := range []string{"kept", "other"} {
				if _, err := c.Subscribe(topic); err != nil {
					c.Send(ws.OpText, []byte(err.Error()))
				}
			}
			c.Send(ws.OpText, []byte("open"))
		},
		message: func(*Conn, ws.Opcode, []byte) { <-release },
		gap: func(c *Conn, topic string, _ uint64) {
			<-release
			r, err := c.SubscribeFrom(topic, From{After: Place{5, 1}})
			c.Send(ws.OpText, fmt.Appendf(nil, "%v %d @%d %v", r.OK, r.Missed, r.At.Offset, err))
		},
	}}}
}

// miss makes a connection miss the second message, and publishes others, of which those after the gap wait behind it.
func (l *library) miss(t *testing.T, f *fixture) {
	t.Helper()
	on(t, f, func() {
		seq, _, _ := l.keep("b")
		f.Gap(seq, Gap{Topic: "kept", Missed: 1})
	})
	l.publish(t, f, "c", "d")
	l.other(t, f, "x")
}

// other publishes a message on the topic without a history.
func (l *library) other(t *testing.T, f *fixture, text string) {
	t.Helper()
	on(t, f, func() {
		l.mu.Lock()
		l.seq++
		seq := l.seq
		l.mu.Unlock()
		f.Engine.Publish(seq, "other", ws.OpText, []byte(text))
	})
}

// TestSubscribeFromInGap: what a Gap recovers is not sent again by what waits behind it. Other topics do not lose anything.
func TestSubscribeFromInGap(t *testing.T) {
	release := make(chan struct{})
	p, l := startReadersOf(t, func() map[string]*Route { return repairRoutes(release) }, nil)
	c := subscriber(t, p.here, "/")
	l.publish(t, p.here, "a")
	c.wantTexts("1:a")
	l.miss(t, p.here)
	release <- struct{}{}
	c.wantTexts("2:b", "3:c", "4:d", "true 3 @4 <nil>", "x")
	l.publish(t, p.here, "e")
	c.wantTexts("5:e")
}

// TestSubscribeFromInGapAfterMove: so it is if the connection moves while all of that waits.
func TestSubscribeFromInGapAfterMove(t *testing.T) {
	release := make(chan struct{})
	p, l := startReadersOf(t, func() map[string]*Route { return repairRoutes(release) }, nil)
	c := subscriber(t, p.here, "/")
	l.publish(t, p.here, "a")
	c.wantTexts("1:a")
	c.text("wait")
	until(t, "the callback runs", func() bool { return p.here.Stats().TextIn == 1 })
	l.miss(t, p.here)
	ready := make(chan struct{}, 8)
	var b *Batch
	on(t, p.here, func() {
		p.here.Depart(-1, func() { ready <- struct{}{} })
		b, _ = p.here.Freeze(64) // asks the connection to pause
	})
	if b.Len() != 0 {
		t.Fatalf("%d are frozen while a callback runs", b.Len())
	}
	release <- struct{}{}
	<-ready
	on(t, p.here, func() { b, _ = p.here.Freeze(64) })
	on(t, p.there, func() { p.there.Reached(5) })
	p.carry(b, 5)
	release <- struct{}{}
	c.wantTexts("2:b", "3:c", "4:d", "true 3 @4 <nil>", "x")
	l.publish(t, p.there, "e")
	c.wantTexts("5:e")
}

// TestMoveInGapThatRecovers: a connection that moves while Gap recovers does not take along what waits of the topic.
func TestMoveInGapThatRecovers(t *testing.T) {
	release := make(chan struct{})
	p, l := startReadersOf(t, func() map[string]*Route { return repairRoutes(release) }, nil)
	c := subscriber(t, p.here, "/")
	l.publish(t, p.here, "a")
	c.wantTexts("1:a")
	l.miss(t, p.here)
	l.silence(true)
	release <- struct{}{}
	until(t, "a question", func() bool { return l.queries() > 0 })
	l.silence(false)
	on(t, p.there, func() { p.there.Reached(5) })
	if n := p.move(); n != 1 {
		t.Fatalf("moved %d", n)
	}
	c.wantTexts("2:b", "3:c", "4:d", "true 3 @4 <nil>", "x")
	l.publish(t, p.here, "e")
	c.wantTexts("5:e")
}
