package access

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/expedite-go/expedite/auth"
	"github.com/expedite-go/expedite/internal/connid"
	"github.com/expedite-go/expedite/internal/engine"
	"github.com/expedite-go/expedite/internal/registry"
	"github.com/expedite-go/expedite/internal/storeguard"
	"github.com/expedite-go/expedite/internal/telemetry"
	"github.com/expedite-go/expedite/session"
	"github.com/expedite-go/expedite/ws"
)

// Close codes of sessions.
const (
	// CodeReplaced closes a connection whose session was resumed by another one.
	CodeReplaced = 4409
	// CodeTooMany closes the connection of a session that was evicted because its user has too many.
	CodeTooMany = 4429
)

// TrackerConfig configures a Tracker.
type TrackerConfig struct {
	Store session.Store
	Guard *storeguard.Guard // the same store if it is not the primary's; else nil
	// Require refuses clients while the store is away.
	Require bool
	// Remember makes sessions remember what their clients have received of topics with a history.
	Remember bool
	// KeepEmpty lets anonymous sessions without values live as long as others.
	KeepEmpty bool
	Policy    session.Policy
	Registry  *registry.Client
	Engine    *engine.Engine
	Journal   *telemetry.Journal
	// ClientOf returns the Client of the owner of a connection, nil if it has none.
	ClientOf func(owner any) *Client
	// Close closes a connection of this machine, in whichever worker it is.
	Close func(conn connid.ID, code ws.CloseCode, reason string)
}

// Tracker joins the connections of a worker to their sessions.
type Tracker struct {
	TrackerConfig
	claims claims
	log    *slog.Logger

	mu        sync.Mutex
	ended     []session.Ref // of connections that have ended
	discarded []session.Ref // of those that had hardly begun
	left      []toSave      // what those that have ended have received
	wake      chan struct{} // receives when one of them is no longer empty
	done      chan struct{}
	stopped   chan struct{} // closed when Run has returned

	cursor   int         // of touch. On the loop
	touching atomic.Bool // a batch is with the store

	remembered int           // cursor of remember. On the loop
	saving     atomic.Bool   // remember is with the store
	waiters    chan struct{} // holds one for each call of awaitReceived
	awaits     sync.WaitGroup

	sessionless, forgotten, touchesSkipped, restored, unclaimed, saves, unsaved, orphaned atomic.Uint64
}

const (
	// endedQueue is the number of connections whose end the store does not know yet. The sessions of further ones live
	// on until they expire.
	endedQueue = 64 << 10
	// endedPause is how long ends are gathered for a batch.
	endedPause = 100 * time.Millisecond
	// storeTimeout bounds a request to the store, and closeTimeout the closing of a connection on another machine.
	storeTimeout, closeTimeout = 5 * time.Second, 5 * time.Second
	// touchLeast and touchMost bound the time between two batches of touches.
	touchLeast, touchMost = time.Second, 30 * time.Second
	// staleTouch is how often sessions are touched if it matters which ones are connected.
	staleTouch = time.Minute
)

// NewTracker returns a Tracker. Run makes it work.
func NewTracker(c TrackerConfig) *Tracker {
	if c.Policy.TTL == 0 {
		c.Policy.TTL = session.DefaultTTL
	}
	t := &Tracker{
		TrackerConfig: c, log: c.Journal.Logger,
		wake: make(chan struct{}, 1), done: make(chan struct{}), stopped: make(chan struct{}),
		waiters: make(chan struct{}, waitersAtOnce),
	}
	t.claims = claims{t: t, byConn: make(map[uint64]*claim)}
	if c.Policy.Refuse && c.Policy.MaxPerUser > 0 {
		t.Policy.Stale = 2*t.period() + touchMost
	}
	return t
}

// period returns the time in which all sessions are touched once.
func (t *Tracker) period() time.Duration {
	if t.Policy.Refuse && t.Policy.MaxPerUser > 0 {
		return min(t.Policy.TTL/3, staleTouch)
	}
	return t.Policy.TTL / 3
}

// touchEvery returns the time between two batches of touches.
func (t *Tracker) touchEvery() time.Duration { return min(max(t.period()/40, touchLeast), touchMost) }

// place returns where a connection is.
func (t *Tracker) place(conn uint64) session.Place {
	return session.Place{Node: t.Registry.Node(), Conn: conn}
}

// attached is what the attachment of a connection leaves to do until it opens. Replaced and Evicted are set only by a
// primary of an earlier release, which knows no claims.
type attached struct {
	session.Attached
	params map[string]string
}

