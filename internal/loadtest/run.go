package loadtest

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/expedite-go/expedite/internal/reactor"
)

// sampleLag is how long after the samples of a second, which all processes give at the same time, they are looked at.
const sampleLag = 100 * time.Millisecond

// stopTime is how long a run that is stopped waits for what is under way.
const stopTime = time.Second

// phase is how far a run is.
type phase int

const (
	phaseRamp  phase = iota // they connect; with a plan, the whole of it
	phaseTalk               // they do what the mode says
	phaseStorm              // they come back
	phaseDrain              // they send no more, and wait for what is under way
	phaseEnd                // they close
	phaseOver
)

func (p phase) String() string {
	return [...]string{"connecting", "running", "storm", "waiting for replies", "closing", "done"}[p]
}

// Progress is how far a run is.
type Progress struct {
	Phase   string
	Seconds float64 // since the beginning
	Wanted  int     // clients; 0 with a plan
	Open    int
	Opened  uint64
	Failed  uint64
	Closed  uint64 // by the server
	// SentRate and ReceivedRate are messages per second since the last one.
	SentRate, ReceivedRate float64
	// P50 and P99 are of the round trips since the last one, in seconds; HasRTT says whether there were any.
	P50, P99 float64
	HasRTT   bool
}

// run is a run as the parent process sees it. It belongs to the goroutine of Run.
type run struct {
	cfg     *Config
	target  *target // nil with a plan that names none
	crew    *crew
	members []member
	phase   phase
	timer   *time.Timer // of the phase
	began   time.Time
	talked  time.Time // when the clients began to talk
	hushed  time.Time // when they were told to stop
	stopped bool      // before its time

	whole, recent *measures // of the run; since the last tick
	last          totals    // at the last tick
	lastTick      time.Time
	grew          bool // something was delivered since then
	peak          int
	storms        []Storm
	stormAt       time.Time
	timeline      timeline
	server        *observer
}

// member is a client process.
type member struct {
	last   sample
	orders int // given
	gone   error
}

// Run runs cfg, and returns when it is over, or soon after ctx ends, with what was measured until then. In a process
// that Run itself has started, call Work instead.
func Run(ctx context.Context, cfg Config) (*Report, error) {
	if err := cfg.Check(); err != nil {
		return nil, err
	}
	cfg = cfg.withDefaults()
	r := &run{cfg: &cfg, whole: newMeasures(), recent: newMeasures()}
	var err error
	if r.target, err = cfg.target(ctx); err != nil {
		return nil, err
	}
	if r.crew, err = hire(ctx, &cfg); err != nil {
		return nil, err
	}
	defer r.crew.close()
	r.members = make([]member, r.crew.size)
	r.server = observe(r.target, cfg.ServerPID)
	r.begin()
	r.drive(ctx)
	return r.report(), nil
}

// begin lets the clients come.
func (r *run) begin() {
	r.began, r.lastTick = time.Now(), time.Now()
	o := order{Do: orderBegin, Of: r.crew.size, Run: rand.Uint32(), At: reactor.Monotonic()}
	if r.target != nil {
		o.Remotes, o.Locals = r.target.remotes, r.target.locals
	}
	for i := range r.members {
		o.Index = i
		r.tell(i, o)
	}
	r.timer = time.NewTimer(time.Hour)
	r.timer.Stop()
	r.timeline.add(Point{})
}

func (r *run) tell(i int, o order) {
	r.members[i].orders++
	r.crew.tell(i, o)
}

func (r *run) tellAll(o order) {
	for i := range r.members {
		r.tell(i, o)
	}
}

// drive is the run.
func (r *run) drive(ctx context.Context) {
	tick := time.NewTimer(sampleTime + sampleLag)
	defer tick.Stop()
	defer r.timer.Stop()
	stop := ctx.Done()
	for r.phase != phaseOver {
		select {
		case n := <-r.crew.news:
			r.take(n)
			r.step(false)
		case <-r.timer.C:
			r.step(true)
		case <-tick.C:
			r.tick()
			r.step(false)
			tick.Reset(sampleTime - (time.Since(r.began)-sampleLag)%sampleTime)
		case <-stop:
			stop = nil
			r.stopped = true
			r.stop()
		}
	}
	r.tick()
}

// take takes what a client process has said.
func (r *run) take(n news) {
	m := &r.members[n.member]
	if n.sample == nil {
		m.gone = n.err
		m.last.Totals.Open, m.last.Totals.Pending, m.last.Totals.Users = 0, 0, 0
		return
	}
	m.last = *n.sample
	r.recent.merge(n.sample.times)
	if n.sample.done != nil {
		n.sample.done()
	}
	t := r.totals()
	r.peak = max(r.peak, t.Open)
	if r.crew.size == 1 {
		r.peak = t.Peak
	}
}

// totals are those of all processes.
func (r *run) totals() (t totals) {
	for i := range r.members {
		t.add(&r.members[i].last.Totals)
	}
	return t
}

// all says whether something is true of all processes that live, after they have obeyed what they were told.
func (r *run) all(is func(s *sample) bool) bool {
	for i := range r.members {
		if m := &r.members[i]; m.gone == nil && (m.last.Orders != m.orders || !is(&m.last)) {
			return false
		}
	}
	return true
}

