package storeguard

import (
	"context"
	crand "crypto/rand"
	"errors"
	"sync"
	"time"

	"github.com/expedite-go/expedite/internal/sessionwire"
	"github.com/expedite-go/expedite/session"
)

// Limits of a batch of sessions that move to the main store.
const (
	moveSessions = 64
	moveBytes    = 1 << 20 // of values
)

// recovery ends outages: it probes the main store until it can be reached, and sends it everything that waits.
type recovery struct {
	guard *Guard

	mu      sync.Mutex
	cancel  context.CancelFunc // of the goroutine, if there is one
	stopped bool
	tasks   sync.WaitGroup
}

// start runs the recovery on a goroutine, which ends with the outage or with stop. There is one at a time.
func (r *recovery) start() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.stopped {
		return
	}
	var ctx context.Context
	ctx, r.cancel = context.WithCancel(context.Background())
	cancel := r.cancel
	r.tasks.Go(func() {
		defer cancel()
		r.run(ctx)
	})
}

// stop ends the recovery. It reports whether it is the first call.
func (r *recovery) stop() (first bool) {
	r.mu.Lock()
	first = !r.stopped
	r.stopped = true
	if r.cancel != nil {
		r.cancel()
	}
	r.mu.Unlock()
	r.tasks.Wait()
	return first
}

func (r *recovery) run(ctx context.Context) {
	breaker := r.guard.breaker
	for ctx.Err() == nil {
		if breaker.isDown() {
			if !breaker.rest(ctx) {
				return
			}
			reached := r.probe(ctx)
			breaker.probed(reached)
			if !reached {
				continue
			}
		}
		if err := r.catchUp(ctx); err != nil {
			if !breaker.isDown() { // it is the spare store that fails
				breaker.rest(ctx)
			}
		} else if breaker.settle(r.isIdle, r.figures) {
			return
		}
	}
}

// isIdle reports whether nothing waits for the main store.
func (r *recovery) isIdle() bool {
	return r.guard.sessions.len() == 0 && r.guard.writes.len() == 0 && r.guard.ends.len() == 0
}

// figures returns what the log line at the end of an outage contains.
func (r *recovery) figures() []any {
	var s Stats // without the breaker, which is locked
	r.guard.sessions.addTo(&s)
	r.guard.writes.addTo(&s)
	return []any{"sessions_moved", s.Restored, "writes_replayed", s.Replayed, "writes_refused", s.Refused}
}

// probe reports whether the main store accepts a write, which leaves nothing behind. A store that can only be read is
// not back.
func (r *recovery) probe(ctx context.Context) bool {
	ctx, cancel := r.guard.limit(ctx)
	defer cancel()
	var key [32]byte
	_, _ = crand.Read(key[:]) // never fails: crypto/rand ends the process instead
	err := r.guard.main.PutTicket(ctx, key, nil, time.Second)
	return !isUnreachable(err) && ctx.Err() == nil
}

// catchUp sends the main store what waits for it: sessions, then writes, then ends of connections. It fails if one of
// the stores cannot be reached.
func (r *recovery) catchUp(ctx context.Context) error {
	for {
		batch := r.guard.sessions.depart(ctx, moveSessions)
		if len(batch) == 0 {
			break
		}
		left, err := r.move(ctx, batch)
		r.guard.sessions.arrive(batch, left)
		if err != nil {
			return err
		}
	}
	if err := r.replay(ctx); err != nil {
		return err
	}
	return r.detach(ctx)
}

// move moves sessions to the main store. It returns those that this Guard is no longer responsible for.
func (r *recovery) move(ctx context.Context, batch map[session.ID]session.Place) (left []session.ID, err error) {
	list := make([]session.Saved, 0, len(batch))
	size := 0
	for id, place := range batch {
		if size >= moveBytes {
			break // the others are in the next batch
		}
		s, err := r.fetch(ctx, id)
		switch {
		case errors.Is(err, session.ErrNotFound): // it was deleted, or has expired
			left = append(left, id)
		case err != nil:
			return left, err
		case !s.Place.IsZero() && s.Place != place: // a connection of another worker has it
			left = append(left, id)
		default:
			list = append(list, s)
			size += sessionwire.Size(s.Values)
		}
	}
	if err := r.restore(ctx, list); err != nil {
		return left, err
	}
	ids := make([]session.ID, len(list))
	for i, s := range list {
		ids[i] = s.ID
	}
	ctx, cancel := r.guard.limit(ctx)
	defer cancel()
	_, _ = r.guard.spare.Drop(ctx, ids...) // if it fails, they expire there
	return append(left, ids...), nil
}

// fetch reads a session of the spare store.
func (r *recovery) fetch(ctx context.Context, id session.ID) (s session.Saved, err error) {
	ctx, cancel := r.guard.limit(ctx)
	defer cancel()
	list, err := r.guard.spare.Find(ctx, id)
	if err == nil && len(list) == 0 {
		err = session.ErrNotFound
	}
	if err != nil {
		return s, err
	}
	s.Session = list[0]
	s.Values, err = r.guard.spare.Load(ctx, id)
	return s, err
}

// restore stores sessions in the main store. If it refuses them, each is tried on its own.
func (r *recovery) restore(ctx context.Context, list []session.Saved) error {
	if len(list) == 0 {
		return nil
	}
	superseded, asked, err := ask(ctx, r.guard.breaker, func(ctx context.Context) ([]session.ID, error) {
		return r.guard.main.Restore(ctx, list)
	})
	switch {
	case !asked || ctx.Err() != nil:
		return errors.Join(err, ctx.Err())
	case err == nil:
		r.guard.sessions.count(len(list)-len(superseded), 0)
	case len(list) == 1:
		r.guard.sessions.count(0, 1)
		if r.guard.mayLog() {
			r.guard.log.Error("a session could not move to the store", "session", list[0].ID.Short(), "error", err)
		}
	default:
		for i := range list {
			if err := r.restore(ctx, list[i:i+1]); err != nil {
				return err
			}
		}
	}
	return nil
}

// replay sends the main store the queued writes, one after the other.
func (r *recovery) replay(ctx context.Context) error {
	for {
		w, ok := r.guard.writes.oldest()
		if !ok {
			return nil
		}
		asked, err := r.guard.breaker.do(ctx, func(ctx context.Context) error {
			return r.guard.main.Save(ctx, w.id, w.changes)
		})
		if !asked || ctx.Err() != nil {
			return errors.Join(err, ctx.Err())
		}
		r.guard.writes.finish(w, err)
		if err != nil && r.guard.mayLog() {
			r.guard.log.Error("a queued write is lost", "session", w.id.Short(), "error", err)
		}
	}
}

// detach tells the main store of the connections that have ended.
func (r *recovery) detach(ctx context.Context) error {
	for {
		refs := r.guard.ends.batch()
		if len(refs) == 0 {
			return nil
		}
		asked, err := r.guard.breaker.do(ctx, func(ctx context.Context) error { return r.guard.main.Detach(ctx, refs) })
		if !asked || ctx.Err() != nil {
			return errors.Join(err, ctx.Err())
		}
		r.guard.ends.finish(refs, err)
	}
}
