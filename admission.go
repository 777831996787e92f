package expedite

import (
	"log/slog"
	"runtime/debug"
	"time"

	"github.com/expedite-go/expedite/internal/memory"
)

const (
	// admissionEvery is how often it is looked whether there is memory for more connections, and admissionSoon how often
	// while less is left than some reserves: ten thousand clients who come back in a second, at 15 KiB each, take twice
	// the least reserve.
	admissionEvery = time.Second
	admissionSoon  = 100 * time.Millisecond
	// admissionNear is where it is looked more often, in reserves.
	admissionNear = 4
	// admissionTicks is the number of reports after which a worker in which nothing happens looks.
	admissionTicks = 6
)

// admission has new connections refused while memory is short: who is open should not be killed for who would like to
// come. Connections that hold much are closed. Of all who share the memory each
// worker looks for itself.
type admission struct {
	read    func() (memory.Usage, error)
	set     func(short bool)
	log     *slog.Logger
	reserve int64
	short   bool
	shed    shedder       // nil is that connections are not ended
	workers int64         // that share the memory
	idle    func() bool   // nothing happens in this worker: others stir; nil is that something always does
	wake    chan struct{} // it is to be looked at once
	quit    chan struct{}
	ended   chan struct{}
}

// shedder is engine.Engine.Shed.
type shedder func(need int64, done func(freed int64)) bool

// newAdmission makes the admission of a worker, whose engine is told by set. It is nil, and that is fine, if memory is
// never short, or if this system does not tell.
func newAdmission(t Tuning, set func(short bool), log *slog.Logger) *admission {
	read := func() (memory.Usage, error) { return memory.Read("") }
	u, err := read()
	reserve := t.reserve(u.Limit)
	if err != nil || reserve == 0 {
		return nil
	}
	return &admission{
		read: read, set: set, log: log, reserve: reserve,
		wake: make(chan struct{}, 1), quit: make(chan struct{}), ended: make(chan struct{}),
	}
}

// run looks until stop.
func (a *admission) run() {
	if a == nil {
		return
	}
	defer close(a.ended)
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-timer.C:
		case <-a.wake:
		case <-a.quit:
			return
		}
		next := a.look()
		if !a.short && a.idle != nil && a.idle() {
			timer.Stop() // until somebody stirs
			continue
		}
		timer.Reset(next)
	}
}

// stir has it looked at once: something happens again, or the process is awake anyway.
func (a *admission) stir() {
	if a == nil {
		return
	}
	select {
	case a.wake <- struct{}{}:
	default:
	}
}

// stop ends run, which must have been called, and waits for that.
func (a *admission) stop() {
	if a == nil {
		return
	}
	close(a.quit)
	<-a.ended
}

// look compares what is left with the reserve, and says when to look again. It takes a quarter of the reserve more to
// let connections in again: those that come would at once be too many otherwise.
func (a *admission) look() (next time.Duration) {
	u, err := a.read()
	if err != nil {
		return admissionEvery // it could be read before; what was found then stands
	}
	next = admissionEvery
	if u.Available < admissionNear*a.reserve {
		next = admissionSoon
	}
	short := u.Available < a.reserve
	if a.short {
		short = u.Available < a.reserve+a.reserve/4
	}
	if short {
		a.relieve(a.reserve + a.reserve/4 - u.Available)
	}
	if short == a.short {
		return next
	}
	a.short = short
	a.set(short)
	log := a.log.With(
		"available_bytes", u.Available, "of", u.AvailableOf, "reserve_bytes", a.reserve, "limit_bytes", u.Limit,
	)
	if short {
		log.Warn("memory is short: new connections are refused")
	} else {
		log.Info("memory is there again: new connections are let in")
	}
	return next
}

// relieve has connections ended that hold much, until this worker's part of what is missing is free, and gives that
// back to the system. The other workers see at their own next look what they must add.
func (a *admission) relieve(missing int64) {
	if a.shed == nil {
		return
	}
	freed := make(chan int64, 1)
	if !a.shed(missing/a.workers+1, func(n int64) { freed <- n }) {
		return
	}
	select {
	case n := <-freed:
		if n == 0 {
			return
		}
		a.log.Warn("memory is short: connections that hold the most are closed", "freed_bytes", n)
		if n >= trimLeast {
			debug.FreeOSMemory() // or the next look would not see it
		}
	case <-a.quit:
	}
}