// step goes on to the next phase if it is time.
func (r *run) step(timeout bool) {
	settled := func(s *sample) bool { return s.Settled }
	switch r.phase {
	case phaseRamp:
		switch {
		case !r.all(settled):
		case r.cfg.Plan != nil || r.totals().Open == 0:
			r.end()
		default:
			r.talk()
		}
	case phaseTalk:
		over := r.cfg.Duration > 0 && time.Since(r.talked) >= r.cfg.Duration
		switch {
		case over || r.totals().Open == 0 && r.all(settled):
			r.hush()
		case r.cfg.Mode == ModeStorm && timeout:
			r.storm()
		}
	case phaseStorm:
		if r.all(settled) {
			r.calm()
		}
	case phaseDrain:
		if timeout || r.quiet() {
			r.end()
		}
	case phaseEnd:
		if timeout || r.all(func(s *sample) bool { return s.Ended }) {
			r.phase = phaseOver
		}
	}
}

// talk begins what the mode does.
func (r *run) talk() {
	r.phase, r.talked = phaseTalk, time.Now()
	r.tellAll(order{Do: orderTalk})
	switch {
	case r.cfg.Mode == ModeStorm:
		r.timer.Reset(r.cfg.Pause)
	case r.cfg.Duration > 0:
		r.timer.Reset(r.cfg.Duration)
	}
}

// storm lets everybody leave and come back.
func (r *run) storm() {
	r.phase, r.stormAt = phaseStorm, time.Now()
	r.storms = append(r.storms, Storm{T: r.stormAt.Sub(r.began).Seconds(), Failed: r.totals().Failed})
	r.tellAll(order{Do: orderStorm})
}

// calm is after a storm: everybody is back, or failed to come.
func (r *run) calm() {
	s := &r.storms[len(r.storms)-1]
	t := r.totals()
	s.Seconds, s.Open, s.Failed = time.Since(r.stormAt).Seconds(), t.Open, t.Failed-s.Failed
	r.phase = phaseTalk
	r.timer.Reset(r.cfg.Pause)
	if len(r.storms) >= maxStorms {
		r.hush()
	}
}

// stop ends the run before its time. What is under way has a moment to arrive.
func (r *run) stop() {
	if r.phase == phaseTalk {
		r.hush()
		r.timer.Reset(min(stopTime, r.cfg.Timeout))
	} else if r.phase != phaseDrain {
		r.end()
	}
}

// hush ends the talk, and waits for what is under way.
func (r *run) hush() {
	r.phase, r.hushed = phaseDrain, time.Now()
	r.tellAll(order{Do: orderHush})
	r.timer.Reset(r.cfg.Timeout)
}

// quiet says whether nothing is under way any more. What was published may be, as long as it arrives.
func (r *run) quiet() bool {
	if !r.all(func(s *sample) bool { return s.Quiet }) {
		return false
	}
	t := r.totals()
	return r.cfg.Mode != ModeBroadcast || t.Delivered+t.Missing >= t.Published*uint64(t.Open) ||
		r.lastTick.Sub(r.hushed) >= sampleTime && !r.grew
}

// end closes everything.
func (r *run) end() {
	if r.phase >= phaseEnd {
		return
	}
	if r.hushed.IsZero() {
		r.hushed = time.Now()
	}
	r.phase = phaseEnd
	r.tellAll(order{Do: orderEnd, Published: r.totals().Published})
	r.timer.Reset(2 * closeTimeout)
}

// tick takes stock once a second.
func (r *run) tick() {
	now, t := time.Now(), r.totals()
	p := Progress{
		Phase: r.phase.String(), Seconds: now.Sub(r.began).Seconds(), Open: t.Open, Opened: t.Opened, Failed: t.Failed,
	}
	switch {
	case r.cfg.Plan == nil:
		p.Wanted = r.cfg.Connections
	case r.phase == phaseRamp:
		p.Phase = phaseTalk.String()
	}
	for _, n := range t.Closed {
		p.Closed += n
	}
	if d := now.Sub(r.lastTick).Seconds(); d > 0 {
		p.SentRate = float64(t.Sent-r.last.Sent) / d
		p.ReceivedRate = float64(t.Received-r.last.Received) / d
	}
	point := Point{
		T: max(p.Seconds-sampleLag.Seconds(), 0), Open: t.Open, Opened: t.Opened, Failed: t.Failed, Closed: p.Closed,
		Sent: t.Sent, Received: t.Received,
	}
	if h := r.recent.rtt; h.TotalCount() > 0 {
		p.P50, p.P99, p.HasRTT = quantile(h, 50), quantile(h, 99), true
		p50, p99 := p.P50, p.P99
		point.RTT50, point.RTT99 = &p50, &p99
	}
	r.timeline.add(point)
	r.grew = t.Delivered != r.last.Delivered
	r.last, r.lastTick = t, now
	r.whole.merge(r.recent)
	r.recent.reset()
	r.server.look(t.Open)
	if r.cfg.Progress != nil && r.phase != phaseOver {
		r.cfg.Progress(p)
	}
}

// failures are the client processes that have died, in words.
func (r *run) failures() (list []string) {
	for i := range r.members {
		if err := r.members[i].gone; err != nil {
			list = append(list, fmt.Sprintf("client process %d of %d died: %v", i+1, len(r.members), err))
		}
	}
	slices.Sort(list)
	return list
}
