package loadtest

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/expedite-go/expedite/internal/reactor"
)

// sampleLag is how long after a full second the samples are read, which all processes send at the full second.
const sampleLag = 100 * time.Millisecond

// stopTime is how long a run that is stopped waits for outstanding answers.
const stopTime = time.Second

// phase is the state of a run.
type phase int

const (
	phaseRamp  phase = iota // clients connect; with a plan, all of the run
	phaseRun                // clients do what the mode requires
	phaseStorm              // clients reconnect
	phaseDrain              // clients send no more; answers are outstanding
	phaseEnd                // clients close their connections
	phaseOver
)

func (p phase) String() string {
	return [...]string{"connecting", "running", "storm", "waiting for replies", "closing", "done"}[p]
}

// Progress is the state of a run at one moment.
type Progress struct {
	Phase   string
	Seconds float64 // since the start of the run
	Wanted  int     // number of clients; 0 with a plan
	Open    int
	Opened  uint64
	Failed  uint64
	Closed  uint64 // by the server
	// SentRate and ReceivedRate are messages per second since the previous Progress.
	SentRate, ReceivedRate float64
	// P50 and P99 are the round-trip times since the previous Progress, in seconds. HasRTT reports whether there were
	// any.
	P50, P99 float64
	HasRTT   bool
}

// run is the parent's side of a run. It belongs to the goroutine of Run.
type run struct {
	cfg        *Config
	target     *target // nil with a plan that names none
	group      *processGroup
	members    []member
	phase      phase
	timer      *time.Timer // of the current phase
	began      time.Time
	runBegan   time.Time // when the clients were told to send
	drainBegan time.Time // when the clients were told to stop
	stopped    bool      // before its time

	whole, recent *measures // of the whole run; since the last tick
	last          totals    // at the last tick
	lastTick      time.Time
	grew          bool // publications were delivered since the last tick
	peak          int
	storms        []Storm
	stormAt       time.Time
	timeline      timeline
	server        *observer
}

// member is the state of one client process.
type member struct {
	last   sample
	orders int // orders sent
	err    error
}

// Run executes the run that cfg describes and returns its report. If ctx ends, Run stops early and returns what was
// measured until then. A process that Run has started must call Work instead.
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
	if r.group, err = startProcesses(ctx, &cfg); err != nil {
		return nil, err
	}
	defer r.group.close()
	r.members = make([]member, r.group.size)
	r.server = observe(r.target, cfg.ServerPID)
	r.begin()
	r.loop(ctx)
	return r.report(), nil
}

// begin starts the ramp, or the arrivals of the plan.
func (r *run) begin() {
	r.began, r.lastTick = time.Now(), time.Now()
	o := order{Do: orderBegin, Of: r.group.size, Run: rand.Uint32(), At: reactor.Monotonic()}
	if r.target != nil {
		o.Remotes, o.Locals = r.target.remotes, r.target.locals
	}
	for i := range r.members {
		o.Index = i
		r.send(i, o)
	}
	r.timer = time.NewTimer(time.Hour)
	r.timer.Stop()
	r.timeline.add(Point{})
}

func (r *run) send(i int, o order) {
	r.members[i].orders++
	r.group.send(i, o)
}

func (r *run) sendAll(o order) {
	for i := range r.members {
		r.send(i, o)
	}
}

