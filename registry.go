package expedite

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/expedite-go/expedite/auth"
	"github.com/expedite-go/expedite/internal/rpc"
	"github.com/expedite-go/expedite/session"
)

// What the primary and its workers ask each other. Both may be of different releases: numbers are for ever.
const (
	opHello   byte = iota + 1 // worker: who are we? A hello
	opSession                 // worker: of session.Serve
	opCommand                 // worker: a command; a commandDone
	opOrder                   // primary: an order; an orderDone
	opLive                    // primary: a liveRequest; a list of control.Session
	opFollow                  // primary, a notice: a follow
	opLines                   // worker, a notice: number of the follow (8), log lines
	opReopen                  // primary: write to new log files
	opGreet                   // primary, a notice: it has just come, and knows what its predecessor may not have known
)

// hello is what a worker must know before it serves.
type hello struct {
	Node    string        `json:"node"`
	Denials []auth.Denial `json:"denials"`
	Follows []follow      `json:"follows"`
}

// command is what the App's methods, and operators, want of all workers.
type command struct {
	Order order `json:"order"`
	Drop  bool  `json:"drop"` // the sessions go, too
}

// commandDone is what became of it on this machine.
type commandDone struct {
	Closed  int    `json:"closed"`
	Stored  bool   `json:"stored"`  // other machines know, or there are none
	Warning string `json:"warning"` // why not
}

const (
	// orderTimeout bounds the wait for a worker to carry out an order.
	orderTimeout = 5 * time.Second
	// orderRetry is the time between attempts to tell a worker whose queue is full.
	orderRetry = 50 * time.Millisecond
	// sweepEvery is how often what is over is looked for, and sweepShare how many sessions are looked at.
	sweepEvery = time.Second
	sweepShare = 20_000
)

// registry is what one process of a machine, the primary, keeps for all its workers: the sessions of the memory store,
// the deny list, and the way to have an order carried out. Any goroutine.
type registry struct {
	node   string // the machine's name among all
	log    *slog.Logger
	memory *session.Memory
	store  session.Store // where sessions are: memory, or Redis
	feed   *session.Feed // of orders between machines; nil without Redis
	deny   *auth.DenyList
	moving func() bool // connections are under way
	logs   *follows

	mu     sync.Mutex
	down   time.Time // since when the store does not answer; zero: it does
	cause  string    // why
	missed []missedEntry
	peers  map[uint64]*rpc.Peer // workers
	done   chan struct{}
	tasks  sync.WaitGroup
}

// newRegistry makes the registry of a process that just begins.
func (a *App) newRegistry(ctx context.Context) (*registry, error) {
	s := &a.cfg.Sessions
	r := &registry{
		node: newNodeName(), log: a.Logger(), moving: func() bool { return false },
		memory: session.NewMemory(session.MemoryConfig{MaxSessions: s.MaxSessions, EmptyTTL: s.emptyTTL()}),
		deny:   &auth.DenyList{Max: a.cfg.Auth.MaxDenials},
		peers:  make(map[uint64]*rpc.Peer), done: make(chan struct{}),
	}
	r.logs = newFollows(r)
	r.store = r.memory
	if s.Redis != "" {
		redis, err := session.NewRedis(ctx, s.Redis, session.RedisConfig{EmptyTTL: s.emptyTTL()})
		if err != nil {
			return nil, fmt.Errorf("expedite: Config.Sessions.Redis: %w", err)
		}
		r.store = redis
		r.feed = redis.Feed("orders")
	}
	return r, nil
}

func newNodeName() string {
	var b [8]byte
	_, _ = rand.Read(b[:]) // never fails: crypto/rand ends the process instead
	return hex.EncodeToString(b[:])
}

// start begins to look after what expires, and to hear other machines. stop ends that.
func (r *registry) start() {
	r.tasks.Go(func() {
		tick := time.NewTicker(sweepEvery)
		defer tick.Stop()
		trim := newTrimmer()
		for {
			select {
			case now := <-tick.C:
				r.memory.Sweep(sweepShare)
				r.deny.Sweep(now)
				trim.look(now, false)
			case <-r.done:
				return
			}
		}
	})
	if r.feed != nil {
		r.tasks.Go(func() { r.feed.Follow(r.done, r.heard) })
		r.tasks.Go(r.watch)
	}
}

// watch asks the store every second whether it is there, and tells it what it has missed.
func (r *registry) watch() {
	tick := time.NewTicker(sweepEvery)
	defer tick.Stop()
	for {
		_, err := r.store.Find(context.Background(), session.NewID(""))
		r.noteStore(err)
		if err == nil || errors.Is(err, session.ErrNotFound) {
			r.publishMissed()
		}
		select {
		case <-tick.C:
		case <-r.done:
			return
		}
	}
}

