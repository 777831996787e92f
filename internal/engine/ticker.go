package engine

import (
	"sync/atomic"
	"time"

	"github.com/expedite-go/expedite/internal/reactor"
)

// Ticker delivers ticks to a goroutine while the loop runs. It is for periods of a second or more: it wakes the loop,
// which is cheaper for an idle process than a timer of the runtime; see reactor.Alarm. Tickers share these wake-ups, so
// a tick may come early by up to a third of the period.
type Ticker struct {
	// C delivers the ticks. A tick is dropped if the previous one has not been received.
	C <-chan struct{}

	c     chan struct{}
	eng   *Engine
	every atomic.Int64 // nanoseconds
	alarm *reactor.Alarm
}

// NewTicker returns a ticker that lasts as long as the engine. It is safe for concurrent use.
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

// Reset starts a new period. It is safe for concurrent use.
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
