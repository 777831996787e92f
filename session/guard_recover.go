package session

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"
)

// Pauses between probes, of which a random part is taken.
const (
	probeFirst = 100 * time.Millisecond
	probeLast  = 10 * time.Second
)

// recover looks for the main store until it is back and has everything. It ends then, or with Close.
func (g *Guard) recover() {
	pause := probeFirst
	for {
		g.mu.Lock()
		g.count.Probes++
		g.mu.Unlock()
		err := g.probe()
		if err == nil {
			if err = g.bringBack(); err == nil && g.settled() {
				return
			}
		}
		if err != nil {
			g.mu.Lock()
			g.state, g.cause = guardDown, err
			g.mu.Unlock()
		}
		select {
		case <-time.After(rand.N(pause) + time.Millisecond):
		case <-g.done:
			return
		}
		if err == nil {
			pause = probeFirst // something came meanwhile
		} else {
			pause = min(2*pause, probeLast)
		}
	}
}

// settled ends the outage if nothing waits any more.
func (g *Guard) settled() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if len(g.queue) > 0 || len(g.provisional) > 0 || len(g.ended) > 0 {
		return false
	}
	if g.cause != nil {
		g.log.Info("the session store is back", "away", time.Since(g.since).Round(time.Millisecond),
			"sessions_moved", g.count.Restored, "writes_replayed", g.count.Replayed, "writes_refused", g.count.Refused)
	}
	g.state, g.cause, g.since = guardUp, nil, time.Time{}
	return true
}

// bringBack brings to the main store what waits for it: sessions of the spare store, then writes, then ends of
// connections. The error is that it is away again.
func (g *Guard) bringBack() error {
	g.mu.Lock()
	g.state = guardRecovering // new connections go to it again
	g.mu.Unlock()
	if err := g.moveAll(); err != nil {
		return err
	}
	if err := g.replay(); err != nil {
		return err
	}
	return g.detachEnded()
}

// moveAll moves the sessions of the spare store, a batch at a time.
func (g *Guard) moveAll() error {
	for {
		batch := make([]ID, 0, MaxBatch)
		g.mu.Lock()
		for id := range g.provisional {
			if len(batch) < cap(batch) {
				g.provisional[id] = true // what is written from now on waits in the queue
				batch = append(batch, id)
			}
		}
		g.mu.Unlock()
		if len(batch) == 0 {
			return nil
		}
		if err := g.move(batch); err != nil {
			g.mu.Lock()
			for _, id := range batch {
				if _, there := g.provisional[id]; there {
					g.provisional[id] = false
				}
			}
			g.mu.Unlock()
			return err
		}
	}
}

// move moves some sessions.
func (g *Guard) move(batch []ID) error {
	ctx, cancel := context.WithTimeout(context.Background(), g.timeout)
	defer cancel()
	list := make([]Saved, 0, len(batch))
	for _, id := range batch {
		s, err := g.spare.Find(ctx, id)
		if errors.Is(err, ErrNotFound) {
			continue // it was dropped, or its time is over
		}
		var values map[string][]byte
		if err == nil {
			values, err = g.spare.Load(ctx, id)
		}
		if errors.Is(err, ErrNotFound) {
			continue
		}
		if err != nil {
			return err
		}
		list = append(list, Saved{Session: s, Values: values})
	}
	superseded, err := g.main.Restore(ctx, list)
	if isAway(err) {
		return err
	}
	if err != nil {
		g.log.Error("sessions could not move to the store", "sessions", len(list), "error", err)
	}
	_, _ = g.spare.Drop(ctx, batch...) // else they expire there
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, id := range batch {
		delete(g.provisional, id)
	}
	if err == nil {
		g.count.Restored += uint64(len(list) - len(superseded))
	}
	return nil
}

// replay writes what is queued, in order.
func (g *Guard) replay() error {
	for {
		g.mu.Lock()
		if len(g.queue) == 0 {
			g.queue = nil
			g.mu.Unlock()
			return nil
		}
		d := g.queue[0]
		g.mu.Unlock()
		ctx, cancel := context.WithTimeout(context.Background(), g.timeout)
		err := g.main.Save(ctx, d.id, d.changes)
		cancel()
		if isAway(err) {
			return err
		}
		g.mu.Lock()
		g.queue = g.queue[1:]
		g.queued -= d.size
		if err == nil {
			g.count.Replayed++
		} else {
			g.count.Refused++
			g.log.Error("a queued write is lost", "session", d.id.Short(), "error", err)
		}
		g.mu.Unlock()
	}
}

// detachEnded tells of connections that have ended meanwhile.
func (g *Guard) detachEnded() error {
	for {
		g.mu.Lock()
		refs := make([]Ref, 0, min(len(g.ended), MaxBatch))
		for _, ref := range g.ended {
			if len(refs) < cap(refs) {
				refs = append(refs, ref)
			}
		}
		g.mu.Unlock()
		if len(refs) == 0 {
			return nil
		}
		ctx, cancel := context.WithTimeout(context.Background(), g.timeout)
		err := g.main.Detach(ctx, refs)
		cancel()
		if isAway(err) {
			return err
		}
		g.mu.Lock()
		for _, ref := range refs {
			if g.ended[ref.ID] == ref {
				delete(g.ended, ref.ID)
			}
		}
		g.mu.Unlock()
	}
}