// attach finds or creates the session of a connection that is about to open. It takes nothing from other connections
// yet: that is done when it has opened.
func (t *Tracker) attach(
	ctx context.Context, d *details, wanted session.ID, conn uint64, params map[string]string,
) error {
	at, err := t.Store.Attach(ctx, session.Attach{
		ID: wanted, User: d.user, Params: params, Place: t.place(conn), Policy: t.Policy,
	})
	switch {
	case errors.Is(err, session.ErrTooManySessions): // RFC 6585 §4
		he := Refused(http.StatusTooManyRequests, "too_many_sessions", "this user has as many sessions as allowed")
		return &limited{he, reasonSessions}
	case err != nil && t.Require:
		return &auth.Error{Reason: auth.ReasonUnavailable, Message: "sessions are not available now", Err: err}
	case err != nil: // the client is served without a session
		t.sessionless.Add(1)
		if t.Journal.Clients.Allow() { // an outage must not flood the log
			t.log.Warn("client has no session", "error", err)
		}
		return nil
	}
	d.session, d.resumed = at.Session.ID, at.Resumed
	if at.Pending || at.Replaced.Conn != 0 || len(at.Evicted) > 0 {
		d.attached = &attached{at, params}
	}
	return nil
}

// dropped undoes the attachment of a connection that does not open after all.
func (t *Tracker) dropped(d *details, conn uint64) {
	if d.attached != nil {
		t.closeOthers(&d.attached.Attached)
	}
	t.note(session.Ref{ID: d.session, Conn: conn}, !d.resumed)
}

const reasonTooMany = "too many sessions of this user"

// closeOthers closes the connections from which an attachment has taken sessions.
func (t *Tracker) closeOthers(at *session.Attached) {
	if at.Replaced.Conn != 0 {
		t.closeAt(at.Replaced, CodeReplaced, "the session was resumed by another connection")
	}
	for _, s := range at.Evicted {
		if s.Place.Conn != 0 {
			t.closeAt(s.Place, CodeTooMany, reasonTooMany)
		}
	}
}

// closeAt closes a connection, on whichever machine it is. It does not wait.
func (t *Tracker) closeAt(at session.Place, code ws.CloseCode, reason string) {
	conn := connid.ID(at.Conn)
	if at.Node == t.Registry.Node() {
		t.Close(conn, code, reason)
		return
	}
	go func() { // ends with closeTimeout
		ctx, cancel := context.WithTimeout(context.Background(), closeTimeout)
		defer cancel()
		done, err := t.Registry.Command(ctx, registry.Command{Order: registry.Order{
			Kind: registry.KindConnection, Value: conn.String(), Code: uint16(code), Reason: reason,
		}})
		if err == nil && done.Warning != "" {
			err = errors.New(done.Warning)
		}
		if err != nil && t.Journal.Clients.Allow() {
			t.log.Warn("connection on another machine not closed", "error", err)
		}
	}()
}

// Ended notes that a connection has ended. It never blocks.
func (t *Tracker) Ended(c *Client) {
	d := c.details.Load()
	if d == nil || d.session.IsZero() {
		return
	}
	discard := d.user == "" && !d.resumed && !t.KeepEmpty && c.brief() && !c.listened
	if !t.claims.ended(uint64(c.ID()), discard) {
		t.note(session.Ref{ID: d.session, Conn: uint64(c.ID())}, discard)
	}
}

// note queues the end of a connection for the store. Discard deletes the session if it holds no values.
func (t *Tracker) note(ref session.Ref, discard bool) {
	if ref.ID.IsZero() {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.ended)+len(t.discarded) >= endedQueue {
		t.forgotten.Add(1)
		return
	}
	if discard {
		t.discarded = append(t.discarded, ref)
	} else {
		t.ended = append(t.ended, ref)
	}
	if len(t.ended)+len(t.discarded) == 1 {
		select {
		case t.wake <- struct{}{}:
		default: // Run knows already
		}
	}
}

// Run tells the store which connections have ended and which live, until Stop. It is called once.
func (t *Tracker) Run() {
	defer close(t.stopped)
	touch := t.Engine.NewTicker(t.touchEvery())
	var remember <-chan struct{}
	if t.Remember {
		remember = t.Engine.NewTicker(rememberEvery).C
	}
	for {
		select {
		case <-t.wake:
			select { // more often follow
			case <-time.After(endedPause):
			case <-t.done:
			}
			t.flush()
		case <-touch.C:
			t.claims.again()
			t.touch()
		case <-remember:
			t.remember()
		case <-t.done:
			t.flush()
			return
		}
	}
}

// Stop ends Run after it has told the store of all known ends, and closes the store. It waits for a store that is away
// until ctx ends.
func (t *Tracker) Stop(ctx context.Context) {
	t.claims.tasks.Wait() // each has a timeout
	close(t.done)
	<-t.stopped
	t.awaits.Wait()
	if t.Guard != nil {
		t.Guard.Settle(ctx)
	}
	_ = t.Store.Close()
}

// flush tells the store of the connections that have ended.
func (t *Tracker) flush() {
	t.mu.Lock()
	ended, discarded, left := t.ended, t.discarded, t.left
	t.ended, t.discarded, t.left = nil, nil, nil
	t.mu.Unlock()
	t.saveAll(left)
	t.tell(ended, t.Store.Detach)
	t.tell(discarded, t.Store.Discard)
}

