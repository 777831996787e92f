package loadtest

import (
	"context"
	"fmt"
	"net/netip"

	"github.com/expedite-go/expedite/internal/reactor"
	"github.com/expedite-go/expedite/ws"
)

const (
	// maxSteps limits the steps that a user takes before other users get their turn.
	maxSteps = 1000
	// maxDepth limits the nesting of loops.
	maxDepth = 32
	// maxCollected limits the length in bytes of a fragmented message that is collected for a Reply.
	maxCollected = 16 << 20
	// maxHosts limits the number of different servers in a plan.
	maxHosts = 1000
)

// waiting is what a user waits for.
type waiting uint8

const (
	waitNothing waiting = iota
	waitTime
	waitHost // the address of the server
	waitOpen
	waitReply
)

// user is one virtual user: its position in the scenario and what it waits for.
type user struct {
	vars    Vars
	stack   []frame
	key     reactor.Key // of its connection, or zero
	opening opening
	reply   *Reply
	began   int64
	sentAt  int64
	why     string // why it is no longer connected
	index   uint32 // in users.list
	gen     uint32 // incremented by each wait, so that timers of earlier waits are recognized; never 0
	wait    waiting
	running bool // advance is being called
}

// frame is a list of steps being taken: those of the scenario or of a loop.
type frame struct {
	steps    []Step
	next     int
	loop     *Loop
	turn     int
	elements []any
}

// users is the behavior of a plan: the virtual users in this process.
type users struct {
	g        *generator
	plan     *Plan
	arrivals arrivals
	index    int
	of       int
	start    int64
	over     bool // no more users arrive
	list     []*user
	free     []uint32
	hosts    map[string]*host
	payload  []byte
}

// host is a server of the plan.
type host struct {
	remotes []netip.AddrPort
	locals  []netip.Addr
	err     error
	known   bool
	waiting []*user
}

func newUsers(g *generator, o *order) *users {
	return &users{
		g: g, plan: g.cfg.Plan, arrivals: arrivals{phases: g.cfg.Plan.Phases}, index: o.Index, of: o.Of,
		hosts: make(map[string]*host),
	}
}

func (w *users) begin(o *order) {
	w.start = o.At
	w.arrive(reactor.Monotonic())
}

// arrive starts the users that are due.
func (w *users) arrive(now int64) {
	for n := 0; !w.over; {
		a, ok := w.arrivals.peek()
		if !ok {
			w.over = true
			return
		}
		at := w.start + int64(a.at)
		if at > now || n == rampBatch {
			w.g.timers.add(timer{at: at, ref: refRamp})
			return
		}
		w.arrivals.pop()
		if a.number%w.of != w.index {
			continue
		}
		n++
		if limit := a.phase.MaxUsers; limit > 0 && w.g.totals.Users >= (limit-w.index+w.of-1)/w.of {
			w.g.totals.Skipped++
			continue
		}
		w.enter(a.number)
	}
}

// enter starts a user.
func (w *users) enter(number int) {
	u := &user{gen: 1, began: reactor.Monotonic()}
	if n := len(w.free); n > 0 {
		u.index = w.free[n-1]
		w.free = w.free[:n-1]
		u.gen = w.list[u.index].gen + 1
		w.list[u.index] = u
	} else {
		u.index = uint32(len(w.list))
		w.list = append(w.list, u)
	}
	w.g.totals.Users++
	w.g.totals.Arrived++
	u.vars.user = number
	s := w.choose()
	u.stack = append(u.stack, frame{steps: s.Steps})
	if w.plan.Init != nil {
		if err := w.plan.Init(number, &u.vars); err != nil {
			w.leave(u, "script: "+brief(err.Error()))
			return
		}
	}
	w.advance(u)
}

// choose picks a scenario at random, by weight.
func (w *users) choose() *Scenario {
	list := w.plan.Scenarios
	total := 0.0
	for i := range list {
		total += list[i].weight()
	}
	x := float64(w.g.random.Uint64()>>11) / (1 << 53) * total
	for i := range list {
		if x -= list[i].weight(); x < 0 {
			return &list[i]
		}
	}
	return &list[len(list)-1]
}

func (s *Scenario) weight() float64 {
	if s.Weight == 0 {
		return 1
	}
	return max(s.Weight, 0)
}

// leave ends a user. An empty reason means that it has taken all steps.
func (w *users) leave(u *user, why string) {
	if w.list[u.index] != u || u.stack == nil {
		return // it has left already
	}
	u.gen++
	u.wait, u.stack = waitNothing, nil
	w.free = append(w.free, u.index)
	t := &w.g.totals
	t.Users--
	if why == "" {
		t.Completed++
		record(w.g.times.session, reactor.Monotonic()-u.began)
	} else {
		t.UsersFailed++
		count(&t.Errors, why)
	}
	w.disconnect(u)
}

// disconnect closes the connection of a user, if it has one.
func (w *users) disconnect(u *user) {
	c := w.g.conns.get(u.key)
	u.key = reactor.Key{}
	if c == nil || c.user != u {
		return
	}
	c.user = nil
	w.g.end(c, ws.CloseNormal)
}

// pause makes a user wait until the given time.
func (w *users) pause(u *user, what waiting, until int64) {
	u.gen++
	u.wait = what
	w.g.timers.add(timer{at: until, ref: u.index, gen: u.gen})
}

func (w *users) fire(t timer, now int64) {
	if t.gen == 0 {
		w.arrive(now)
		return
	}
	u := w.list[t.ref]
	if u.gen != t.gen {
		return
	}
	switch u.wait {
	case waitTime:
		u.wait = waitNothing
		w.advance(u)
	case waitReply:
		w.leave(u, "timeout of a reply")
	}
}

