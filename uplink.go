package expedite

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/expedite-go/expedite/auth"
	"github.com/expedite-go/expedite/internal/rpc"
	"github.com/expedite-go/expedite/session"
)

// uplink is a worker's way to the registry of its machine. Any goroutine.
type uplink struct {
	n    *node
	peer *rpc.Peer
	// greeted says that the primary has told what must be known. One of an earlier release does not; the one that comes
	// in its place says so.
	greeted atomic.Bool

	keys     atomic.Int64 // when those came that the primary knows, in ns
	waits    bool         // the primary has a registry: nothing is served before it has told
	profiles profiles
	done     chan struct{}
	mu       sync.Mutex
	readers  map[uint64]func() // ends of follows; nil after close
}

const (
	// helloTimeout bounds the first question to the primary. One of an earlier release has no answer.
	helloTimeout = time.Second
	// commandTimeout bounds what the registry is asked to have done.
	commandTimeout = 3 * orderTimeout
	// helloAgain is the time until it is asked again, and helloPause the same while nothing is served before its answer.
	helloAgain, helloPause = 5 * time.Second, 200 * time.Millisecond
	// memoryTimeout bounds a question to the memory store, which answers in microseconds, unless its primary replaces
	// itself.
	memoryTimeout = 5 * time.Second
)

func newUplink(n *node, send func([]byte) error) *uplink {
	u := &uplink{
		n: n, readers: make(map[uint64]func()), done: make(chan struct{}), waits: os.Getenv(registryVariable) != "",
	}
	u.peer = rpc.NewPeer(send, u.told)
	return u
}

var errNoRegistry = errors.New("expedite: the primary keeps no sessions")

// store is the memory store in the primary.
func (u *uplink) store() session.Store {
	return session.NewClient(func(ctx context.Context, request []byte) ([]byte, error) {
		if !u.greeted.Load() {
			return nil, errNoRegistry
		}
		// Once: a question that comes to a primary which replaces itself waits in the socket, and is answered.
		ctx, cancel := context.WithTimeout(ctx, memoryTimeout)
		defer cancel()
		return u.peer.Call(ctx, opSession, request)
	})
}

// registryVariable is set for workers whose primary has a registry; those before it had none.
const registryVariable = "EXPEDITE_REGISTRY"

// meet asks the primary what this worker must know before it serves, until it has answered or is lost. One of an
// earlier release, which may have no answer, is asked again while this worker serves.
func (u *uplink) meet() {
	err := u.greet()
	switch {
	case err == nil:
	case u.waits:
		u.ask(err, helloPause)
	default:
		go u.ask(err, helloAgain) // ends with an answer, or with the link
	}
}

// ask greets again and again until there is an answer, or no link.
func (u *uplink) ask(err error, pause time.Duration) {
	for err != nil && !errors.Is(err, rpc.ErrClosed) {
		u.n.log.Warn("the primary does not tell what was revoked: it is busy, or of an earlier release", "error", err)
		select {
		case <-time.After(pause):
			err = u.greet()
		case <-u.done:
			return
		}
	}
}

// lose lets those go who wait for a primary that is gone.
func (u *uplink) lose() { u.peer.Close() }

// greet asks the primary once.
func (u *uplink) greet() error {
	before := u.followed()
	var h hello
	err := u.query(opHello, helloRequest{Paged: true}, &h)
	if err != nil {
		return err
	}
	u.n.gate.keeper.node.Store(&h.Node)
	if h.Health != nil {
		u.n.gate.keeper.health.Store(h.Health)
	}
	u.deny(h.Denials)
	follows := h.Follows
	for at := 0; h.Paged; {
		var p page
		if err := u.query(opPage, pageRequest{At: at}, &p); err != nil {
			return err
		}
		list, err := parseDenials(p.Denials)
		if u.deny(list); err != nil {
			return err
		}
		follows = append(follows, p.Follows...)
		if at = p.Next; at == 0 {
			break
		}
	}
	u.swapKeys()
	u.greeted.Store(true)
	u.n.orders.resweep(func(int) {}) // clients may have come before the answer
	for _, f := range follows {
		before = slices.DeleteFunc(before, func(id uint64) bool { return id == f.ID })
		f.Recent = false
		if _, err := u.follow(f); err != nil {
			u.n.log.Warn("log lines are not followed", "error", err)
		}
	}
	for _, id := range before { // their readers went with the primary before
		_, _ = u.follow(follow{ID: id, Stop: true})
	}
	return nil
}

// call asks the primary, within helloTimeout.
func (u *uplink) call(op byte, request []byte) ([]byte, error) {
	ctx, cancel := context.WithTimeout(context.Background(), helloTimeout)
	defer cancel()
	return u.peer.Call(ctx, op, request)
}