// loop handles events until the run is over.
func (r *run) loop(ctx context.Context) {
	tick := time.NewTimer(sampleTime + sampleLag)
	defer tick.Stop()
	defer r.timer.Stop()
	stop := ctx.Done()
	for r.phase != phaseOver {
		select {
		case e := <-r.group.events:
			r.handle(e)
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

// handle handles an event of a client process.
func (r *run) handle(e processEvent) {
	m := &r.members[e.member]
	if e.sample == nil {
		m.err = e.err
		m.last.Totals.Open, m.last.Totals.Pending, m.last.Totals.Users = 0, 0, 0
		return
	}
	m.last = *e.sample
	r.recent.merge(e.sample.times)
	if e.sample.done != nil {
		e.sample.done()
	}
	t := r.totals()
	r.peak = max(r.peak, t.Open)
	if r.group.size == 1 {
		r.peak = t.Peak
	}
}

// totals returns the sum over all processes.
func (r *run) totals() (t totals) {
	for i := range r.members {
		t.add(&r.members[i].last.Totals)
	}
	return t
}

// all reports whether is returns true for the last sample of every live process. A process that has not yet handled all
// of its orders counts as false.
func (r *run) all(is func(s *sample) bool) bool {
	for i := range r.members {
		if m := &r.members[i]; m.err == nil && (m.last.Orders != m.orders || !is(&m.last)) {
			return false
		}
	}
	return true
}

// step enters the next phase if its condition is met.
func (r *run) step(timeout bool) {
	settled := func(s *sample) bool { return s.Settled }
	switch r.phase {
	case phaseRamp:
		switch {
		case !r.all(settled):
		case r.cfg.Plan != nil || r.totals().Open == 0:
			r.end()
		default:
			r.start()
		}
	case phaseRun:
		over := r.cfg.Duration > 0 && time.Since(r.runBegan) >= r.cfg.Duration
		switch {
		case over || r.totals().Open == 0 && r.all(settled):
			r.drain()
		case r.cfg.Mode == ModeStorm && timeout:
			r.storm()
		}
	case phaseStorm:
		if r.all(settled) {
			r.endStorm()
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

// start begins the traffic of the mode.
func (r *run) start() {
	r.phase, r.runBegan = phaseRun, time.Now()
	r.sendAll(order{Do: orderStart})
	switch {
	case r.cfg.Mode == ModeStorm:
		r.timer.Reset(r.cfg.Pause)
	case r.cfg.Duration > 0:
		r.timer.Reset(r.cfg.Duration)
	}
}

// storm makes all clients disconnect and reconnect.
func (r *run) storm() {
	r.phase, r.stormAt = phaseStorm, time.Now()
	r.storms = append(r.storms, Storm{T: r.stormAt.Sub(r.began).Seconds(), Failed: r.totals().Failed})
	r.sendAll(order{Do: orderStorm})
}

// endStorm records a storm after which all clients have reconnected or failed.
func (r *run) endStorm() {
	s := &r.storms[len(r.storms)-1]
	t := r.totals()
	s.Seconds, s.Open, s.Failed = time.Since(r.stormAt).Seconds(), t.Open, t.Failed-s.Failed
	r.phase = phaseRun
	r.timer.Reset(r.cfg.Pause)
	if len(r.storms) >= maxStorms {
		r.drain()
	}
}

// stop ends the run before its time. Outstanding answers have up to stopTime to arrive.
func (r *run) stop() {
	if r.phase == phaseRun {
		r.drain()
		r.timer.Reset(min(stopTime, r.cfg.Timeout))
	} else if r.phase != phaseDrain {
		r.end()
	}
}

// drain ends the traffic and waits for outstanding answers.
func (r *run) drain() {
	r.phase, r.drainBegan = phaseDrain, time.Now()
	r.sendAll(order{Do: orderStop})
	r.timer.Reset(r.cfg.Timeout)
}

// quiet reports whether no answers are outstanding. Publications may still be on their way as long as some arrive.
func (r *run) quiet() bool {
	if !r.all(func(s *sample) bool { return s.Quiet }) {
		return false
	}
	t := r.totals()
	return r.cfg.Mode != ModeBroadcast || t.Delivered+t.Missing >= t.Published*uint64(t.Open) ||
		r.lastTick.Sub(r.drainBegan) >= sampleTime && !r.grew
}

// end closes all connections.
func (r *run) end() {
	if r.phase >= phaseEnd {
		return
	}
	if r.drainBegan.IsZero() {
		r.drainBegan = time.Now()
	}
	r.phase = phaseEnd
	r.sendAll(order{Do: orderEnd, Published: r.totals().Published})
	r.timer.Reset(2 * closeTimeout)
}

// tick updates the timeline and reports progress, once a second.
func (r *run) tick() {
	now, t := time.Now(), r.totals()
	p := Progress{
		Phase: r.phase.String(), Seconds: now.Sub(r.began).Seconds(), Open: t.Open, Opened: t.Opened, Failed: t.Failed,
	}
	switch {
	case r.cfg.Plan == nil:
		p.Wanted = r.cfg.Connections
	case r.phase == phaseRamp:
		p.Phase = phaseRun.String()
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

// failures describes the client processes that have died.
func (r *run) failures() (list []string) {
	for i := range r.members {
		if err := r.members[i].err; err != nil {
			list = append(list, fmt.Sprintf("client process %d of %d died: %v", i+1, len(r.members), err))
		}
	}
	slices.Sort(list)
	return list
}
