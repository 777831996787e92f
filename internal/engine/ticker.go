package engine

import (
	"sync/atomic"
	"time"

	"github.com/expedite-go/expedite/internal/reactor"
)

// Ticker tells a goroutine the time regularly, as long as the loop turns. It is for periods of a second and more: the
// loop wakes for it, which is cheaper for a process that sleeps than a timer of the runtime; see reactor.Alarm. Tickers
// share their wakes, for which a tick may come a third of the period early.
type Ticker struct {
	// C gets the ticks. One that nobody has taken yet stands for those that follow.
	C <-chan struct{}

	c     chan struct{}
	eng   *Engine
	every atomic.Int64 // nanoseconds
	alarm *reactor.Alarm
}

// NewTicker makes a ticker, which lasts as long as the engine does. Any goroutine.
func (e *Engine) NewTicker(every time.Duration) *Ticker {
	c := make(chan struct{}, 1)
	t := &Ticker{C: c, c: c, eng: e}
	t.every.Store(int64(every))
	e.Post(func() {
		t.alarm = e.loop.NewAlarm(t.tick)
		t.set()
	})
	return t
}

// Reset makes it another period, which begins now. Any goroutine.
func (t *Ticker) Reset(every time.Duration) {
	t.every.Store(int64(every))
	t.eng.Post(t.set)
}

// tick is called on the loop.
func (t *Ticker) tick() {
	select {
	case t.c <- struct{}{}:
		t.eng.loop.Runnable()
	default:
	}
	t.set()
}

func (t *Ticker) set() {
	every := t.every.Load()
	t.alarm.Set(t.eng.loop.Now()+every, every/3)
}