// query asks the primary in JSON.
func (u *uplink) query(op byte, request, answer any) error {
	b, err := json.Marshal(request)
	if err == nil {
		b, err = u.call(op, b)
	}
	if err == nil {
		err = json.Unmarshal(b, answer)
	}
	return err
}

// deny puts denials on the deny list.
func (u *uplink) deny(list []auth.Denial) {
	for _, d := range list {
		if err := u.n.gate.deny.Add(d, time.Now()); err != nil {
			u.n.log.Error("revocation is not on the deny list", "error", err)
		}
	}
}

// followed are the numbers of those who read log lines.
func (u *uplink) followed() []uint64 {
	u.mu.Lock()
	defer u.mu.Unlock()
	return slices.Collect(maps.Keys(u.readers))
}

// told does what the primary says.
func (u *uplink) told(op byte, payload []byte, reply func([]byte, error)) {
	switch op {
	case opGreet: // it may have heard, on its way, of revocations that nobody was told
		go u.meet() // ends with its timeout
	case opOrder:
		var o order
		if err := json.Unmarshal(payload, &o); err != nil {
			reply(nil, err)
			return
		}
		u.n.orders.obey(o, func(closed int) { reply(json.Marshal(orderDone{closed})) })
	case opHealth:
		h := new(health)
		if json.Unmarshal(payload, h) == nil { // else it is of a later release, and says nothing to this one
			u.n.gate.keeper.health.Store(h)
		}
	case opDenials:
		list, err := parseDenials(payload)
		if err != nil {
			reply(nil, err)
			return
		}
		u.deny(list)
		u.n.orders.resweep(func(closed int) { reply(json.Marshal(orderDone{closed})) })
	case opCount:
		u.n.count(func(connected int64) { reply(json.Marshal(connected)) })
	case opLive:
		var req liveRequest
		if err := json.Unmarshal(payload, &req); err != nil {
			reply(nil, err)
			return
		}
		u.n.live(req, func(list []liveConn) { reply(json.Marshal(list)) })
	case opFollow:
		var f follow
		if err := json.Unmarshal(payload, &f); err != nil {
			reply(nil, err)
			return
		}
		reply(u.follow(f))
	case opReport:
		reply(u.n.askedReport().Encode(), nil)
	case opProfile:
		request := bytes.Clone(payload)
		go func() { reply(u.profiles.serve(u.done, request)) }() // ends with the profile's time, or with close
	case opProfilePart:
		reply(u.profiles.part(payload))
	case opProfileEnd:
		if len(payload) == 8 {
			u.profiles.forget(binary.LittleEndian.Uint64(payload))
		}
	case opReopen:
		go func() { // ends with the file system's answer
			reply(nil, u.n.app.ReopenLogs(context.Background()))
		}()
	default:
		reply(nil, errors.New("unknown request"))
	}
}

// follow begins or ends to send log lines, and returns the latest if they are wanted.
func (u *uplink) follow(f follow) ([]byte, error) {
	if f.Stop {
		u.mu.Lock()
		stop := u.readers[f.ID]
		delete(u.readers, f.ID)
		u.mu.Unlock()
		if stop != nil {
			stop()
		}
		return nil, nil
	}
	stop, recent, err := u.n.app.journal.Load().follow(f, func(b []byte) error { return u.peer.Tell(opLines, b) })
	if err != nil {
		return nil, err
	}
	if f.Live {
		u.mu.Lock()
		before, closed := u.readers[f.ID], u.readers == nil
		if !closed {
			u.readers[f.ID] = stop
		}
		u.mu.Unlock()
		if closed {
			stop()
		}
		if before != nil { // of a primary that was replaced, or told twice
			before()
		}
	}
	return bytes.Join(recent, []byte("\n")), nil
}

// close lets those go who wait for the primary.
func (u *uplink) close() {
	close(u.done)
	u.peer.Close()
	u.mu.Lock()
	readers := u.readers
	u.readers = nil
	u.mu.Unlock()
	for _, stop := range readers {
		stop()
	}
}

// command has the registry carry a command out.
func (a *App) command(ctx context.Context, c command) (commandDone, error) {
	if d := a.desk.Load(); d != nil {
		return d.registry.command(ctx, c)
	}
	n := a.node.Load()
	if n == nil {
		return commandDone{}, ErrNotRunning
	}
	b, err := json.Marshal(c)
	if err != nil {
		return commandDone{}, fmt.Errorf("expedite: %w", err)
	}
	var done commandDone
	if !n.uplink.greeted.Load() {
		return done, fmt.Errorf("expedite: %w", errNoRegistry)
	}
	ctx, cancel := context.WithTimeout(ctx, commandTimeout) // a primary that replaces itself forgets whom it answers
	defer cancel()
	b, err = n.uplink.peer.Call(ctx, opCommand, b)
	if err == nil {
		err = json.Unmarshal(b, &done)
	}
	if err != nil {
		return done, fmt.Errorf("expedite: %w", err)
	}
	return done, nil
}
