package loadtest

import (
	"encoding/json"
	"errors"
	"fmt"
	"strconv"

	"github.com/expedite-go/expedite/internal/reactor"
	"github.com/expedite-go/expedite/ws"
)

// advance takes steps of a user until the user has to wait or has finished.
func (w *users) advance(u *user) {
	u.running = true
	defer func() { u.running = false }()
	for range maxSteps {
		step := u.step()
		if step == nil {
			w.leave(u, "")
			return
		}
		if why := w.take(u, step); why != "" {
			w.leave(u, why)
			return
		}
		if u.wait != waitNothing || u.stack == nil {
			return
		}
	}
	w.pause(u, waitTime, reactor.Monotonic())
}

// step returns the next step of a user, or nil if there is none.
func (u *user) step() Step {
	for len(u.stack) > 0 {
		f := &u.stack[len(u.stack)-1]
		if f.next < len(f.steps) {
			f.next++
			return f.steps[f.next-1]
		}
		if f.loop != nil && f.again() {
			f.next = 0
			f.set(&u.vars)
			continue
		}
		u.stack = u.stack[:len(u.stack)-1]
		if n := len(u.stack); n > 0 && u.stack[n-1].loop != nil {
			u.stack[n-1].set(&u.vars) // the inner loop has overwritten the variables
		}
	}
	return nil
}

// again starts the next iteration of a loop. It returns false if there is none.
func (f *frame) again() bool {
	f.turn++
	if f.loop.Over != nil {
		return f.turn < len(f.elements)
	}
	return f.loop.Count == 0 || f.turn < f.loop.Count
}

// set sets the variables of the current iteration.
func (f *frame) set(v *Vars) {
	v.Set("$loopCount", f.loop.From+f.turn)
	if f.turn < len(f.elements) {
		v.Set("$loopElement", f.elements[f.turn])
	}
}

// take takes one step. It returns why the step has failed, or "". If the user has to wait afterwards, u.wait is set.
func (w *users) take(u *user, step Step) (why string) {
	switch s := step.(type) {
	case Connect:
		return w.takeConnect(u, &s)
	case Send:
		return w.takeSend(u, &s)
	case Think:
		d := s.For
		if s.Func != nil {
			var err error
			if d, err = s.Func(&u.vars); err != nil {
				return "script: " + brief(err.Error())
			}
		}
		w.pause(u, waitTime, reactor.Monotonic()+int64(max(d, 0)))
	case Loop:
		return w.takeLoop(u, &s)
	case Call:
		s.Func(&u.vars)
	}
	return ""
}

func (w *users) takeConnect(u *user, s *Connect) (why string) {
	raw, err := s.URL.Append(w.payload[:0], &u.vars)
	if err != nil {
		return "script: " + brief(err.Error())
	}
	w.payload = raw
	address := string(raw)
	w.disconnect(u)
	u.opening = opening{subprotocols: s.Subprotocols}
	for _, h := range s.Header {
		value, err := h.Value.Append(w.payload[:0], &u.vars)
		if err != nil {
			return "script: " + brief(err.Error())
		}
		w.payload = value
		u.opening.header = append(u.opening.header, ws.Field{Name: h.Name, Value: string(value)})
	}
	u.opening.header = append(u.opening.header, w.g.cfg.Header...)
	if w.g.cfg.Token != nil {
		u.opening.header = append(u.opening.header,
			ws.Field{Name: "Authorization", Value: "Bearer " + w.g.cfg.Token(u.vars.user)})
	}
	return w.connect(u, address)
}

func (w *users) takeSend(u *user, s *Send) (why string) {
	c := w.g.conns.get(u.key)
	if c == nil || c.state != stateOpen {
		if u.why != "" {
			return u.why
		}
		return "script: send before connect"
	}
	payload, err := s.Payload.Append(w.payload[:0], &u.vars)
	if err != nil {
		return "script: " + brief(err.Error())
	}
	w.payload = payload
	g := w.g
	g.totals.Sent++
	g.totals.BytesSent += uint64(len(payload))
	frame := g.text(c, payload)
	u.sentAt = reactor.Monotonic()
	g.write(c, frame)
	if u.key == (reactor.Key{}) {
		return u.why
	}
	if s.Reply == nil {
		return ""
	}
	timeout := s.Reply.Timeout
	if timeout == 0 {
		timeout = g.cfg.Timeout
	}
	u.reply = s.Reply
	w.pause(u, waitReply, u.sentAt+int64(timeout))
	return ""
}

func (w *users) takeLoop(u *user, l *Loop) (why string) {
	if len(u.stack) >= maxDepth {
		return "script: loops too deep"
	}
	f := frame{steps: l.Steps, loop: l}
	if l.Over != nil {
		var err error
		if f.elements, err = l.Over(&u.vars); err != nil {
			return "script: " + brief(err.Error())
		}
		if len(f.elements) == 0 {
			return ""
		}
	}
	u.stack = append(u.stack, f)
	f.set(&u.vars)
	return ""
}

// valueText returns a part of a message as text, for comparisons.
func valueText(v any) string {
	switch v := v.(type) {
	case string:
		return v
	case []byte:
		return string(v)
	case float64:
		return strconv.FormatFloat(v, 'f', -1, 64)
	case nil:
		return "null"
	case bool, int, int64, json.Number:
		return fmt.Sprint(v)
	}
	b, err := json.Marshal(v)
	if err != nil {
		return fmt.Sprint(v)
	}
	return string(b)
}

// check returns an error if the plan is invalid.
func (p *Plan) check() error {
	if len(p.Phases) == 0 || len(p.Phases) > maxPhases {
		return fmt.Errorf("loadtest: plan: %d phases: want 1 to %d", len(p.Phases), maxPhases)
	}
	for i := range p.Phases {
		ph := &p.Phases[i]
		if ph.Duration < 0 || ph.Rate < 0 || ph.EndRate < 0 || ph.Count < 0 || ph.MaxUsers < 0 {
			return fmt.Errorf("loadtest: plan: phase %d has a negative number", i+1)
		}
		if ph.Rate > maxRate || ph.EndRate > maxRate || ph.Count > maxConnections {
			return fmt.Errorf("loadtest: plan: phase %d has too many users", i+1)
		}
	}
	total := 0.0
	for i := range p.Scenarios {
		total += p.Scenarios[i].weight()
		if err := checkSteps(p.Scenarios[i].Steps, 1); err != nil {
			return err
		}
	}
	if total <= 0 {
		return errors.New("loadtest: plan: no scenario")
	}
	return nil
}

const (
	maxPhases = 1000
	maxRate   = 1e6 // users per second
)

func checkSteps(steps []Step, depth int) error {
	if depth > maxDepth {
		return errors.New("loadtest: plan: loops too deep")
	}
	for _, s := range steps {
		bad := false
		switch s := s.(type) {
		case Connect:
			bad = s.URL == nil
		case Send:
			bad = s.Payload == nil || s.Reply != nil && s.Reply.Timeout < 0
		case Think:
			bad = s.For < 0
		case Loop:
			if err := checkSteps(s.Steps, depth+1); err != nil {
				return err
			}
			bad = s.Count < 0
		case Call:
			bad = s.Func == nil
		default:
			bad = true
		}
		if bad {
			return fmt.Errorf("loadtest: plan: bad step %T", s)
		}
	}
	return nil
}
