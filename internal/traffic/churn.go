package traffic

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/expedite-go/expedite/ws"
)

// churnEchoes is the number of messages per churn connection.
const churnEchoes = 2

// churn opens one short connection after another until Stop.
func (r *Run) churn(number uint32) {
	defer r.work.Done()
	rng := rand.New(rand.NewPCG(r.cfg.Seed, uint64(number)<<8))
	pacer := &link{stop: r.stopping, gone: make(chan struct{})} // used only for its pause method
	for turn := 1; pacer.pause(rng, r.cfg.interval()/2); turn++ {
		if err := r.visit(rng, number, turn); err != nil {
			r.tally.fault(&r.tally.churnFailed, 1, fmt.Sprintf("churn %d, connection %d: %v", number, turn, err))
			continue
		}
		r.tally.churned.Add(1)
		r.arrivals.Add(1)
	}
}

// visit runs one short connection: a handshake request in small pieces, two echoes and the closing handshake.
func (r *Run) visit(rng *rand.Rand, number uint32, turn int) error {
	ctx, cancel := context.WithTimeout(context.Background(), r.cfg.Patience)
	defer cancel()
	l := &link{tls: r.cfg.TLS, stop: r.stopping, gone: make(chan struct{}), rng: rng}
	r.compress(l, number+uint32(turn))
	slowly := cut{dribbleLeast, dribbleMost, time.Millisecond}
	path := [...]string{pathEcho, pathWork}[turn%2]
	if err := l.open(ctx, r.cfg.Addr, path, slowly); err != nil {
		return err
	}
	defer l.nc.Close()
	if err := l.nc.SetDeadline(time.Now().Add(r.cfg.Patience)); err != nil {
		return err
	}
	v := &visitor{run: r, link: l, number: number}
	if err := v.say(); err != nil {
		return err
	}
	err := l.listen(nil, v.on)
	switch {
	case v.err != nil:
		return v.err
	case !v.closed:
		return fmt.Errorf("ended after %d echoes: %w", v.heard, err)
	default:
		return nil
	}
}

// visitor is one short connection.
type visitor struct {
	run     *Run
	link    *link
	number  uint32
	arrival arrival
	heard   uint64
	closed  bool
	err     error
}

// say sends the next message or, after the last echo, the close frame.
func (v *visitor) say() error {
	if v.heard == churnEchoes {
		return v.link.close(ws.CloseNormal)
	}
	op := ws.OpText + ws.Opcode(v.heard%2)
	body := v.run.corpus.body(v.link.rng, op, v.link.rng.IntN(maxShort+1))
	m := newMessage(op, v.number, v.heard+1, body)
	return v.link.send(op, m.whole(nil), cut{})
}

func (v *visitor) on(ev ws.Event) {
	if err := v.take(ev); err != nil && v.err == nil {
		v.err = err
		_ = v.link.nc.SetReadDeadline(time.Unix(1, 0)) // further input cannot undo the failure
	}
}

func (v *visitor) take(ev ws.Event) error {
	switch ev.Kind {
	case ws.KindPong:
		return errors.New("unsolicited pong")
	case ws.KindClose:
		if v.heard != churnEchoes || ev.Code != ws.CloseNormal {
			return fmt.Errorf("closed by %d %q after %d echoes", ev.Code, ev.Data, v.heard)
		}
		v.closed = true
		return nil
	}
	if ev.First {
		v.arrival.begin(ev.Opcode)
	}
	if v.arrival.add(ev.Data); !ev.Last {
		return nil
	}
	sender, n, err := v.arrival.open()
	if err != nil {
		return err
	}
	if v.heard++; sender != v.number || n != v.heard || v.heard > churnEchoes {
		return fmt.Errorf("echo %d is message %d of client %d", v.heard, n, sender)
	}
	return v.say()
}
