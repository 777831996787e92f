package engine

import (
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"slices"

	"github.com/expedite-go/expedite/internal/reactor"
	"github.com/expedite-go/expedite/ws"
)

// Arrivals are connections that came from another worker. They are on the loop, but nothing is read or written until
// Start.
type Arrivals struct {
	list     []arrival
	position uint64
	refused  []int // places in the batch
	reason   error // of the first one
}

// Refused returns the places in the batch of the connections that were not admitted, in ascending order, and why the
// first one was not.
func (a *Arrivals) Refused() ([]int, error) { return a.refused, a.reason }

type arrival struct {
	conn *Conn
	*state
}

// Len returns the number of connections.
func (a *Arrivals) Len() int { return len(a.list) }

// IDs calls f with the id of each connection that has one.
func (a *Arrivals) IDs(f func(id uint64)) {
	for _, one := range a.list {
		if one.id != 0 {
			f(one.id)
		}
	}
}

// Errors of Admit.
var (
	errPlace  = errors.New("engine: connection is already here")
	errBehind = errors.New("engine: publications that the connection has missed are no longer in the history")
)

// Admit attaches connections to the loop whose states are those of a Batch. position is the number of the last
// publication that they have had. It takes all of them or none, and owns the descriptors in any case. On the loop.
func (e *Engine) Admit(fds []int, states []byte, position uint64) (*Arrivals, error) {
	return e.AdmitMost(fds, states, position, 0)
}

// AdmitMost is Admit, but it may refuse up to spare connections whose states are damaged: see Arrivals.Refused. It
// refuses all if this build does not know a part of a state, because then it is too old for the others, too.
func (e *Engine) AdmitMost(fds []int, states []byte, position uint64, spare int) (*Arrivals, error) {
	a := &Arrivals{position: position}
	err := e.admit(a, fds, states, spare)
	if err != nil {
		for _, fd := range fds {
			if fd >= 0 {
				reactor.CloseFD(fd)
			}
		}
		for _, one := range a.list {
			_ = e.loop.Remove(one.conn.key)
			_ = one.conn.sock.Drop()
		}
		return nil, err
	}
	return a, nil
}

// refuse closes the descriptor at a place. It reports false if no more may be refused.
func (a *Arrivals) refuse(fds []int, place, spare int, err error) bool {
	damaged := errors.Is(err, ErrState) || errors.Is(err, reactor.ErrSealed)
	if len(a.refused) >= spare || !damaged || errors.Is(err, errUnknown) {
		return false
	}
	if fds[place] >= 0 {
		reactor.CloseFD(fds[place])
		fds[place] = -1
	}
	if a.reason == nil {
		a.reason = err
	}
	a.refused = append(a.refused, place)
	return true
}

// admit takes each descriptor that it attaches or closes out of fds.
func (e *Engine) admit(a *Arrivals, fds []int, states []byte, spare int) error {
	parsed := make([]*state, 0, len(fds))
	for len(states) > 0 {
		if len(states) < 4 || uint64(binary.LittleEndian.Uint32(states)) > uint64(len(states)-4) {
			return fmt.Errorf("%w: cut off", ErrState)
		}
		end := 4 + int(binary.LittleEndian.Uint32(states))
		s, err := parseState(states[4:end])
		if err != nil && (len(parsed) >= len(fds) || !a.refuse(fds, len(parsed), spare, err)) {
			return err
		}
		if err != nil {
			parsed, states = append(parsed, nil), states[end:]
			continue
		}
		if s.id != 0 && e.Lookup(s.id) != nil {
			return errPlace
		}
		if max(a.position, s.seen) < e.forgotten {
			return errBehind
		}
		parsed, states = append(parsed, s), states[end:]
	}
	if len(parsed) != len(fds) {
		return fmt.Errorf("%w: %d states for %d sockets", ErrState, len(parsed), len(fds))
	}
	for i, s := range parsed {
		if s == nil {
			continue
		}
		attach := e.loop.Attach
		if s.sealed != nil {
			attach = func(fd int) (reactor.Key, reactor.Socket, error) { return e.loop.Resume(fd, s.sealed) }
		}
		k, sock, err := attach(fds[i])
		fds[i] = -1
		if err != nil && !a.refuse(fds, i, spare, err) {
			return fmt.Errorf("engine: %w", err)
		}
		if err != nil {
			continue
		}
		a.list = append(a.list, arrival{conn: &Conn{eng: e, key: k, sock: sock, remote: s.remote}, state: s})
	}
	slices.Sort(a.refused)
	return nil
}

// Start makes the connections of a live: it calls Resume, sends the publications that they missed, and reads them. Call
// it on the loop, in the same turn as Admit, so that none of their events is lost. It does not keep the memory of the
// states.
func (e *Engine) Start(a *Arrivals) {
	e.moving = true
	defer func() { e.moving = false }()
	for _, one := range a.list {
		e.start(one.conn, one.state, a.position)
	}
	e.count.movedIn.Add(uint64(len(a.list)))
	e.forget(a.position)
	e.boundPartials()
}

