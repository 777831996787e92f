package wheel_test

import (
	"math"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/expedite-go/expedite/internal/wheel"
)

// model is a wheel implemented as a map: the deadlines, and whether each had passed when it was set.
type model struct {
	w       *wheel.Wheel
	tick    int64
	now     int64
	at      map[uint32]int64
	overdue map[uint32]bool
	fresh   map[uint32]bool // set while the running Advance fires; nil at other times
}

func (m *model) set(i uint32, at int64) {
	m.w.Set(i, at)
	m.at[i] = at
	m.overdue[i] = at <= m.now
	if m.fresh != nil {
		m.fresh[i] = true
	}
}

func (m *model) clear(i uint32) {
	m.w.Clear(i)
	delete(m.at, i)
	delete(m.overdue, i)
}

// advance checks every guarantee of Advance. meanwhile runs when the first entry fires and may change the wheel.
func (m *model) advance(t *rapid.T, by int64, meanwhile func()) {
	m.now += by
	m.fresh = make(map[uint32]bool)
	defer func() { m.fresh = nil }()
	m.w.Advance(m.now, func(i uint32) {
		at, ok := m.at[i]
		switch {
		case !ok:
			t.Fatalf("%d fired, but has no deadline", i)
		case at > m.now:
			t.Fatalf("%d fired %d ns early", i, at-m.now)
		case m.fresh[i]:
			t.Fatalf("%d was set while firing and fired at once", i)
		}
		if _, set := m.w.Deadline(i); set {
			t.Fatalf("%d is set while it fires", i)
		}
		delete(m.at, i)
		delete(m.overdue, i)
		meanwhile()
		meanwhile = func() {}
	})
	for i, at := range m.at {
		if !m.fresh[i] && (m.overdue[i] || at <= m.now-m.tick) {
			t.Fatalf("%d was due at %d and did not fire at %d", i, at, m.now)
		}
	}
}

// check compares what is visible from outside.
func (m *model) check(t *rapid.T) {
	if got, want := m.w.Len(), len(m.at); got != want {
		t.Fatalf("%d deadlines, want %d", got, want)
	}
	first := int64(math.MaxInt64)
	for i, want := range m.at {
		if got, ok := m.w.Deadline(i); !ok || got != want {
			t.Fatalf("deadline of %d is %d, %v, want %d", i, got, ok, want)
		}
		first = min(first, want)
	}
	switch wait := m.w.Wait(m.now); {
	case len(m.at) == 0 && wait != -1:
		t.Fatalf("an empty wheel waits %d", wait)
	case len(m.at) > 0 && wait < 0:
		t.Fatal("a wheel with deadlines waits for ever")
	case len(m.at) > 0 && m.now+wait > max(first, m.now)+m.tick:
		t.Fatalf("waits until %d, but %d is due", m.now+wait, first)
	}
}

func TestWheelIsLikeAMap(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		start := rapid.Int64Range(0, 1000).Draw(t, "start")
		tick := rapid.Int64Range(1, 20).Draw(t, "tick")
		slots := rapid.IntRange(1, 9).Draw(t, "slots")
		m := &model{
			w: wheel.New(time.Duration(tick), slots, start), tick: tick, now: start,
			at: map[uint32]int64{}, overdue: map[uint32]bool{},
		}
		index := rapid.Uint32Range(0, 12)
		away := rapid.Int64Range(-30, 400)
		t.Repeat(map[string]func(*rapid.T){
			"set":   func(t *rapid.T) { m.set(index.Draw(t, "index"), m.now+away.Draw(t, "away")) },
			"clear": func(t *rapid.T) { m.clear(index.Draw(t, "index")) },
			"step":  func(t *rapid.T) { m.advance(t, rapid.Int64Range(0, 25).Draw(t, "by"), func() {}) },
			"jump":  func(t *rapid.T) { m.advance(t, rapid.Int64Range(0, 5000).Draw(t, "by"), func() {}) },
			"step and change": func(t *rapid.T) {
				m.advance(t, rapid.Int64Range(0, 50).Draw(t, "by"), func() {
					m.clear(index.Draw(t, "cleared"))
					m.set(index.Draw(t, "changed"), m.now+away.Draw(t, "away"))
				})
			},
			"": m.check,
		})
	})
}
