package storeguard

import (
	"context"
	crand "crypto/rand"
	"errors"
	"math/rand/v2"
	"time"

	"github.com/expedite-go/expedite/internal/sessionwire"
	"github.com/expedite-go/expedite/session"
)

// Pauses before probes, of which a random part is taken.
const (
	probeFirst = 100 * time.Millisecond
	probeLast  = 10 * time.Second
)

// What moves to the main store at once.
const (
	moveSessions = 64
	moveBytes    = 1 << 20 // of values
)

// recover looks for the main store until it is back and has everything. It ends then, or with Close.
func (g *Guard) recover() {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	go func() { // ends with recover
		select {
		case <-g.done:
			cancel()
		case <-ctx.Done():
		}
	}()
	for ctx.Err() == nil {
		if g.isDown() {
			if !g.rest(ctx) || g.probe(ctx) != nil {
				continue
			}
			g.mu.Lock()
			g.state = guardRecovering // it is asked again, and others fail again
			g.mu.Unlock()
		}
		if err := g.bringBack(ctx); err != nil {
			if !g.isDown() { // it is the spare store that fails
				g.rest(ctx)
			}
		} else if g.settled() {
			return
		}
	}
}

func (g *Guard) isDown() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.state == guardDown
}

// rest waits, each time longer, and says whether it was to the end.
func (g *Guard) rest(ctx context.Context) bool {
	g.mu.Lock()
	pause := max(g.pause, probeFirst)
	g.pause = min(2*pause, probeLast)
	g.mu.Unlock()
	select {
	case <-time.After(rand.N(pause) + time.Millisecond):
		return true
	case <-ctx.Done():
		return false
	}
}

// probe asks the main store for a write that leaves nothing: one that can only be read is away.
func (g *Guard) probe(ctx context.Context) error {
	ctx, cancel := g.bound(ctx)
	defer cancel()
	g.mu.Lock()
	g.count.Probes++
	g.mu.Unlock()
	var key [32]byte
	_, _ = crand.Read(key[:]) // never fails: crypto/rand ends the process instead
	if err := g.main.PutTicket(ctx, key, nil, time.Second); isAway(err) {
		return err
	}
	return ctx.Err()
}

// settled ends the outage if nothing waits any more.
func (g *Guard) settled() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.state == guardDown || len(g.queue) > 0 || len(g.provisional) > 0 || len(g.ended) > 0 {
		return false
	}
	if g.told {
		g.log.Info("the session store is back", "away_seconds", time.Since(g.since).Seconds(),
			"sessions_moved", g.count.Restored, "writes_replayed", g.count.Replayed, "writes_refused", g.count.Refused)
	}
	g.state, g.cause, g.since, g.told, g.upAt = guardUp, nil, time.Time{}, false, time.Now()
	return true
}

// bringBack brings to the main store what waits for it: sessions of the spare store, then writes, then ends of
// connections. The error is that one of the two is away.
func (g *Guard) bringBack(ctx context.Context) error {
	for {
		batch := g.depart(ctx)
		if len(batch) == 0 {
			break
		}
		gone, err := g.move(ctx, batch)
		g.arrive(batch, gone)
		if err != nil {
			return err
		}
	}
	for {
		d, ok := g.first()
		if !ok {
			break
		}
		asked, err := g.ask(ctx, func(ctx context.Context) error { return g.main.Save(ctx, d.id, d.changes) })
		if !asked || ctx.Err() != nil {
			return errors.Join(err, ctx.Err())
		}
		g.replayed(d, err)
	}
	return g.detachEnded(ctx)
}

// depart marks sessions that move next. It waits while all are busy.
func (g *Guard) depart(ctx context.Context) map[session.ID]session.Place {
	for {
		batch := make(map[session.ID]session.Place, moveSessions)
		g.mu.Lock()
		for id, p := range g.provisional {
			if p.busy == 0 && len(batch) < moveSessions {
				p.moving = true
				batch[id] = p.place
			}
		}
		none := len(g.provisional) == 0
		g.mu.Unlock()
		if len(batch) > 0 || none {
			return batch
		}
		select {
		case <-g.idle:
		case <-ctx.Done():
			return nil
		}
	}
}