func (e *Engine) start(c *Conn, s *state, position uint64) {
	c.id, c.lastRead, c.lastPing, c.loopBits, c.reader, c.end = s.id, s.read, s.ping, s.loopBits, s.reader, s.end
	c.expires = s.expires
	c.agreed = s.agreed
	c.restoreWindows(s)
	c.via = s.via
	if s.phase < phaseOpen {
		c.source = e.source(s.source)
		c.distrust()
	}
	c.enter(true)
	orphaned := false
	if s.path == "" && s.phase >= phaseOpen {
		c.route = e.orphans()
	}
	if s.path != "" {
		if c.route = e.cfg.Route(s.path); c.route == nil {
			c.route, orphaned = e.orphans(), true
		} else if c.route.Load != nil {
			if err := c.route.Load(c, s.owner); err != nil {
				e.clientLog(slog.LevelError, "connection cannot continue here", "conn", fmt.Sprintf("%016x", c.id), "error", err)
				c.route, orphaned = e.orphans(), true
			}
		}
	}
	if c.route != nil {
		c.startMeter(s.meter)
	}
	if s.hasInbound {
		c.newInbound()
		c.keep(s.inbound)
		c.in.op, c.in.since, c.in.got = s.op, c.in.since-s.elapsed, s.got
	}
	c.restoreOutput(s)
	c.phase.Store(s.phase)
	if s.phase < phaseOpen {
		c.tally().Add(1)
	} else {
		e.idsMu.Lock()
		e.ids[c.id] = c
		e.idsMu.Unlock()
	}
	e.settleIn(c, s.topics, s.marks)
	e.tellSubscribed(c, s.topics, true)
	if orphaned {
		e.catchUp(c, s.topics, max(position, s.seen))
		const why = "this endpoint no longer exists"
		c.beginClose(ending{code: ws.CloseServiceRestart, reason: why}, why)
		return
	}
	if s.wantsResume && c.route != nil && c.route.Carries {
		c.dispatch(event{kind: eventResume, data: s.carried})
	}
	for _, ev := range s.events {
		if ev.kind == eventGap || ev.kind == eventFrame {
			e.holdBack(c)
		}
		c.dispatch(ev)
	}
	e.catchUp(c, s.topics, max(position, s.seen)) // after a Gap that waits
	e.carryOn(c, s.recoveries)
}

// restoreOutput queues the output that waited.
func (c *Conn) restoreOutput(s *state) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if s.pressed {
		c.bits |= bitPressed
	}
	apart := c.route != nil && c.route.Policy == PolicyDropOldest
	for _, ch := range s.out {
		switch {
		case ch.kind == chunkPinned:
			c.outbox().addPinned(append([]byte(nil), ch.buf...))
		case ch.kind == chunkLinked:
			c.outbox().linked = true
			if apart {
				c.out.addWhole(append([]byte(nil), ch.buf...))
			} else {
				c.out.addBytes(ch.buf, false)
			}
		case apart:
			for b := ch.buf; len(b) > 0; b = b[frameLen(b):] {
				c.outbox().addBytes(b[:frameLen(b)], true)
			}
		default:
			c.outbox().addBytes(ch.buf, false)
		}
	}
	if c.out != nil {
		c.eng.count.queued(c.out.size)
	}
}

// restoreWindows continues with the windows of s. They are copied.
func (c *Conn) restoreWindows(s *state) {
	c.addWindows()
	w := c.windows()
	w.receive(c.agreed, s.received)
	w.send(c.agreed, s.sent)
}

// orphans returns the route of connections whose endpoint this build does not have. They are closed.
func (e *Engine) orphans() *Route {
	if e.orphan == nil {
		e.orphan = &Route{Handler: nopHandler{}, Inline: true}
		e.orphan.Prepare()
	}
	return e.orphan
}

// nopHandler is a Handler that does nothing.
type nopHandler struct{}

// Open does nothing.
func (nopHandler) Open(*Conn) {}

// Message does nothing.
func (nopHandler) Message(*Conn, ws.Opcode, []byte) {}

// Drain does nothing.
func (nopHandler) Drain(*Conn) {}

// Close does nothing.
func (nopHandler) Close(*Conn, ws.CloseCode, string) {}

// Gap does nothing.
func (nopHandler) Gap(*Conn, string, uint64) {}

// Suspend returns nothing.
func (nopHandler) Suspend(*Conn) ([]byte, error) { return nil, nil }

// Resume does nothing.
func (nopHandler) Resume(*Conn, []byte) error { return nil }

var _ Handler = nopHandler{}
