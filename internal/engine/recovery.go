package engine

import (
	"encoding/binary"
	"errors"

	"github.com/expedite-go/expedite/internal/reactor"
)

const (
	// maxRecoveries is how many subscriptions of an engine may wait for what they have missed.
	maxRecoveries = 1 << 16
	// recallsAtOnce is how many pages are under way at a time: together they must leave room for publications.
	recallsAtOnce = 16
	// maxPageBytes bounds a page.
	maxPageBytes = 64 << 10
	// maxShared is how many recoveries share a page. Each of them copies it into its queue.
	maxShared = 64
	// refillPages is how many pages a connection asks for when its queue has room again. They fit.
	refillPages = 3
	// sweepFrom is how many recalls wait before those that nobody needs any more are looked for.
	sweepFrom = 256
	// recallPause is the time in ns after which a page is asked for once more, and recallTries how often it is asked
	// for.
	recallPause = int64(1e9)
	recallTries = 10
)

// Errors of SubscribeFrom.
var (
	// ErrNoHistory means that the topic keeps no publications.
	ErrNoHistory = errors.New("engine: the topic has no history")
	// ErrRecoveries means that too many connections recover at the same time.
	ErrRecoveries = errors.New("engine: too many recoveries")
	// ErrRecovering means that the connection is recovering on this topic already.
	ErrRecovering = errors.New("engine: the connection is recovering on this topic already")
	// ErrUnsubscribed means that the recovery has ended because the connection has unsubscribed.
	ErrUnsubscribed = errors.New("engine: the connection has unsubscribed")

	errSubscribed = errors.New("engine: the connection is subscribed already")
)

// From tells where a subscription begins: after a place or, without one, with the newest Last publications.
type From struct {
	After Place
	Last  uint32
}

// Recovered is the outcome of a recovery: the connection is subscribed.
type Recovered struct {
	At      Place // of the last publication before the subscription; zero if it is not known
	Missed  int   // publications that were sent
	OK      bool  // all of them were sent
	Pending bool  // not over: Route.Recovered is called later
}

// recovery is a connection on its way to a subscription.
type recovery struct {
	conn   *Conn
	topic  string
	from   From
	missed int
	repair bool // of a Gap: nobody has asked for it
	over   bool // guarded by topicsMu
	parked bool // waits for room in the queue; on the loop

	done chan outcome // of the goroutine that waits; nil: Route.Recovered is called
}

type outcome struct {
	Recovered
	err error
}

// recall is a question that recoveries share.
type recall struct {
	key   recallKey
	list  []*recovery
	at    int64 // when it was asked
	tries int
}

type recallKey struct {
	topic string
	from  From
	bytes uint32
}

// recoveries are the connections on their way to subscriptions.
type recoveries struct {
	// Guarded by topicsMu.
	of     map[*Conn][]*recovery
	topics map[string]int   // how many there are
	places map[string]Place // the latest one, of topics with subscribers or recoveries
	count  int

	// On the loop.
	line  []*recall             // not asked yet
	sweep int                   // the length of line at which it is swept
	open  map[recallKey]*recall // may be shared by further ones
	asked map[uint64]*recall    // by token
	token uint64
	retry *reactor.Alarm
	armed bool // retry is set
}

func (e *Engine) newRecoveries() *recoveries {
	return &recoveries{
		retry: e.loop.NewAlarm(e.askAgain),
		of:    make(map[*Conn][]*recovery), topics: make(map[string]int), places: make(map[string]Place),
		open: make(map[recallKey]*recall), asked: make(map[uint64]*recall),
	}
}

// SubscribeFrom adds c to a topic that keeps its publications, after it was sent those that it has missed. If c is
// subscribed already, the subscription ends first. If the route is Inline, the result is pending; otherwise
// SubscribeFrom waits, and must not be called on the loop. It returns ErrClosed, ErrMoved, ErrTooManySubscriptions,
// ErrNoHistory, ErrRecoveries, ErrRecovering or ErrUnsubscribed. After ErrMoved the recovery continues where c is. It
// is safe for concurrent use.
func (c *Conn) SubscribeFrom(topic string, from From) (Recovered, error) {
	e := c.eng
	if e.recoveries == nil || !e.cfg.History.Keeps(topic) {
		return Recovered{}, ErrNoHistory
	}
	r := &recovery{conn: c, topic: topic, from: from}
	if !c.route.Inline {
		r.done = make(chan outcome, 1)
	}
	if err := e.begin(r, false); err != nil {
		return Recovered{}, err
	}
	if !e.Post(func() { e.lineUp(r) }) {
		return Recovered{}, ErrClosed
	}
	if r.done == nil {
		return Recovered{Pending: true}, nil
	}
	o := <-r.done // everything that ends a recovery sends one, also the end of c and of the loop
	return o.Recovered, o.err
}

