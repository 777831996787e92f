package storeguard

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/expedite-go/expedite/session"
)

// Pauses between attempts to end an outage. Each is twice as long as the one before, and a random part of it is taken.
const (
	firstPause = 100 * time.Millisecond
	lastPause  = 10 * time.Second
)

// condition is that of the main store.
type condition uint8

const (
	up         condition = iota
	down                 // it is not asked
	recovering           // it can be reached, and has not received everything yet
)

// breaker is a circuit breaker: it passes calls to the main store until one of them finds it unreachable, and rejects
// calls from then on until the recovery has reached it. It is safe for concurrent use.
type breaker struct {
	timeout time.Duration
	log     *slog.Logger
	recover func() // starts the recovery

	mu      sync.Mutex
	state   condition
	epoch   uint64    // the number of outages so far
	since   time.Time // when the store stopped being up
	cause   error
	logged  bool          // the log has the beginning of the outage, and not yet its end
	ended   time.Time     // when the latest outage ended
	pause   time.Duration // before the next attempt to end the outage
	outages uint64
	probes  uint64
}

// isUnreachable reports whether err means that a store could not be asked. All other errors are answers.
func isUnreachable(err error) bool {
	return errors.Is(err, session.ErrUnavailable) || errors.Is(err, context.DeadlineExceeded)
}

// ask calls the main store. It reports false if the store was not asked, or could not be reached; err then is
// session.ErrUnavailable, and the caller has to do without the store. If the caller has canceled ctx, or had given the
// call less than half of the usual time, a failure does not count as an outage.
func ask[T any](
	ctx context.Context, b *breaker, call func(context.Context) (T, error),
) (result T, asked bool, err error) {
	epoch, err := b.enter()
	if err != nil {
		return result, false, err
	}
	part, cancel := context.WithTimeout(ctx, b.timeout/2)
	defer cancel()
	began := time.Now()
	result, err = call(part)
	hasty := ctx.Err() != nil && (errors.Is(ctx.Err(), context.Canceled) || time.Since(began) < b.timeout/4)
	if err == nil || hasty || !isUnreachable(err) {
		return result, true, err
	}
	b.trip(epoch, err)
	return result, false, session.Unavailable(err)
}

// do is ask for a call without a result.
func (b *breaker) do(ctx context.Context, call func(context.Context) error) (asked bool, err error) {
	_, asked, err = ask(ctx, b, func(ctx context.Context) (struct{}, error) { return struct{}{}, call(ctx) })
	return asked, err
}

// enter returns the epoch for a call, or an error if the store is down.
func (b *breaker) enter() (epoch uint64, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.state == down {
		return 0, session.Unavailable(b.cause)
	}
	return b.epoch, nil
}

// trip records that a call of an epoch could not reach the store, and starts the recovery. A call that began before the
// latest outage is ignored.
func (b *breaker) trip(epoch uint64, cause error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.state == down || epoch != b.epoch {
		return
	}
	before := b.state
	b.state, b.cause = down, cause
	b.epoch++
	b.outages++
	if before == up {
		b.since = time.Now()
	}
	if b.since.Sub(b.ended) > lastPause {
		b.pause = firstPause // otherwise the store comes and goes, and is probed less and less often
	}
	if !b.logged {
		b.logged = true
		b.log.Warn("the session store is away: new sessions live in the primary, writes are queued", "error", cause)
	}
	if before == up {
		b.recover()
	}
}

// ensureRecovery starts the recovery if the store is up. It must be called after something was added that waits for the
// store: the outage may have ended since the call failed.
func (b *breaker) ensureRecovery() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.state == up {
		b.state, b.since = recovering, time.Now()
		b.recover()
	}
}

// rest waits before the next attempt to end the outage. It reports false if ctx has ended.
func (b *breaker) rest(ctx context.Context) bool {
	b.mu.Lock()
	pause := max(b.pause, firstPause)
	b.pause = min(2*pause, lastPause)
	b.mu.Unlock()
	select {
	case <-time.After(rand.N(pause) + time.Millisecond):
		return true
	case <-ctx.Done():
		return false
	}
}

// probed records the result of a probe: if the store was reached, it is asked again.
func (b *breaker) probed(reached bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.probes++
	if reached {
		b.state = recovering
	}
}

// settle ends the outage, unless the store is down again or idle reports that something still waits for it. It reports
// whether it has.
//
// Whoever adds something that waits calls ensureRecovery afterwards. As both hold b.mu, either idle sees what was
// added, or ensureRecovery sees that the outage has ended.
func (b *breaker) settle(idle func() bool, figures func() []any) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.state == down || !idle() {
		return false
	}
	if b.logged {
		b.log.Info("the session store is back", append([]any{"away_seconds", time.Since(b.since).Seconds()}, figures()...)...)
	}
	b.state, b.cause, b.since, b.logged, b.ended = up, nil, time.Time{}, false, time.Now()
	return true
}

// isDown reports whether the store is not asked.
func (b *breaker) isDown() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.state == down
}

func (b *breaker) current() (out bool, since time.Time, cause error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.state == up {
		return false, time.Time{}, nil
	}
	return true, b.since, b.cause
}

func (b *breaker) addTo(s *Stats) {
	b.mu.Lock()
	defer b.mu.Unlock()
	s.Outages, s.Probes = b.outages, b.probes
}
