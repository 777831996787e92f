package presence

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/expedite-go/expedite/backplane"
)

const (
	// DefaultLease is how long the members of a machine are present that has died.
	DefaultLease = 15 * time.Second
	// shareWorkers is the number of topics whose changes are under way at the same time, in each part.
	shareWorkers = 8
	// changeTimeout bounds a change, and one of everything else that the store is asked for.
	changeTimeout = 5 * time.Second
	// firstPause and lastPause are the longest times between two attendances. One that lasted for longPause was good.
	firstPause, lastPause, longPause = 250 * time.Millisecond, 2 * time.Second, 30 * time.Second
	// maxFormer is the number of former attendances that are retired. The leases of others run out.
	maxFormer = 16
)

// part is what a Server shares with other machines in a part of the store. Parts know nothing of each other: each has
// its own attendances, and its own trouble. Its fields are guarded by Server.mu.
type part struct {
	*Server
	number int
	log    *slog.Logger

	id        uint64 // of the attendance; 0 is none
	former    []uint64
	ready     []*room // that have changes
	held      []*room // whose changes have to wait
	expecting []*room // whose announcements are under way
	left      int     // rooms that were not complete in this attendance yet
	told      bool    // the log knows that others are not told. Only share and what it calls use it
	err       error   // why there is no attendance

	more    chan struct{} // for the workers
	trouble chan struct{}
}

// divide makes the parts of the store.
func (s *Server) divide() {
	if s.cfg.Plane == nil {
		return
	}
	n := 1
	s.partOf = func(string) int { return 0 }
	if d, ok := s.cfg.Plane.(backplane.Divided); ok {
		n, s.partOf = d.Parts(), d.Part
	}
	for i := range n {
		p := &part{Server: s, number: i, log: s.cfg.Log, more: make(chan struct{}, 1), trouble: make(chan struct{}, 1)}
		if n > 1 {
			p.log = p.log.With("server", fmt.Sprintf("%d of %d", i+1, n))
		}
		s.parts = append(s.parts, p)
	}
}

// home returns the part of a room. s.mu must be held.
func (s *Server) home(at *room) *part {
	if at.share.home == nil {
		at.share.home = s.parts[s.partOf(at.topic)]
	}
	return at.share.home
}

// interrupt ends the attendance: what the store knows is uncertain. It does not block.
func (p *part) interrupt() {
	select {
	case p.trouble <- struct{}{}:
	default:
	}
}

// line lets a worker look at a room. p.mu must be held.
func (p *part) line(at *room) {
	if p.id == 0 || at.share.ready || at.share.busy || at.share.held && at.share.hold > p.now() {
		return
	}
	at.share.ready = true
	p.ready = append(p.ready, at)
	select {
	case p.more <- struct{}{}:
	default:
	}
}

// share attends with one attendance after the other, until ctx ends.
func (p *part) share(ctx context.Context) {
	pause := firstPause
	for ctx.Err() == nil {
		began := p.now()
		err := p.attend(ctx)
		if p.now()-began > longPause {
			pause = firstPause
		}
		if ctx.Err() != nil {
			return
		}
		p.mu.Lock()
		p.err = err
		p.mu.Unlock()
		if !errors.Is(err, errInterrupted) && !p.told {
			p.told = true
			p.log.Warn("presence is not shared with other machines", "error", err)
		}
		select {
		case <-time.After(pause/2 + rand.N(pause/2)):
		case <-ctx.Done():
		}
		pause = min(2*pause, lastPause)
	}
}

// attend begins an attendance, adds everybody, and then what changes, until something fails: then it is not known what
// the store knows. The former attendances end when everybody is there.
func (p *part) attend(ctx context.Context) (err error) {
	lease := p.cfg.Lease - p.cfg.Lease/10 // it is looked for in intervals
	var id uint64
	if err := p.limited(ctx, func(ctx context.Context) (err error) {
		id, err = p.cfg.Plane.Attend(ctx, p.number, lease)
		return err
	}); err != nil {
		return err
	}
	p.begin(id)
	ctx, cancel := context.WithCancelCause(ctx)
	var workers sync.WaitGroup
	for range shareWorkers {
		workers.Go(func() { cancel(p.work(ctx)) })
	}
	err = p.live(ctx, id, lease)
	cancel(err)
	workers.Wait()
	p.end(id)
	return context.Cause(ctx)
}

// begin marks all members to be added.
func (p *part) begin(id uint64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	select {
	case <-p.trouble: // it was before
	default:
	}
	p.id, p.err, p.left, p.ready, p.held = id, nil, 0, nil, nil
	p.stats.Attendances++
	for _, at := range p.roster.rooms {
		if p.home(at) != p {
			continue
		}
		at.share.ready, at.share.held, at.share.entire = false, false, true
		at.share.before, at.share.hold = at.share.latest(), 0
		p.left++
		for _, m := range at.members {
			m.shared.added = false
			p.mark(m)
		}
		p.line(at)
	}
}