// tell tells the store of ends, in batches.
func (t *Tracker) tell(ended []session.Ref, of func(context.Context, []session.Ref) error) {
	for len(ended) > 0 {
		batch := ended[:min(len(ended), session.MaxBatch)]
		ended = ended[len(batch):]
		ctx, cancel := context.WithTimeout(context.Background(), storeTimeout)
		err := of(ctx, batch)
		cancel()
		if err != nil {
			t.forgotten.Add(uint64(len(batch) + len(ended)))
			if t.Journal.Clients.Allow() {
				t.log.Warn("the store was not told that connections have ended", "connections", len(batch), "error", err)
			}
			return
		}
	}
}

// touch extends the sessions of the next share of the connections. Each has its turn once in a period.
func (t *Tracker) touch() {
	if !t.touching.CompareAndSwap(false, true) {
		t.touchesSkipped.Add(1)
		return
	}
	posted := t.Engine.Post(func() {
		var list []session.Saved
		share := int(t.touchEvery() * time.Duration(t.Engine.Slots()) / t.period())
		t.cursor = t.Engine.Walk(t.cursor, share+1, func(ec *engine.Conn) {
			if c := t.ClientOf(ec.Owner()); c != nil && ec.Open() {
				if d := c.details.Load(); d != nil && !d.session.IsZero() {
					list = append(list, t.saved(c, d))
				}
			}
		})
		go func() { // ends with the timeout of the store
			defer t.touching.Store(false)
			t.touchAll(list)
		}()
	})
	if !posted {
		t.touching.Store(false)
	}
}

// saved returns a session as its connection knows it.
func (t *Tracker) saved(c *Client, d *details) session.Saved {
	return session.Saved{Session: session.Session{
		ID: d.session, User: d.user, TTL: t.Policy.TTL, Created: time.Now(), Place: t.place(uint64(c.ID())),
	}}
}

// touchAll touches sessions, and restores those that the store has lost.
func (t *Tracker) touchAll(list []session.Saved) {
	for len(list) > 0 {
		batch := list[:min(len(list), session.MaxBatch)]
		list = list[len(batch):]
		if err := t.touchBatch(batch); err != nil {
			t.touchesSkipped.Add(1)
			t.log.Warn("sessions not touched", "sessions", len(batch), "error", err)
			return
		}
	}
}

func (t *Tracker) touchBatch(batch []session.Saved) error {
	refs := make([]session.Ref, len(batch))
	byID := make(map[session.ID]session.Saved, len(batch))
	for i, s := range batch {
		refs[i] = session.Ref{ID: s.ID, Conn: s.Place.Conn}
		byID[s.ID] = s
	}
	ctx, cancel := context.WithTimeout(context.Background(), storeTimeout)
	defer cancel()
	lost, err := t.Store.Touch(ctx, refs)
	if err != nil {
		return err
	}
	if lost = t.stillOpen(ctx, lost); len(lost) == 0 {
		return nil
	}
	back := make([]session.Saved, len(lost))
	for i, ref := range lost {
		back[i] = byID[ref.ID]
	}
	_, err = t.Store.Restore(ctx, back)
	t.restored.Add(uint64(len(back)))
	return err
}

// stillOpen returns those whose connections are open here. A kicked connection is not: it closes before its session is
// deleted.
func (t *Tracker) stillOpen(ctx context.Context, refs []session.Ref) (open []session.Ref) {
	if len(refs) == 0 {
		return nil
	}
	looked := make(chan []session.Ref, 1)
	posted := t.Engine.Post(func() {
		var open []session.Ref
		for _, ref := range refs {
			if ec := t.Engine.Lookup(ref.Conn); ec != nil && ec.Open() {
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

// Health returns the health as the primary sees it. If this worker alone cannot use the store, that is a fault, too.
func (t *Tracker) Health() registry.Health {
	h, _ := t.Registry.Health()
	if !h.Store.IsSet() {
		h.Store = t.StoreFault()
	}
	return h
}

// StoreFault returns since when this worker itself cannot use the store.
func (t *Tracker) StoreFault() (f registry.Fault) {
	if t.Guard == nil {
		return f
	}
	down, since, cause := t.Guard.State()
	if down {
		f.Since = since
	}
	if cause != nil {
		f.Cause = cause.Error()
	}
	return f
}

// Blind reports that no client may be admitted: it is not known what other machines have revoked.
func (t *Tracker) Blind() bool {
	h, _ := t.Registry.Health()
	return t.Require && !h.Current
}

// Stats returns what the Tracker has done, by name; zeros are left out.
func (t *Tracker) Stats() map[string]uint64 {
	list := map[string]uint64{
		"sessionless": t.sessionless.Load(), "detach_lost": t.forgotten.Load(),
		"touches_skipped": t.touchesSkipped.Load(), "restored": t.restored.Load(), "unclaimed": t.unclaimed.Load(),
		"received_saved": t.saves.Load(), "received_unsaved": t.unsaved.Load(), "received_unknown": t.orphaned.Load(),
	}
	if t.Guard != nil {
		s := t.Guard.Stats()
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
