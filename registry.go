package expedite

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
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
	opHealth                  // primary, a notice: a health
	opPage                    // worker: a pageRequest; a page
	opDenials                 // primary: denials, of auth.AppendDenial; an orderDone
	opCount                   // primary: how many connections have sessions? A number
	opKeys                    // worker: an auth.Snapshot, or nothing; the primary's
)

// hello is what a worker must know before it serves.
type hello struct {
	Node   string  `json:"node"`
	Health *health `json:"health"` // nil: of an earlier release
	// Paged says that the rest comes in pages. It is the answer to a helloRequest; who asks without one, as earlier
	// releases do, gets the rest here.
	Paged   bool          `json:"paged"`
	Denials []auth.Denial `json:"denials"`
	Follows []follow      `json:"follows"`
}

// helloRequest asks for a hello.
type helloRequest struct {
	Paged bool `json:"paged"`
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
	file   *denyFile // that keeps it; nil is none
	// verifier is this process's own, which verifies nothing: it knows the keys that workers have. Nil is none.
	verifier auth.Verifier
	moving   func() bool // connections are under way
	logs     *follows

	require   bool          // without the store there are no clients
	doubt     chan struct{} // told when the store is to be looked at
	feedFails int           // looks at the feed that failed; at 2 the log has it. For noteFeed

	tellMu sync.Mutex // held while workers are told of the health
	untold bool       // one of them could not be

	mu      sync.Mutex
	health  health
	members map[uint64]*workerPeer // workers
	done    chan struct{}
	tasks   sync.WaitGroup
}

// newRegistry makes the registry of a process that just begins.
func (a *App) newRegistry(ctx context.Context) (*registry, error) {
	s := &a.cfg.Sessions
	r := &registry{
		node: newNodeName(), log: a.Logger(), moving: func() bool { return false },
		memory:   session.NewMemory(session.MemoryConfig{MaxSessions: s.MaxSessions, EmptyTTL: s.emptyTTL()}),
		verifier: a.cfg.Auth.Verifier,
		deny:     &auth.DenyList{Max: a.cfg.Auth.MaxDenials},
		require:  s.RequireRedis, members: make(map[uint64]*workerPeer), done: make(chan struct{}),
		doubt:  make(chan struct{}, 1),
		health: health{Current: s.Redis == ""},
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
				r.file.tend(now)
				r.tellAgain()
				trim.look(now, false)
			case <-r.done:
				return
			}
		}
	})
	if r.feed != nil {
		r.tasks.Go(r.watch)
	}
}

// stop ends what start began.
func (r *registry) stop() {
	close(r.done)
	r.tasks.Wait()
	_ = r.store.Close()
}

// join makes the registry's side of a worker. send puts a message on its link.
func (r *registry) join(id uint64, send func([]byte) error) *rpc.Peer {
	m := new(workerPeer)
	m.peer = rpc.NewPeer(send, func(op byte, payload []byte, reply func([]byte, error)) { r.serve(m, op, payload, reply) })
	r.mu.Lock()
	defer r.mu.Unlock()
	r.members[id] = m
	return m.peer
}

// leave forgets a worker.
func (r *registry) leave(id uint64) {
	r.mu.Lock()
	m := r.members[id]
	delete(r.members, id)
	r.mu.Unlock()
	if m != nil {
		m.peer.Close()
	}
}

// workers are those that there are.
func (r *registry) workers() []*rpc.Peer {
	r.mu.Lock()
	defer r.mu.Unlock()
	list := make([]*rpc.Peer, 0, len(r.members))
	for _, m := range r.members {
		list = append(list, m.peer)
	}
	return list
}

// hello answers a worker that begins. What it is told is the latest: nobody tells of the health meanwhile.
func (r *registry) hello(m *workerPeer, payload []byte, reply func([]byte, error)) {
	var req helloRequest
	_ = json.Unmarshal(payload, &req) // earlier releases send nothing
	r.tellMu.Lock()
	defer r.tellMu.Unlock()
	now := r.condition()
	h := hello{Node: r.node, Health: &now, Paged: req.Paged}
	if !req.Paged {
		h.Denials, h.Follows = r.deny.All(time.Now()), r.logs.all()
	}
	reply(json.Marshal(h))
}