// begin records a recovery. It ends a subscription of the same topic or, if the recovery is only for a new one, returns
// errSubscribed.
func (e *Engine) begin(r *recovery, onlyNew bool) error {
	e.topicsMu.Lock()
	defer e.topicsMu.Unlock()
	h, c := e.recoveries, r.conn
	switch c.phase.Load() {
	case phaseOpen:
	case phaseAway:
		return ErrMoved
	default:
		return ErrClosed
	}
	list := h.of[c]
	switch {
	case find(list, r.topic) != nil:
		return ErrRecovering
	case onlyNew && e.topics.Has(r.topic, c.key.Index):
		return errSubscribed
	}
	if h.count >= maxRecoveries {
		e.count.limit(limitRecoveries)
		return ErrRecoveries
	}
	if h.topics[r.topic]++; h.topics[r.topic] == 1 && len(e.topics.Members(r.topic)) == 0 && e.cfg.TopicChanged != nil {
		e.cfg.TopicChanged(r.topic, true)
	}
	h.count++
	h.of[c] = append(list, r)
	removed := e.topics.Unsubscribe(r.topic, c.key.Index)
	if removed && e.cfg.Subscribed != nil {
		e.cfg.Subscribed(c, r.topic, false)
	}
	if removed || e.topics.Count(c.key.Index)+len(list) < e.cfg.MaxSubscriptions {
		c.dropHeld(r.topic)
		return nil
	}
	e.withdraw(r)
	e.count.limit(limitSubscriptions)
	return ErrTooManySubscriptions
}

func find(list []*recovery, topic string) *recovery {
	for _, r := range list {
		if r.topic == topic {
			return r
		}
	}
	return nil
}

// withdraw forgets a recovery, whose connection may have joined the topic. e.topicsMu is held.
func (e *Engine) withdraw(r *recovery) {
	h := e.recoveries
	r.over = true
	list := h.of[r.conn]
	for i := range list {
		if list[i] == r {
			list = append(list[:i:i], list[i+1:]...)
			break
		}
	}
	if h.of[r.conn] = list; len(list) == 0 {
		delete(h.of, r.conn)
	}
	h.count--
	if h.topics[r.topic]--; h.topics[r.topic] > 0 {
		return
	}
	delete(h.topics, r.topic)
	if len(e.topics.Members(r.topic)) == 0 {
		e.topicChanged(r.topic, false)
	}
}

// withdrawAll ends the recoveries of c, which has ended or moves. It returns them. e.topicsMu is held.
func (e *Engine) withdrawAll(c *Conn, err error) []*recovery {
	if e.recoveries == nil {
		return nil
	}
	list := e.recoveries.of[c]
	for _, r := range list {
		e.withdraw(r)
		if r.done != nil {
			r.done <- outcome{err: err}
		}
	}
	return list
}

// recovering returns the recovery of c on a topic; nil if there is none. e.topicsMu is held.
func (e *Engine) recovering(c *Conn, topic string) *recovery {
	if e.recoveries == nil || e.recoveries.count == 0 {
		return nil
	}
	return find(e.recoveries.of[c], topic)
}

// numRecoveries returns how many topics c is recovering on. e.topicsMu is held.
func (e *Engine) numRecoveries(c *Conn) int {
	if e.recoveries == nil {
		return 0
	}
	return len(e.recoveries.of[c])
}

// lineUp asks for the next page of a recovery, once its connection has room for it. On the loop.
func (e *Engine) lineUp(r *recovery) {
	h, c := e.recoveries, r.conn
	if !e.waits(r) {
		return
	}
	c.mu.Lock()
	if r.parked = c.queueSize() > c.route.LowMark; r.parked {
		c.bits |= bitThirsty
	}
	c.mu.Unlock()
	if r.parked {
		return
	}
	key := recallKey{r.topic, r.from, uint32(min(maxPageBytes, max(c.route.QueueLimit/4, 1)))}
	q := h.open[key]
	if q == nil {
		q = e.queue(key)
	}
	if q.list = append(q.list, r); len(q.list) == maxShared {
		delete(h.open, key)
	}
	e.askNext()
}