// noteStore keeps how the store is.
func (r *registry) noteStore(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case !errors.Is(err, session.ErrUnavailable):
		r.down, r.cause = time.Time{}, ""
	case r.down.IsZero():
		r.down, r.cause = time.Now(), err.Error()
	}
}

// reachable says whether the store answers. That of this process always does.
func (r *registry) reachable() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.down.IsZero()
}

// outage is since when the store does not answer, and why.
func (r *registry) outage() (since time.Time, cause string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.down, r.cause
}

// stop ends what start began.
func (r *registry) stop() {
	close(r.done)
	r.tasks.Wait()
	_ = r.store.Close()
}

// join makes the registry's side of a worker. send puts a message on its link.
func (r *registry) join(id uint64, send func([]byte) error) *rpc.Peer {
	p := rpc.NewPeer(send, func(op byte, payload []byte, reply func([]byte, error)) { r.serve(op, payload, reply) })
	r.mu.Lock()
	defer r.mu.Unlock()
	r.peers[id] = p
	return p
}

// leave forgets a worker.
func (r *registry) leave(id uint64) {
	r.mu.Lock()
	p := r.peers[id]
	delete(r.peers, id)
	r.mu.Unlock()
	if p != nil {
		p.Close()
	}
}

// workers are those that there are.
func (r *registry) workers() []*rpc.Peer {
	r.mu.Lock()
	defer r.mu.Unlock()
	list := make([]*rpc.Peer, 0, len(r.peers))
	for _, p := range r.peers {
		list = append(list, p)
	}
	return list
}

// serve answers a worker. What may take its time does so on a goroutine.
func (r *registry) serve(op byte, payload []byte, reply func([]byte, error)) {
	switch op {
	case opHello:
		reply(json.Marshal(hello{Node: r.node, Denials: r.deny.All(time.Now()), Follows: r.logs.all()}))
	case opSession:
		reply(session.Serve(context.Background(), r.memory, payload), nil)
	case opLines:
		r.logs.lines(payload)
	case opCommand:
		var c command
		if err := json.Unmarshal(payload, &c); err != nil {
			reply(nil, err)
			return
		}
		go func() { // ends with the orders' timeout
			ctx, cancel := context.WithTimeout(context.Background(), 2*orderTimeout)
			defer cancel()
			done, err := r.command(ctx, c)
			if err != nil {
				reply(nil, err)
				return
			}
			reply(json.Marshal(done))
		}()
	default:
		reply(nil, errors.New("unknown request"))
	}
}

// command has an order carried out on all machines, and waits for the workers of this one.
func (r *registry) command(ctx context.Context, c command) (commandDone, error) {
	done := commandDone{Stored: true}
	if d, ok := c.Order.denial(); ok {
		if err := r.deny.Add(d, time.Now()); err != nil {
			return done, err
		}
	}
	published := make(chan error, 1)
	go func() { published <- r.publish(ctx, c.Order) }() // ends with ctx
	closed, err := r.obeyed(ctx, c.Order)
	done.Closed = closed
	if c.Drop {
		err = errors.Join(err, r.drop(ctx, c.Order))
	}
	if perr := <-published; perr != nil {
		done.Stored, done.Warning = false, perr.Error()
	}
	return done, err
}

// publish tells the other machines.
func (r *registry) publish(ctx context.Context, o order) error {
	if r.feed == nil {
		return nil
	}
	o.Node, o.Said = r.node, time.Now().UnixNano()
	b, err := json.Marshal(o)
	if err != nil {
		return err
	}
	err = r.feed.Publish(ctx, b, o.Until)
	if err != nil && !o.Until.IsZero() {
		r.mu.Lock()
		defer r.mu.Unlock()
		if len(r.missed) < maxMissed {
			r.missed = append(r.missed, missedEntry{b, o.Until})
		}
	}
	return err
}

// missedEntry is a revocation that the other machines have not heard of.
type missedEntry struct {
	Entry []byte    `json:"entry"`
	Until time.Time `json:"until"`
}

// maxMissed is how many of them wait for Redis. Those beyond it hold on this machine only, and whoever gave them was
// told so.
const maxMissed = 10_000

