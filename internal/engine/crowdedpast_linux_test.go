package engine

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/expedite-go/expedite/ws"
)

// only returns the only connection of an engine. On the loop.
func (f *fixture) only() *Conn {
	for _, c := range f.conns {
		if c != nil {
			return c
		}
	}
	return nil
}

// parked returns how many recoveries wait for room. On the loop.
func (f *fixture) parked() (n int) {
	for _, list := range f.recoveries.of {
		for _, r := range list {
			if r.parked {
				n++
			}
		}
	}
	return n
}

// TestManyTopicsRecover: a connection that recovers many topics, each with more than its queue takes, is neither closed
// nor loses anything, whatever its policy, and however large a message is.
func TestManyTopicsRecover(t *testing.T) {
	for _, size := range []int{4000, 100_000} {
		for _, policy := range []Policy{PolicyClose, PolicyDropNewest, PolicyDropOldest} {
			recoverMany(t, size, policy)
		}
	}
}

// recoverMany makes a slow connection recover many topics with messages of a size.
func recoverMany(t *testing.T, size int, policy Policy) {
	const topics, bytes = 40, 200_000
	p, l := startReaders(t, nil)
	n := bytes / size
	on(t, p.here, func() {
		for range n {
			l.keep(strings.Repeat("x", size))
		}
	})
	l.mu.Lock()
	l.pageLen = max(16_000/size, 1)
	l.mu.Unlock()
	c := p.here.dial(t, "/inline")
	outcomes := make(map[Recovered]int) // used on the loop
	on(t, p.here, func() {
		conn := p.here.only()
		conn.route.Policy = policy
		conn.route.Recovered = func(_ *Conn, _ string, r Recovered) { outcomes[r]++ }
		for i := range topics {
			if _, err := conn.SubscribeFrom(fmt.Sprint("kept", i), From{After: Place{Epoch: 5}}); err != nil {
				t.Error(err)
			}
		}
	})
	until(t, "a full queue", func() bool {
		waits := false
		on(t, p.here, func() { waits = p.here.parked() == p.here.recoveries.count })
		return waits
	})
	got := make(map[string]int)
	for i := range topics * n {
		ev, err := c.next()
		if err != nil || ev.Kind != ws.KindData {
			t.Fatalf("%d bytes, policy %d: after %d messages: kind %d, %v", size, policy, i, ev.Kind, err)
		}
		offset, _, _ := strings.Cut(string(ev.Data), ":")
		got[offset]++
	}
	for i := range n {
		if got[fmt.Sprint(i+1)] != topics {
			t.Errorf("%d bytes, policy %d: message %d came %d times", size, policy, i+1, got[fmt.Sprint(i+1)])
		}
	}
	until(t, "the outcomes", func() bool {
		all := false
		want := Recovered{OK: true, Missed: n, At: Place{5, uint64(n)}}
		on(t, p.here, func() { all = outcomes[want] == topics })
		return all
	})
}

// TestRecoveriesAreSubscriptions: a connection has no more topics than allowed, also with those that it recovers.
func TestRecoveriesAreSubscriptions(t *testing.T) {
	p, l := startReaders(t, func(c *Config) { c.MaxSubscriptions = 2 })
	l.silence(true)
	p.here.dial(t, "/inline")
	on(t, p.here, func() {
		c := p.here.only()
		_, err1 := c.SubscribeFrom("kept", From{})
		_, err2 := c.Subscribe("a")
		if _, err := c.Subscribe("b"); err1 != nil || err2 != nil || !errors.Is(err, ErrTooManySubscriptions) {
			t.Errorf("got %v, %v, %v; want an error for the third topic", err1, err2, err)
		}
	})
}

// TestAbandonedRecoveries: questions for recoveries that are over are neither kept nor asked.
func TestAbandonedRecoveries(t *testing.T) {
	p, l := startReaders(t, nil)
	l.silence(true)
	p.here.dial(t, "/inline")
	const n = 10_000
	on(t, p.here, func() {
		c := p.here.only()
		for i := range uint64(n) {
			r := &recovery{conn: c, topic: "kept", from: From{After: Place{5, i}}}
			if err := p.here.begin(r, false); err != nil {
				t.Fatal(err)
			}
			p.here.lineUp(r)
			c.Unsubscribe("kept")
		}
		h := p.here.recoveries
		if got := len(h.line) + len(h.open); got > 1000 {
			t.Errorf("got %d questions for nobody, want few", got)
		}
	})
	l.silence(false)
	on(t, p.here, func() {})
	asked := l.queries()
	if asked > recallsAtOnce {
		t.Errorf("got %d questions, want %d at most", asked, recallsAtOnce)
	}
}

// TestRepairBehindGap: what is recovered does not overtake publications that wait until Gap returns.
func TestRepairBehindGap(t *testing.T) {
	release := make(chan struct{})
	p, l := startReaders(t, nil)
	c := p.here.dial(t, "/work")
	c.text("kept 0 0 0")
	c.wantTexts("kept true 0 @0")
	on(t, p.here, func() {
		r := *p.here.only().route
		r.Handler = funcs{gap: func(c *Conn, topic string, n uint64) {
			<-release
			c.Send(ws.OpText, fmt.Appendf(nil, "gap %s %d", topic, n))
		}}
		p.here.only().route = &r
		if _, err := p.here.only().Subscribe("other"); err != nil {
			t.Error(err)
		}
	})
	on(t, p.here, func() { p.here.Gap(1, Gap{Topic: "other", Missed: 1}) })
	l.mu.Lock()
	l.seq = 1
	l.mu.Unlock()
	l.publish(t, p.here, "1", "2")
	l.lose(t, p.here, "kept", "3")
	on(t, p.here, func() {}) // the page has come
	on(t, p.here, func() {})
	l.publish(t, p.here, "4")
	close(release)
	c.wantTexts("gap other 1", "1:1", "2:2")
	ev, err := c.next()
	if got := string(ev.Data); err != nil || got != "gap kept 1" && got != "3:3" {
		t.Errorf("got %q, %v", got, err)
	}
	c.wantTexts("4:4")
}
