package expedite

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/expedite-go/expedite/auth"
	"github.com/expedite-go/expedite/internal/engine"
	"github.com/expedite-go/expedite/internal/registry"
	"github.com/expedite-go/expedite/internal/storeguard"
	"github.com/expedite-go/expedite/internal/telemetry"
	"github.com/expedite-go/expedite/session"
	"github.com/expedite-go/expedite/session/redisstore"
	"github.com/expedite-go/expedite/ws"
)

// keeper joins the connections of a worker to their sessions. Any goroutine, unless a method says otherwise.
type keeper struct {
	store   session.Store
	guard   *storeguard.Guard // nil if the store is the primary's
	require bool              // without the store there are no clients
	// keepEmpty lets anonymous sessions without values live as long as others.
	keepEmpty bool
	registry  *registry.Client
	policy    session.Policy
	query     []string // parameters of the query that a session keeps
	log       *slog.Logger
	sampled   *telemetry.Sampler
	eng       *engine.Engine

	claims claims

	mu        sync.Mutex
	ended     []session.Ref // of connections that are gone
	discarded []session.Ref // of those that had hardly begun
	wake      chan struct{} // told when there are some
	done      chan struct{}
	idle      chan struct{} // closed when run has ended

	cursor   int         // of touches. On the loop
	touching atomic.Bool // a batch is with the store

	closeConn func(place session.Place, code ws.CloseCode, reason string)

	sessionless, forgotten, touchesSkipped, restored, unclaimed atomic.Uint64
}

const (
	// endedQueue is the number of connections whose end the store has not heard of. Beyond it a session lives on until
	// its time is over.
	endedQueue = 64 << 10
	// endedPause is how long ends are gathered for a batch.
	endedPause = 100 * time.Millisecond
	// closeTimeout bounds the closing of a connection on another machine.
	closeTimeout = 5 * time.Second
	// storeTimeout bounds what the keeper asks the store for.
	storeTimeout = 5 * time.Second
	// touchLeast and touchMost bound the time between two batches of touches.
	touchLeast, touchMost = time.Second, 30 * time.Second
	// staleTouch is how often sessions are touched where it matters which ones are connected.
	staleTouch = time.Minute
)

// newKeeper makes a keeper over a store.
func (a *App) newKeeper(store session.Store, guard *storeguard.Guard) *keeper {
	s := &a.cfg.Sessions
	k := &keeper{
		store: store, guard: guard, require: s.RequireRedis, query: a.cfg.LogQuery, keepEmpty: s.EmptyTTL < 0,
		policy: session.Policy{TTL: s.TTL, MaxPerUser: s.MaxPerUser, Refuse: s.RefuseNew},
		wake:   make(chan struct{}, 1), done: make(chan struct{}), idle: make(chan struct{}),
	}
	k.claims = claims{k: k, byConn: make(map[uint64]*claim)}
	if k.policy.TTL == 0 {
		k.policy.TTL = session.DefaultTTL
	}
	if s.RefuseNew && s.MaxPerUser > 0 {
		k.policy.Stale = 2*k.period() + touchMost
	}
	return k
}

// period is the time in which all sessions are touched once.
func (k *keeper) period() time.Duration {
	if k.policy.Refuse && k.policy.MaxPerUser > 0 {
		return min(k.policy.TTL/3, staleTouch)
	}
	return k.policy.TTL / 3
}

// touchEvery is the time between two batches of touches.
func (k *keeper) touchEvery() time.Duration { return min(max(k.period()/40, touchLeast), touchMost) }

// attach gives a connection to be its session.
func (k *keeper) attach(
	ctx context.Context, w *client, wanted session.ID, u *engine.Upgrade, params map[string]string,
) error {
	at, err := k.store.Attach(ctx, session.Attach{
		ID: wanted, User: w.user, Params: params,
		Place: session.Place{Node: k.registry.Node(), Conn: u.ID}, Policy: k.policy,
	})
	switch {
	case errors.Is(err, session.ErrTooManySessions):
		return tooMany()
	case err != nil && k.require:
		return &auth.Error{Reason: auth.ReasonUnavailable, Message: "sessions are not available now", Err: err}
	case err != nil: // it is served all the same
		k.sessionless.Add(1)
		if k.sampled.Allow() { // an outage is not to flood the log
			k.log.Warn("client has no session", "error", err)
		}
		return nil
	}
	w.session, w.resumed = at.Session.ID, at.Resumed
	if at.Pending || at.Replaced.Conn != 0 || len(at.Evicted) > 0 {
		w.begun = &begun{attached: at, params: params}
	}
	return nil
}