// publishMissed tells the other machines what they could not be told.
func (r *registry) publishMissed() {
	for {
		missed := r.missing()
		if len(missed) == 0 {
			return
		}
		ctx, cancel := context.WithTimeout(context.Background(), orderTimeout)
		err := r.feed.Publish(ctx, missed[0].Entry, missed[0].Until)
		cancel()
		if err != nil {
			return
		}
		r.mu.Lock()
		r.missed = r.missed[1:] // others only append
		r.mu.Unlock()
	}
}

// missing are the revocations that the other machines have not heard of.
func (r *registry) missing() []missedEntry {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.missed[:len(r.missed):len(r.missed)]
}

// heard carries out what another machine, or this one, has said.
func (r *registry) heard(entry []byte) {
	var o order
	if err := json.Unmarshal(entry, &o); err != nil {
		r.log.Warn("order of another machine not understood", "error", err)
		return
	}
	if o.Node == r.node {
		return
	}
	if d, ok := o.denial(); ok {
		if _, known := r.deny.Denies(userOf(d), tokenOf(d), sessionOf(d), d.Until.Add(-time.Second)); known {
			return // it was said here, or was heard before
		}
		if err := r.deny.Add(d, time.Now()); err != nil {
			r.log.Error("revocation of another machine is not on the deny list", "error", err)
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), orderTimeout)
	defer cancel()
	if _, err := r.obeyed(ctx, o); err != nil {
		r.log.Error("order of another machine not carried out by all workers", "error", err)
	}
}

// obeyed tells all workers, and waits until they have done it. If connections move, some may have been under way: they
// are told again.
func (r *registry) obeyed(ctx context.Context, o order) (closed int, err error) {
	moving := r.moving()
	closed, err = r.tell(ctx, o)
	if !moving && !r.moving() {
		return closed, err
	}
	select {
	case <-time.After(orderAgain):
	case <-ctx.Done():
		return closed, err
	}
	more, again := r.tell(ctx, o)
	return closed + more, errors.Join(err, again)
}

// orderAgain is how long connections may be under way between two workers.
const orderAgain = time.Second

func (r *registry) tell(ctx context.Context, o order) (closed int, err error) {
	b, err := json.Marshal(o)
	if err != nil {
		return 0, err
	}
	answers := r.ask(ctx, opOrder, b)
	for _, a := range answers {
		var done orderDone
		if a.err == nil {
			a.err = json.Unmarshal(a.payload, &done)
		}
		closed += done.Closed
		err = errors.Join(err, a.err)
	}
	if err != nil {
		err = fmt.Errorf("expedite: not every worker has done it: %w", err)
	}
	return closed, err
}

type peerAnswer struct {
	payload []byte
	err     error
}

// ask asks all workers at once. One that has gone meanwhile has nothing to say.
func (r *registry) ask(ctx context.Context, op byte, b []byte) []peerAnswer {
	ctx, cancel := context.WithTimeout(ctx, orderTimeout)
	defer cancel()
	workers := r.workers()
	answers := make([]peerAnswer, len(workers))
	var wg sync.WaitGroup
	for i, p := range workers {
		wg.Go(func() {
			for {
				payload, err := p.Call(ctx, op, b)
				switch {
				case errors.Is(err, rpc.ErrClosed):
					err = nil
				case err != nil && !errors.Is(err, rpc.ErrFailed) && ctx.Err() == nil: // its queue is full
					select {
					case <-time.After(orderRetry):
						continue
					case <-ctx.Done():
					}
				}
				answers[i] = peerAnswer{payload, err}
				return
			}
		})
	}
	wg.Wait()
	return answers
}

// drop deletes the sessions that an order means.
func (r *registry) drop(ctx context.Context, o order) error {
	var ids []session.ID
	switch o.Kind {
	case string(auth.DenySession):
		id, err := session.ParseID(o.Value)
		if err != nil {
			return err
		}
		ids = append(ids, id)
	case string(auth.DenyUser):
		list, err := r.store.List(ctx, o.Value)
		if err != nil {
			return err
		}
		for _, s := range list {
			if s.Place.Conn == 0 || s.Place.Conn != uint64(o.Except) {
				ids = append(ids, s.ID)
			}
		}
	}
	if len(ids) == 0 {
		return nil
	}
	_, err := r.store.Drop(ctx, ids...)
	return err
}

func userOf(d auth.Denial) string    { return valueOf(d, auth.DenyUser) }
func tokenOf(d auth.Denial) string   { return valueOf(d, auth.DenyToken) }
func sessionOf(d auth.Denial) string { return valueOf(d, auth.DenySession) }

func valueOf(d auth.Denial, kind auth.DenyKind) string {
	if d.Kind == kind {
		return d.Value
	}
	return ""
}