// end makes an attendance a former one.
func (p *part) end(id uint64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.id = 0
	p.former = append(p.former, id)
	p.former = p.former[max(len(p.former)-maxFormer, 0):]
}

var errInterrupted = errors.New("presence: the connection was interrupted")

// live extends an attendance, and retires former ones and those of machines that have died, until something fails.
func (p *part) live(ctx context.Context, id uint64, lease time.Duration) error {
	tick := time.NewTicker(max(p.cfg.Lease/15, time.Millisecond))
	defer tick.Stop()
	began, extended := p.now(), p.now()
	for {
		select {
		case <-tick.C:
		case <-p.trouble:
			return errInterrupted
		case <-ctx.Done():
			return context.Cause(ctx)
		}
		if p.now()-extended >= p.cfg.Lease/4 {
			extended = p.now()
			if err := p.limited(ctx, func(ctx context.Context) error {
				return p.cfg.Plane.Extend(ctx, p.number, id, lease)
			}); err != nil {
				return err
			}
		}
		if p.now()-began >= p.settling() { // the leases of others may have lapsed in the same outage
			if err := p.limited(ctx, p.reap); err != nil {
				return err
			}
		}
		if err := p.retire(ctx, false); err != nil {
			return err
		}
		p.complete()
		p.look()
	}
}

// settling returns how long it may take after an outage, or a loss of memory, until all machines have added their
// members again.
func (s *Server) settling() time.Duration { return s.cfg.Lease/3 + time.Second }

// complete tells that an attendance has everybody, if it was told that there was none.
func (p *part) complete() {
	p.mu.Lock()
	all := p.left == 0
	p.mu.Unlock()
	if all && p.told {
		p.told = false
		p.log.Info("presence is shared with other machines again")
	}
}

func (p *part) reap(ctx context.Context) error {
	n, err := p.cfg.Plane.Reap(ctx, p.number)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.stats.Reaped += uint64(n)
	return err
}

// retire retires the former attendances, if everybody is in this one.
func (p *part) retire(ctx context.Context, anyway bool) error {
	p.mu.Lock()
	former := p.former
	if p.left > 0 && !anyway {
		former = nil
	}
	p.mu.Unlock()
	for i, id := range former {
		if err := p.limited(ctx, func(ctx context.Context) error {
			return p.cfg.Plane.Retire(ctx, p.number, id)
		}); err != nil {
			return err
		}
		p.mu.Lock()
		p.former = former[i+1:] // only the caller adds some
		p.mu.Unlock()
	}
	return nil
}

// look looks at rooms whose time has come.
func (p *part) look() {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := p.now()
	held := p.held
	p.held = nil
	for _, at := range held {
		until := at.share.hold
		if len(at.share.dirty) == 0 {
			until = max(until, at.share.loss.at)
		}
		at.share.held = false
		switch {
		case p.roster.rooms[at.topic] != at: // nobody is there any more
		case until > now:
			at.share.held = true
			p.held = append(p.held, at)
		default:
			p.line(at)
		}
	}
	expecting := p.expecting
	p.expecting = nil
	for _, at := range expecting {
		if at.share.expects > now {
			p.expecting = append(p.expecting, at)
			continue
		}
		at.share.expects = 0
		if p.roster.rooms[at.topic] == at {
			p.expect(at)
		}
	}
}

// work changes one room after the other until ctx ends or a change fails.
func (p *part) work(ctx context.Context) error {
	for ctx.Err() == nil {
		at, id, c, list := p.next()
		if at == nil {
			select {
			case <-p.more:
				continue
			case <-ctx.Done():
				return context.Cause(ctx)
			}
		}
		var standing backplane.Standing
		err := p.limited(ctx, func(ctx context.Context) (err error) {
			standing, err = p.cfg.Plane.Change(ctx, id, at.topic, c)
			return err
		})
		p.changedShared(at, c, list, result{standing, err})
		if err != nil {
			return err
		}
	}
	return context.Cause(ctx)
}

// next returns a room that has changes, and the change. It returns nil if there is none.
func (p *part) next() (at *room, id uint64, c backplane.Change, list []action) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for len(p.ready) > 0 {
		at = p.ready[0]
		p.ready = p.ready[1:]
		at.share.ready = false
		if c, list = p.batch(at); len(list) == 0 && !at.share.loss.due(p.now()) {
			p.settleRoom(at)
			continue
		}
		at.share.busy = true
		if len(p.ready) > 0 { // for another worker
			select {
			case p.more <- struct{}{}:
			default:
			}
		}
		return at, p.id, c, list
	}
	return nil, 0, c, nil
}

// limited calls f with a limit to its time.
func (s *Server) limited(ctx context.Context, f func(ctx context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, min(changeTimeout, s.cfg.Lease/2))
	defer cancel()
	return f(ctx)
}