// askNext asks for pages, as many as may be under way.
func (e *Engine) askNext() {
	h := e.recoveries
	for len(h.line) > 0 && len(h.asked) < recallsAtOnce {
		q := h.line[0]
		h.line[0] = nil
		if h.line = h.line[1:]; len(h.line) == 0 {
			h.line, h.sweep = nil, 0
		}
		if e.topicsMu.Lock(); !e.needs(q) {
			e.dropRecall(q)
			q = nil
		}
		if e.topicsMu.Unlock(); q != nil {
			e.ask(q)
		}
	}
}

// ask asks for a page. A question or an answer that is lost is noticed by askAgain.
func (e *Engine) ask(q *recall) {
	h := e.recoveries
	h.token++
	h.asked[h.token] = q
	q.at = e.loop.Now()
	q.tries++
	e.cfg.History.Recall(Query{
		Topic: q.key.topic, After: q.key.from.After, Last: q.key.from.Last, Bytes: q.key.bytes, Token: h.token,
	})
	if !h.armed {
		h.armed = true
		h.retry.Set(q.at+recallPause, 0)
	}
}

// askAgain asks again for pages that have not come in time, and gives up in the end. On the loop.
func (e *Engine) askAgain() {
	h, now := e.recoveries, e.loop.Now()
	h.armed = false
	var late []*recall
	for token, q := range h.asked {
		if now-q.at >= recallPause {
			delete(h.asked, token)
			late = append(late, q)
		}
	}
	for _, q := range late {
		e.count.limit(limitRecall)
		if q.tries < recallTries {
			e.ask(q)
			continue
		}
		h.close(q)
		for _, r := range q.list {
			e.join(r, Place{}, false, 0)
		}
	}
	e.askNext()
	if len(h.asked) > 0 && !h.armed {
		h.armed = true
		h.retry.Set(now+recallPause/4, 0)
	}
}

// close makes a recall no longer shared.
func (h *recoveries) close(q *recall) {
	if h.open[q.key] == q {
		delete(h.open, q.key)
	}
}

// appendTo appends the recovery as a record of the state of its connection.
func (r *recovery) appendTo(dst []byte) []byte {
	dst = binary.LittleEndian.AppendUint64(dst, r.from.After.Epoch)
	dst = binary.LittleEndian.AppendUint64(dst, r.from.After.Offset)
	dst = binary.LittleEndian.AppendUint32(dst, r.from.Last)
	dst = binary.LittleEndian.AppendUint32(dst, uint32(r.missed))
	repair := byte(0)
	if r.repair {
		repair = 1
	}
	return append(append(dst, repair), r.topic...)
}

// recoveryLen is the length of the record of a recovery without its topic.
const recoveryLen = 25

// parseRecovery decodes the record of a recovery; nil if it is not one.
func parseRecovery(b []byte) *recovery {
	if len(b) <= recoveryLen || b[24] > 1 {
		return nil
	}
	r := &recovery{topic: string(b[recoveryLen:]), repair: b[24] == 1}
	r.from.After = Place{binary.LittleEndian.Uint64(b), binary.LittleEndian.Uint64(b[8:])}
	r.from.Last, r.missed = binary.LittleEndian.Uint32(b[16:]), int(binary.LittleEndian.Uint32(b[20:]))
	return r
}

// carryOn continues the recoveries of c, which has come from another worker or has not left. On the loop.
func (e *Engine) carryOn(c *Conn, list []*recovery) {
	for _, old := range list {
		r := &recovery{conn: c, topic: old.topic, from: old.from, missed: old.missed, repair: old.repair}
		switch {
		case e.recoveries == nil || !e.cfg.History.Keeps(r.topic): // this release does not keep the topic
			if _, err := c.Subscribe(r.topic); err == nil {
				e.tellRecovered(r, Recovered{Missed: r.missed}, 0)
			}
		case e.begin(r, false) == nil:
			e.lineUp(r)
		case c.phase.Load() == phaseOpen: // there are too many
			e.join(r, Place{}, false, 0)
		}
	}
}