func (w *users) order(o *order) {
	switch o.Do {
	case orderStop:
		w.over = true
	case orderEnd:
		w.over = true
		for _, u := range w.list {
			if u.stack != nil {
				u.gen++
				u.stack, u.wait = nil, waitNothing
				w.g.totals.Users--
			}
		}
		w.g.conns.each(func(c *conn) { c.user = nil })
	}
}

func (w *users) progress() (settled, quiet bool) {
	return w.over && w.g.totals.Users == 0, true
}

func (w *users) opening(c *conn) *opening {
	if c.user == nil {
		return &opening{target: &target{}}
	}
	return &c.user.opening
}

func (w *users) opened(c *conn) {
	if u := c.user; u != nil && u.wait == waitOpen {
		u.wait = waitNothing
		u.opening.header = nil
		w.advance(u)
	}
}

func (w *users) refused(u *user, cause string) {
	if u != nil && u.wait == waitOpen {
		u.key = reactor.Key{}
		w.g.totals.UsersFailed++
		w.drop(u)
	}
}

// drop removes a user whose failure is already counted.
func (w *users) drop(u *user) {
	u.gen++
	u.wait, u.stack = waitNothing, nil
	w.free = append(w.free, u.index)
	w.g.totals.Users--
}

func (*users) writable(*conn) {}

func (w *users) closed(c *conn, why string) {
	u := c.user
	c.user = nil
	if u == nil {
		return
	}
	u.key, u.why = reactor.Key{}, why
	if u.wait == waitReply && !u.running {
		w.leave(u, why)
	}
}

// connect opens a user's WebSocket once the address of its server is known.
func (w *users) connect(u *user, raw string) (why string) {
	t, err := parseTarget(raw)
	if err != nil {
		return brief(err.Error())
	}
	u.opening.target = t
	name := fmt.Sprintf("%s:%d", t.name, t.port)
	h := w.hosts[name]
	if h == nil {
		if len(w.hosts) >= maxHosts {
			return "too many different servers"
		}
		h = &host{}
		w.hosts[name] = h
		w.resolve(h, *t)
	}
	u.wait = waitHost
	if !h.known {
		h.waiting = append(h.waiting, u)
		return ""
	}
	return w.dial(u, h)
}

// resolve resolves the host on a goroutine, which ends with the answer, its timeout or the generator.
func (w *users) resolve(h *host, t target) {
	cfg := *w.g.cfg
	w.g.loop.Runnable()
	w.g.background.Go(func() {
		ctx, cancel := context.WithTimeout(w.g.ctx, cfg.Timeout)
		defer cancel()
		err := t.resolve(ctx, &cfg)
		w.g.loop.Post(func() {
			h.remotes, h.locals, h.err, h.known = t.remotes, t.locals, err, true
			list := h.waiting
			h.waiting = nil
			for _, u := range list {
				if u.wait != waitHost {
					continue
				}
				if why := w.dial(u, h); why != "" {
					w.leave(u, why)
				}
			}
		})
	})
}

func (w *users) dial(u *user, h *host) (why string) {
	if h.err != nil {
		w.g.totals.Failed++
		return cause(h.err)
	}
	t := u.opening.target
	t.remotes, t.locals = h.remotes, h.locals
	u.wait = waitOpen
	if w.g.dial(t, uint32(u.vars.user)&mask24, u) != "" {
		w.g.totals.UsersFailed++
		w.drop(u)
	}
	return ""
}

// message handles a message, or a piece of one, for a user that waits for a reply.
func (w *users) message(c *conn, ev *ws.Event) {
	u, i := c.user, c.key.Index
	if ev.First {
		c.bits &^= bitPartial
		// A message that was read before the send is not its reply: servers often send a greeting along with the
		// handshake.
		if u == nil || u.wait != waitReply || w.g.readAt < u.sentAt {
			return
		}
		if ev.Last {
			w.judge(u, ev.Data)
			return
		}
		c.bits |= bitPartial
	}
	if c.bits&bitPartial == 0 {
		return
	}
	b := append(w.g.partial[i], ev.Data...)
	w.g.partial[i] = b
	if !ev.Last && len(b) <= maxCollected {
		return
	}
	c.bits &^= bitPartial
	delete(w.g.partial, i)
	switch {
	case u == nil || u.wait != waitReply:
	case len(b) > maxCollected:
		w.leave(u, "reply: too long")
	default:
		w.judge(u, b)
	}
}

// judge checks the reply that a user has waited for.
func (w *users) judge(u *user, b []byte) {
	record(w.g.times.rtt, w.g.readAt-u.sentAt)
	r := u.reply
	u.wait, u.reply = waitNothing, nil
	u.gen++
	for i := range r.Match {
		m := &r.Match[i]
		got, ok := m.Part.Extract(b)
		want, err := m.Value.Append(w.payload[:0], &u.vars)
		if err != nil {
			w.leave(u, "script: "+brief(err.Error()))
			return
		}
		w.payload = want
		if !ok || valueText(got) != string(want) {
			w.leave(u, brief("no match: "+m.Name))
			return
		}
	}
	for i := range r.Capture {
		c := &r.Capture[i]
		got, ok := c.Part.Extract(b)
		switch {
		case ok:
			u.vars.Set(c.As, got)
		case !c.Optional:
			w.leave(u, brief("no capture: "+c.Name))
			return
		}
	}
	w.advance(u)
}

var _ behavior = (*users)(nil)