// begun is what the attachment of a connection has left to do when it opens. Replaced and Evicted are set only by a
// primary of an earlier release, which knows no claims.
type begun struct {
	attached session.Attached
	params   map[string]string
}

const tooManySessions = "too many sessions of this user"

// tooMany is the answer to a client whose user has as many sessions as it may. RFC 6585 §4.
func tooMany() *ws.HandshakeError {
	return refused(http.StatusTooManyRequests, "too_many_sessions", "this user has as many sessions as it may")
}

// dropped undoes the attachment of a connection that does not open after all.
func (k *keeper) dropped(w *client, conn uint64) {
	if w.begun != nil {
		k.closeOthers(&w.begun.attached)
	}
	k.note(session.Ref{ID: w.session, Conn: conn}, !w.resumed)
}

// closeOthers closes the connections that an attachment has taken sessions from.
func (k *keeper) closeOthers(at *session.Attached) {
	if at.Replaced.Conn != 0 {
		k.closeConn(at.Replaced, CloseReplaced, "the session was resumed by another connection")
	}
	for _, s := range at.Evicted {
		if s.Place.Conn != 0 {
			k.closeConn(s.Place, CloseTooMany, tooManySessions)
		}
	}
}

// left takes note that a connection has ended. It never blocks.
func (k *keeper) left(c *Conn) {
	w := c.who.Load()
	if w == nil || w.session.IsZero() {
		return
	}
	discard := w.user == "" && !w.resumed && !k.keepEmpty && c.brief()
	if !k.claims.left(uint64(c.ID()), discard) {
		k.note(session.Ref{ID: w.session, Conn: uint64(c.ID())}, discard)
	}
}