// serve answers a worker. What may take its time does so on a goroutine.
func (r *registry) serve(m *workerPeer, op byte, payload []byte, reply func([]byte, error)) {
	switch op {
	case opHello:
		r.hello(m, payload, reply)
	case opPage:
		var req pageRequest
		err := json.Unmarshal(payload, &req)
		var p page
		if err == nil {
			p, err = m.page(r, req.At)
		}
		if err != nil {
			reply(nil, err)
			return
		}
		reply(json.Marshal(p))
	case opSession:
		reply(session.Serve(context.Background(), r.memory, payload), nil)
	case opKeys:
		reply(r.swapKeys(payload), nil)
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
	kept := make(chan error, 1)
	if d, ok := c.Order.denial(); ok {
		if err := r.deny.Add(d, time.Now()); err != nil {
			return done, err
		}
		go func() { kept <- r.file.add(d) }() // ends with the disk's answer
	} else {
		kept <- nil
	}
	told := make(chan error, 1)
	go func() { told <- r.publish(ctx, c.Order) }() // ends with ctx
	closed, err := r.obeyed(ctx, c.Order)
	done.Closed = closed
	if c.Drop {
		err = errors.Join(err, r.drop(ctx, c.Order))
	}
	done.Stored, done.Warning = published(c.Order, <-told)
	if failed := <-kept; failed != nil {
		done.Stored = false
		done.Warning = strings.TrimPrefix(done.Warning+"; "+failed.Error(), "; ")
	}
	return done, err
}

// obeyed tells all workers of an order, and waits until they have carried it out.
func (r *registry) obeyed(ctx context.Context, o order) (closed int, err error) {
	b, err := json.Marshal(o)
	if err != nil {
		return 0, err
	}
	return r.twice(ctx, func() (int, error) { return r.tell(ctx, opOrder, b) })
}

// twice tells all workers. If connections move, some may have been under way: they are told again.
func (r *registry) twice(ctx context.Context, tell func() (closed int, err error)) (closed int, err error) {
	moving := r.moving()
	closed, err = tell()
	if !moving && !r.moving() {
		return closed, err
	}
	select {
	case <-time.After(orderAgain):
	case <-ctx.Done():
		return closed, err
	}
	more, again := tell()
	return closed + more, errors.Join(err, again)
}

// orderAgain is how long connections may be under way between two workers.
const orderAgain = time.Second

// tell gives all workers something to do that ends with an orderDone.
func (r *registry) tell(ctx context.Context, op byte, b []byte) (closed int, err error) {
	for _, a := range r.ask(ctx, op, b) {
		var done orderDone
		if a.err == nil && a.payload != nil {
			a.err = json.Unmarshal(a.payload, &done)
		}
		if a.err != nil {
			r.fallBehind(a.peer)
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
	peer    *rpc.Peer
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
			payload, err := r.askOne(ctx, p, op, b)
			answers[i] = peerAnswer{p, payload, err}
		})
	}
	wg.Wait()
	return answers
}

// askOne asks a worker until ctx ends. One that has gone meanwhile has nothing to say: nil.
func (r *registry) askOne(ctx context.Context, p *rpc.Peer, op byte, b []byte) ([]byte, error) {
	for {
		payload, err := p.Call(ctx, op, b)
		switch {
		case errors.Is(err, rpc.ErrClosed):
			return nil, nil
		case err != nil && !errors.Is(err, rpc.ErrFailed) && ctx.Err() == nil: // its queue is full
			select {
			case <-time.After(orderRetry):
				continue
			case <-ctx.Done():
			}
		}
		return payload, err
	}
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
		var err error
		if ids, err = r.sessionsOf(ctx, o.Value, o.Except); err != nil {
			return err
		}
	}
	if len(ids) == 0 {
		return nil
	}
	_, err := r.store.Drop(ctx, ids...)
	return err
}

// sessionsOf are the sessions of a user, but for that of a connection.
func (r *registry) sessionsOf(ctx context.Context, user string, except ID) (ids []session.ID, err error) {
	for page := (session.Page{}); ; {
		list, err := r.store.List(ctx, user, page)
		for _, s := range list {
			if s.Place.Conn == 0 || s.Place.Conn != uint64(except) {
				ids = append(ids, s.ID)
			}
		}
		if err != nil || len(list) < session.MaxList {
			return ids, err
		}
		page = page.Next(list[len(list)-1])
	}
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
