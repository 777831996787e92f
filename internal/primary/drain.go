package primary

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/expedite-go/expedite/internal/control"
	"github.com/expedite-go/expedite/internal/registry"
)

// drainPlan is a drain that was begun and not undone. It is written as JSON, for the program that replaces this one;
// fields may be added.
type drainPlan struct {
	Number    uint64    `json:"number"` // of registry.Drain
	Phase     string    `json:"phase,omitempty"`
	SettledAt time.Time `json:"settled_at,omitzero"`
	ClosedAt  time.Time `json:"closed_at,omitzero"`
	Notice    string    `json:"notice,omitempty"`
}

// until returns when the phase is planned to end.
func (p *drainPlan) until() time.Time {
	if p.Phase == control.DrainSettling {
		return p.SettledAt
	}
	return p.ClosedAt
}

// drainLook is the time between two looks at how many connections are left.
const drainLook = time.Second

// drainer drains the machine and keeps it drained: readiness off, then no new connections, then none at all. The
// workers do what registry.Drain tells them.
type drainer struct {
	log      *slog.Logger
	registry *registry.Server
	workers  WorkerGroup

	mu    sync.Mutex
	plan  drainPlan
	timer *time.Timer // of the next phase, or the next look; nil without a drain
}

// begin begins a drain, or changes the times of the one that there is. New connections, once refused, stay refused.
func (d *drainer) begin(req control.DrainRequest) {
	d.mu.Lock()
	defer d.mu.Unlock()
	now := time.Now()
	p := &d.plan
	if p.Phase == "" || p.Phase == control.DrainSettling {
		p.Phase, p.SettledAt = control.DrainSettling, now.Add(seconds(req.SettleSeconds))
	} else {
		p.Phase, p.SettledAt = control.DrainClosing, now
	}
	p.ClosedAt, p.Notice = p.SettledAt.Add(seconds(req.OverSeconds)), req.Notice
	d.log.Info("drain begins", "phase", p.Phase, "settle_seconds", time.Until(p.SettledAt).Seconds(),
		"over_seconds", req.OverSeconds)
	d.enter()
}

// undo ends a drain.
func (d *drainer) undo() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.plan.Phase == "" {
		return
	}
	d.plan = drainPlan{Number: d.plan.Number}
	d.log.Info("drain undone: new connections are taken")
	d.enter()
}

// resume goes on with the drain of the program before. If that was undone, a worker may have missed it.
func (d *drainer) resume(p drainPlan) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.plan = p
	d.plan.Number-- // enter gives the same number again: workers that know it go on
	d.enter()
}

// enter tells the workers of the plan, and sets the timer. d.mu is held.
func (d *drainer) enter() {
	p := &d.plan
	p.Number++
	closing := p.Phase == control.DrainClosing || p.Phase == control.DrainDone
	order := registry.Drain{Number: p.Number, Unready: p.Phase != "", Close: closing, By: p.ClosedAt}
	if closing && p.Notice != "" {
		order.Notice, p.Notice = p.Notice, ""
	}
	d.registry.SetDrain(order)
	if d.timer != nil {
		d.timer.Stop()
		d.timer = nil
	}
	switch {
	case p.Phase == control.DrainSettling:
		d.after(time.Until(p.SettledAt), d.settled)
	case closing:
		d.after(drainLook, d.look)
	}
}

// after calls f with the number of connections, and with the lock, unless the plan changes before. d.mu is held.
func (d *drainer) after(wait time.Duration, f func(connections int64)) {
	number := d.plan.Number
	d.timer = time.AfterFunc(wait, func() {
		n := d.connections() // without the lock: a worker may hang
		d.mu.Lock()
		defer d.mu.Unlock()
		if d.plan.Number == number && d.timer != nil {
			f(n)
		}
	})
}

// settled ends the phase in which new connections are taken. d.mu is held.
func (d *drainer) settled(connections int64) {
	d.plan.Phase = control.DrainClosing
	d.log.Info("drain closes the connections", "connections", connections, "until", d.plan.ClosedAt)
	d.enter()
}

// look notes when no connection is left. d.mu is held.
func (d *drainer) look(left int64) {
	switch {
	case left == 0 && d.plan.Phase == control.DrainClosing:
		d.plan.Phase = control.DrainDone
		d.log.Info("drained: no connection is left; the server stays up until it is stopped, or the drain is undone")
	case left > 0:
		d.plan.Phase = control.DrainClosing // connections that were on their way when new ones were refused
	}
	d.after(drainLook, d.look)
}

// connections counts those that are open, by fresh reports.
func (d *drainer) connections() (n int64) {
	for _, r := range d.workers.Reports(context.Background()) {
		n += r.Connections
	}
	return n
}

// phase returns the phase; empty without a drain.
func (d *drainer) phase() string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.plan.Phase
}

// status returns the state of the drain, nil without one.
func (d *drainer) status(connections int64) *control.DrainStatus {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.plan.Phase == "" {
		return nil
	}
	left := max(time.Until(d.plan.until()).Seconds(), 0)
	if d.plan.Phase == control.DrainDone {
		left = 0
	}
	return &control.DrainStatus{Phase: d.plan.Phase, LeftSeconds: left, Connections: connections}
}

// leave returns what the program that replaces this one gets.
func (d *drainer) leave() *drainPlan {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.plan.Number == 0 {
		return nil
	}
	p := d.plan
	return &p
}

// close ends what waits.
func (d *drainer) close() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.timer != nil {
		d.timer.Stop()
		d.timer = nil
	}
}

func seconds(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }

// Drain begins, changes or undoes a drain.
func (s *ControlServer) Drain(_ context.Context, req control.DrainRequest) error {
	if s.serving.Load() == nil || s.stopping.Load() {
		return &control.Error{Code: control.CodeUnavailable, Message: "the server starts or stops"}
	}
	if req.Undo {
		s.drainer.undo()
	} else {
		s.drainer.begin(req)
	}
	return nil
}