// note keeps the end of a connection until the store hears of it. Discard deletes its session if that holds no values.
func (k *keeper) note(ref session.Ref, discard bool) {
	if ref.ID.IsZero() {
		return
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if len(k.ended)+len(k.discarded) >= endedQueue {
		k.forgotten.Add(1)
		return
	}
	if discard {
		k.discarded = append(k.discarded, ref)
	} else {
		k.ended = append(k.ended, ref)
	}
	if len(k.ended)+len(k.discarded) == 1 {
		select {
		case k.wake <- struct{}{}:
		default: // it is told already
		}
	}
}

// carry is what the next worker must know of a session beside its id.
func (k *keeper) carry(w *client) []byte {
	if k.guard == nil || w == nil || w.session.IsZero() {
		return nil
	}
	return k.guard.Carry(w.session)
}

// moved forgets what was carried: the connection has a new worker.
func (k *keeper) moved(owner any) {
	c, ok := owner.(*Conn)
	if !ok {
		return
	}
	k.claims.moved(uint64(c.ID()))
	if k.guard != nil {
		k.guard.Released(c.who.Load().sessionID())
	}
}

// adopt goes on with the session of a connection that has moved here.
func (k *keeper) adopt(c *Conn, rest luggage) {
	if len(rest.carried) > 0 {
		k.adoptWrites(c, rest.carried)
	}
	if rest.claim {
		k.claimFor(c, nil)
	}
}

// adoptWrites goes on with what was carried here.
func (k *keeper) adoptWrites(c *Conn, carried []byte) {
	if k.guard == nil { // this build keeps sessions in the primary: it was told another place to keep them
		if k.sampled.Allow() {
			k.log.Warn("writes that wait for the session store are lost with it", "conn", c.ID().String())
		}
		return
	}
	place := session.Place{Node: k.registry.Node(), Conn: uint64(c.ID())}
	if err := k.guard.Adopt(c.who.Load().sessionID(), place, carried); err != nil && k.sampled.Allow() {
		k.log.Error("writes of a session that has moved here are lost", "conn", c.ID().String(), "error", err)
	}
}

// run tells the store of ends, and of life, until stop.
func (k *keeper) run() {
	defer close(k.idle)
	touch := k.eng.NewTicker(k.touchEvery())
	for {
		select {
		case <-k.wake:
			select { // others often come with it
			case <-time.After(endedPause):
			case <-k.done:
			}
			k.flush()
		case <-touch.C:
			k.claims.again()
			k.touch()
		case <-k.done:
			k.flush()
			return
		}
	}
}

// flush tells the store of connections that have ended.
func (k *keeper) flush() {
	k.mu.Lock()
	ended, discarded := k.ended, k.discarded
	k.ended, k.discarded = nil, nil
	k.mu.Unlock()
	k.tell(ended, k.store.Detach)
	k.tell(discarded, k.store.Discard)
}

// tell tells the store of ends, in batches.
func (k *keeper) tell(ended []session.Ref, of func(context.Context, []session.Ref) error) {
	for len(ended) > 0 {
		batch := ended[:min(len(ended), session.MaxBatch)]
		ended = ended[len(batch):]
		ctx, cancel := context.WithTimeout(context.Background(), storeTimeout)
		err := of(ctx, batch)
		cancel()
		if err != nil {
			k.forgotten.Add(uint64(len(batch) + len(ended)))
			if k.sampled.Allow() {
				k.log.Warn("the end of connections is not noted in their sessions", "connections", len(batch), "error", err)
			}
			return
		}
	}
}

// touch lets the sessions of the next share of connections live on. Each has its turn once in a period.
func (k *keeper) touch() {
	if !k.touching.CompareAndSwap(false, true) {
		k.touchesSkipped.Add(1)
		return
	}
	posted := k.eng.Post(func() {
		var refs []session.Saved
		share := int(k.touchEvery() * time.Duration(k.eng.Slots()) / k.period())
		k.cursor = k.eng.Walk(k.cursor, share+1, func(ec *engine.Conn) {
			if c, ok := ec.Owner().(*Conn); ok && ec.Open() {
				if w := c.who.Load(); w != nil && !w.session.IsZero() {
					refs = append(refs, k.saved(c, w))
				}
			}
		})
		go func() { // ends with the store's timeout
			defer k.touching.Store(false)
			k.touchAll(refs)
		}()
	})
	if !posted {
		k.touching.Store(false)
	}
}

// saved is a session as its connection knows it.
func (k *keeper) saved(c *Conn, w *client) session.Saved {
	return session.Saved{Session: session.Session{
		ID: w.session, User: w.user, TTL: k.policy.TTL, Created: time.Now(),
		Place: session.Place{Node: k.registry.Node(), Conn: uint64(c.ID())},
	}}
}

// touchAll touches sessions, and puts those back that the store has lost.
func (k *keeper) touchAll(list []session.Saved) {
	for len(list) > 0 {
		batch := list[:min(len(list), session.MaxBatch)]
		list = list[len(batch):]
		refs := make([]session.Ref, len(batch))
		by := make(map[session.ID]session.Saved, len(batch))
		for i, s := range batch {
			refs[i] = session.Ref{ID: s.ID, Conn: s.Place.Conn}
			by[s.ID] = s
		}
		ctx, cancel := context.WithTimeout(context.Background(), storeTimeout)
		lost, err := k.store.Touch(ctx, refs)
		if err == nil {
			lost = k.open(ctx, lost)
		}
		if err == nil && len(lost) > 0 {
			back := make([]session.Saved, len(lost))
			for i, ref := range lost {
				back[i] = by[ref.ID]
			}
			_, err = k.store.Restore(ctx, back)
			k.restored.Add(uint64(len(back)))
		}
		cancel()
		if err != nil {
			k.touchesSkipped.Add(1)
			k.log.Warn("sessions not touched", "sessions", len(batch), "error", err)
			return
		}
	}
}

// open are those whose connections are open here. Who was kicked is not: connections close before their sessions go.
func (k *keeper) open(ctx context.Context, refs []session.Ref) (open []session.Ref) {
	if len(refs) == 0 {
		return nil
	}
	looked := make(chan []session.Ref, 1)
	posted := k.eng.Post(func() {
		var open []session.Ref
		for _, ref := range refs {
			if ec := k.eng.Lookup(ref.Conn); ec != nil && ec.Open() {
				open = append(open, ref)
			}
		}
		looked <- open
	})
	if !posted {
		return nil
	}
	select {
	case open = <-looked:
		return open
	case <-ctx.Done():
		return nil
	}
}

// stop ends run, after the ends that are known. Until ctx ends it waits for a store that is away.
func (k *keeper) stop(ctx context.Context) {
	k.claims.tasks.Wait() // each with its timeout
	close(k.done)
	<-k.idle
	if k.guard != nil {
		k.guard.Settle(ctx)
	}
	_ = k.store.Close()
}

// condition is the health as the primary sees it, and this worker, to whom the store may be away alone.
func (k *keeper) condition() registry.Health {
	h, _ := k.registry.Health()
	if !h.Store.IsSet() {
		h.Store = k.away()
	}
	return h
}

// away is how the store is for this worker alone.
func (k *keeper) away() (f registry.Fault) {
	if k.guard == nil {
		return f
	}
	down, since, cause := k.guard.State()
	if down {
		f.Since = since
	}
	if cause != nil {
		f.Cause = cause.Error()
	}
	return f
}

// blind says that nobody may be let in: what other machines have revoked is not known here.
func (k *keeper) blind() bool {
	h, _ := k.registry.Health()
	return k.require && !h.Current
}

// counts are what the keeper has done, by name.
func (k *keeper) counts() map[string]uint64 {
	list := map[string]uint64{
		"sessionless": k.sessionless.Load(), "detach_lost": k.forgotten.Load(),
		"touches_skipped": k.touchesSkipped.Load(), "restored": k.restored.Load(), "unclaimed": k.unclaimed.Load(),
	}
	if k.guard != nil {
		s := k.guard.Stats()
		list["deferred"], list["refused"], list["replayed"] = s.Deferred, s.Refused, s.Replayed
		list["outages"], list["provisional"], list["moved"] = s.Outages, s.Provisional, s.Restored
		list["detach_lost"] += s.DetachLost
	}
	for name, n := range list {
		if n == 0 {
			delete(list, name)
		}
	}
	return list
}

// openKeeper makes the keeper of a node, over the primary's store or Redis.
func (a *App) openKeeper(n *node) error {
	s := &a.cfg.Sessions
	store, guard := n.uplink.Store(), (*storeguard.Guard)(nil)
	if s.Redis != "" {
		redis, err := redisstore.New(context.Background(), s.Redis, redisstore.Config{EmptyTTL: s.emptyTTL()})
		if err != nil {
			return fmt.Errorf("expedite: Config.Sessions.Redis: %w", err)
		}
		guard = storeguard.New(storeguard.Config{
			Main: redis, Spare: store, Require: s.RequireRedis, Log: n.log,
			MayLog: n.journal.Clients.Allow,
		})
		store = guard
	}
	k := a.newKeeper(store, guard)
	k.log, k.eng, k.sampled, k.registry = n.log, n.eng, n.journal.Clients, n.uplink
	k.closeConn = func(at session.Place, code ws.CloseCode, reason string) {
		if at.Node == k.registry.Node() {
			_ = a.CloseConn(ID(at.Conn), code, reason) // an overload is counted, and the client knows better
			return
		}
		go func() { // ends with the order's timeout
			ctx, cancel := context.WithTimeout(context.Background(), closeTimeout)
			defer cancel()
			o, err := Who{Conn: ID(at.Conn)}.order(code, reason)
			if err == nil {
				var done registry.Done
				done, err = a.command(ctx, registry.Command{Order: o})
				err = warn(done, err)
			}
			if err != nil && k.sampled.Allow() {
				k.log.Warn("connection on another machine not closed", "error", err)
			}
		}()
	}
	n.gate.keeper = k
	return nil
}