// arrive ends the move of a batch: those that are gone are provisional no more, the others are still where they were.
func (g *Guard) arrive(batch map[session.ID]session.Place, gone []session.ID) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, id := range gone {
		delete(g.provisional, id)
	}
	for id := range batch {
		if p := g.provisional[id]; p != nil {
			p.moving = false
		}
	}
	close(g.moved)
	g.moved = make(chan struct{})
}

// move moves sessions, and returns those that are not the spare store's any more, or not this Guard's.
func (g *Guard) move(ctx context.Context, batch map[session.ID]session.Place) (gone []session.ID, err error) {
	list := make([]session.Saved, 0, len(batch))
	size := 0
	for id, place := range batch {
		if size >= moveBytes {
			break // the rest is in the next batch
		}
		s, err := g.fetch(ctx, id)
		switch {
		case errors.Is(err, session.ErrNotFound): // it was dropped, or its time is over
			gone = append(gone, id)
		case err != nil:
			return gone, err
		case !s.Place.IsZero() && s.Place != place: // another worker has it
			gone = append(gone, id)
		default:
			list = append(list, s)
			size += sessionwire.Size(s.Values)
		}
	}
	if err := g.restore(ctx, list); err != nil {
		return gone, err
	}
	ids := make([]session.ID, len(list))
	for i, s := range list {
		ids[i] = s.ID
	}
	part, cancel := g.bound(ctx)
	defer cancel()
	_, _ = g.spare.Drop(part, ids...) // else they expire there
	return append(gone, ids...), nil
}

// fetch reads a session of the spare store.
func (g *Guard) fetch(ctx context.Context, id session.ID) (s session.Saved, err error) {
	ctx, cancel := g.bound(ctx)
	defer cancel()
	list, err := g.spare.Find(ctx, id)
	if err == nil && len(list) == 0 {
		err = session.ErrNotFound
	}
	if err != nil {
		return s, err
	}
	s.Session = list[0]
	s.Values, err = g.spare.Load(ctx, id)
	return s, err
}

// restore puts sessions into the main store. If one of them is refused, the others are not.
func (g *Guard) restore(ctx context.Context, list []session.Saved) error {
	if len(list) == 0 {
		return nil
	}
	var superseded []session.ID
	asked, err := g.ask(ctx, func(ctx context.Context) (err error) {
		superseded, err = g.main.Restore(ctx, list)
		return err
	})
	if !asked || ctx.Err() != nil {
		return errors.Join(err, ctx.Err())
	}
	if err != nil && len(list) > 1 {
		for i := range list {
			if err := g.restore(ctx, list[i:i+1]); err != nil {
				return err
			}
		}
		return nil
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if err != nil {
		g.count.Refused++
		if g.mayLog() {
			g.log.Error("a session could not move to the store", "session", list[0].ID.Short(), "error", err)
		}
		return nil
	}
	g.count.Restored += uint64(len(list) - len(superseded))
	return nil
}

// detachEnded tells of connections that have ended meanwhile.
func (g *Guard) detachEnded(ctx context.Context) error {
	for {
		g.mu.Lock()
		refs := make([]session.Ref, 0, min(len(g.ended), session.MaxBatch))
		for _, ref := range g.ended {
			if len(refs) < cap(refs) {
				refs = append(refs, ref)
			}
		}
		g.mu.Unlock()
		if len(refs) == 0 {
			return nil
		}
		asked, err := g.ask(ctx, func(ctx context.Context) error { return g.main.Detach(ctx, refs) })
		if !asked || ctx.Err() != nil {
			return errors.Join(err, ctx.Err())
		}
		g.mu.Lock()
		for _, ref := range refs {
			if g.ended[ref.ID] == ref {
				delete(g.ended, ref.ID)
			}
		}
		if err != nil {
			g.count.DetachLost += uint64(len(refs))
		}
		g.mu.Unlock()
	}
}
