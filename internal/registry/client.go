package registry

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/expedite-go/expedite/auth"
	"github.com/expedite-go/expedite/internal/connid"
	"github.com/expedite-go/expedite/internal/denylist"
	"github.com/expedite-go/expedite/internal/ratchet"
	"github.com/expedite-go/expedite/internal/remotestore"
	"github.com/expedite-go/expedite/internal/rpc"
	"github.com/expedite-go/expedite/internal/telemetry"
	"github.com/expedite-go/expedite/session"
)

// Client is a worker's side of the link to the registry.
type Client struct {
	ClientConfig
	log      *slog.Logger
	peer     *rpc.Peer
	verifier auth.Verifier
	profiles profiles

	// greeted reports that the primary has answered hello. One of an early release does not; its successor asks for a
	// new hello.
	greeted atomic.Bool
	node    atomic.Pointer[string]
	machine atomic.Int64           // of node
	health  atomic.Pointer[Health] // nil until a primary has told that knows it
	keys    atomic.Int64           // time of the keys that the primary knows, in ns

	applyMu sync.Mutex // held while changed settings are applied
	applied uint64     // their number
	drain   uint64     // number of the latest drain; under applyMu, too

	done chan struct{}
	mu   sync.Mutex
	live map[uint64]func() // ends of subscriptions; nil after Close
}

// ClientConfig configures a Client.
type ClientConfig struct {
	// Send puts a message on the link. It must not block.
	Send     func([]byte) error
	Journal  *telemetry.Journal
	Verifier auth.Verifier // nil knows no tokens
	// OwnStore keeps the sessions of the application. Nil: another one does.
	OwnStore session.Store
	Deny     *denylist.List
	// Connections are those of this worker.
	Connections Connections
	// Report returns the worker's report, and Profile serves its profiles.
	Report  func() telemetry.Report
	Profile http.Handler
	// Apply applies settings that a reload has changed.
	Apply func(settings []byte) error
	// Drain carries out a drain. It must not block.
	Drain func(Drain)
	// Bridge listens to other machines for the primary; nil: there are none.
	Bridge Bridge
	// Tickets receives the keys of TLS session tickets; nil: nobody needs them.
	Tickets func(*ratchet.Ratchet)
	// Certificates are those of TLS; nil: there are none.
	Certificates Certificates
	// Wait makes Meet block until the primary answers, see EnvVariable.
	Wait bool
}

// Certificates are those of a worker, whose files may not be usable.
type Certificates interface {
	// Needs returns why Restore has to be called, or nil.
	Needs() error
	// Restore uses those of the primary, if they are better.
	Restore(kept []byte) error
}

// Connections carries out orders in a worker. The functions must not block; done is called once, from any goroutine.
type Connections interface {
	// Obey closes the connections that an order names, and those that were opening or moving when it came.
	Obey(o Order, done func(closed int))
	// Recheck closes all connections that the deny list denies.
	Recheck(done func(closed int))
	// Live lists connections that have sessions.
	Live(req LiveRequest, done func([]LiveConn))
	// Members returns the subscribers of a topic.
	Members(req MembersRequest, done func(Members))
	// Connected counts connections that have sessions.
	Connected(done func(int64))
}

const (
	// helloTimeout bounds a question to the primary. One of an early release does not answer.
	helloTimeout = time.Second
	// helloAgain is the time until the primary is asked again, and helloPause the same while the worker waits for the
	// answer before it serves.
	helloAgain, helloPause = 5 * time.Second, 200 * time.Millisecond
	// commandTimeout bounds a command.
	commandTimeout = 3 * orderTimeout
	// memoryTimeout bounds a request to the memory store. The store answers in microseconds, unless its primary is
	// being replaced.
	memoryTimeout = 5 * time.Second
)

// ErrNoRegistry reports that the primary has no registry, or has not answered yet.
var ErrNoRegistry = errors.New("expedite: the primary keeps no sessions")

// NewClient returns a Client. It learns nothing before Meet.
func NewClient(c ClientConfig) *Client {
	cl := &Client{
		ClientConfig: c, log: c.Journal.Logger, verifier: c.Verifier, profiles: profiles{handler: c.Profile},
		live: make(map[uint64]func()), done: make(chan struct{}),
	}
	cl.node.Store(new(string))
	cl.peer = rpc.NewPeer(c.Send, cl.serve)
	return cl
}

// Receive takes a message of the primary, one for which rpc.Is reports true. One goroutine at a time.
func (c *Client) Receive(m []byte) { c.peer.Receive(m) }

// Node returns the machine's name among all; empty before the primary has told it.
func (c *Client) Node() string { return *c.node.Load() }

// Machine returns the machine's number in the ids of connections; 0 before the primary has told its name.
func (c *Client) Machine() int { return int(c.machine.Load()) }

// Health returns the health as the primary sees it. Known is false if it has not told any.
func (c *Client) Health() (h Health, known bool) {
	if told := c.health.Load(); told != nil {
		return *told, true
	}
	return Health{Current: true}, false
}

// RefusedProfiles returns the number of profiles that were refused.
func (c *Client) RefusedProfiles() uint64 { return c.profiles.refused.Load() }

// Store returns the memory store of the primary.
func (c *Client) Store() session.Store {
	return remotestore.New(func(ctx context.Context, request []byte) ([]byte, error) {
		if !c.greeted.Load() {
			return nil, ErrNoRegistry
		}
		// One attempt: a request to a primary that is being replaced waits in the socket, and is answered.
		ctx, cancel := context.WithTimeout(ctx, memoryTimeout)
		defer cancel()
		return c.peer.Call(ctx, opSession, request)
	})
}

// Command has the registry carry out a command, and blocks until it is done.
func (c *Client) Command(ctx context.Context, cmd Command) (done Done, err error) {
	b, err := json.Marshal(cmd)
	if err != nil {
		return done, fmt.Errorf("expedite: %w", err)
	}
	if !c.greeted.Load() {
		return done, ErrNoRegistry
	}
	ctx, cancel := context.WithTimeout(ctx, commandTimeout) // a primary that is replaced does not answer what it was asked
	defer cancel()
	b, err = c.peer.Call(ctx, opCommand, b)
	if err == nil {
		err = json.Unmarshal(b, &done)
	}
	if err != nil {
		return done, fmt.Errorf("expedite: %w", err)
	}
	return done, nil
}

// Meet asks the primary what this worker must know before it serves, and blocks until it has answered or is lost. A
// primary of an early release may never answer: without Wait, it is asked again while the worker serves.
func (c *Client) Meet() {
	err := c.greet()
	switch {
	case err == nil:
	case c.Wait:
		c.greetAgain(err, helloPause)
	default:
		go c.greetAgain(err, helloAgain) // ends with an answer, or with the link
	}
}

// greetAgain says hello until there is an answer, or no link.
func (c *Client) greetAgain(err error, pause time.Duration) {
	for err != nil && !errors.Is(err, rpc.ErrClosed) {
		c.log.Warn("the primary does not answer what was revoked: it is busy, or of an early release", "error", err)
		select {
		case <-time.After(pause):
			err = c.greet()
		case <-c.done:
			return
		}
	}
}

// greet says hello once.
func (c *Client) greet() error {
	before := c.subscriptions()
	var h hello
	needs := c.Certificates != nil && c.Certificates.Needs() != nil
	err := c.query(opHello, helloRequest{Paged: true, Certificates: needs}, &h)
	if err != nil {
		return err
	}
	c.node.Store(&h.Node)
	c.machine.Store(int64(connid.MachineOf(nodeNumber(h.Node))))
	if h.Health != nil {
		c.health.Store(h.Health)
	}
	if r, err := ratchet.Parse(h.Tickets); err == nil && c.Tickets != nil {
		c.Tickets(r)
	}
	if needs {
		if err := c.Certificates.Restore(h.Certificates); err != nil {
			c.log.Error("certificates of the primary not used", "error", err)
		}
		clear(h.Certificates)
	}
	if h.Changed != nil {
		if err := c.apply(h.Changed); err != nil {
			c.log.Error("changed settings not applied", "error", err)
		}
	}
	c.drained(h.Drain)
	c.denyAll(h.Denials)
	follows := h.Follows
	for at := 0; h.Paged; {
		var p page
		if err := c.query(opPage, pageRequest{At: at}, &p); err != nil {
			return err
		}
		list, err := parseDenials(p.Denials)
		if c.denyAll(list); err != nil {
			return err
		}
		follows = append(follows, p.Follows...)
		if at = p.Next; at == 0 {
			break
		}
	}
	c.exchangeKeys()
	c.greeted.Store(true)
	c.Connections.Recheck(func(int) {}) // clients may have come before the answer
	for _, sub := range follows {
		before = slices.DeleteFunc(before, func(id uint64) bool { return id == sub.ID })
		sub.Recent = false
		if _, err := c.subscribe(sub); err != nil {
			c.log.Warn("log lines are not sent to a subscriber", "error", err)
		}
	}
	for _, id := range before { // their subscribers ended with the primary before
		_, _ = c.subscribe(subscription{ID: id, Stop: true})
	}
	return nil
}

// call asks the primary, within helloTimeout.
func (c *Client) call(op byte, request []byte) ([]byte, error) {
	ctx, cancel := context.WithTimeout(context.Background(), helloTimeout)
	defer cancel()
	return c.peer.Call(ctx, op, request)
}

// query asks the primary in JSON.
func (c *Client) query(op byte, request, answer any) error {
	b, err := json.Marshal(request)
	if err == nil {
		b, err = c.call(op, b)
	}
	if err == nil {
		err = json.Unmarshal(b, answer)
	}
	return err
}

// denyAll adds denials to the deny list.
func (c *Client) denyAll(list []denylist.Entry) {
	for _, d := range list {
		if err := c.Deny.Add(d, time.Now()); err != nil {
			c.log.Error("revocation is not on the deny list", "error", err)
		}
	}
}

// serve carries out what the primary asks.
func (c *Client) serve(op byte, payload []byte, reply func([]byte, error)) {
	switch op {
	case opGreet: // the primary may have received revocations, on its way, that no worker was told
		go c.Meet() // ends with its timeout
	case opOrder:
		var o Order
		if err := json.Unmarshal(payload, &o); err != nil {
			reply(nil, err)
			return
		}
		if d, ok := o.Denial(); ok {
			c.denyAll([]denylist.Entry{d})
		}
		c.Connections.Obey(o, func(closed int) { reply(json.Marshal(obeyed{closed})) })
	case opHealth:
		h := new(Health)
		if json.Unmarshal(payload, h) == nil { // else it is of a later release, and unknown to this one
			c.health.Store(h)
		}
	case opDenials:
		list, err := parseDenials(payload)
		if err != nil {
			reply(nil, err)
			return
		}
		c.denyAll(list)
		c.Connections.Recheck(func(closed int) { reply(json.Marshal(obeyed{closed})) })
	case opCount:
		c.Connections.Connected(func(connected int64) { reply(json.Marshal(connected)) })
	case opMembers:
		var req MembersRequest
		if err := json.Unmarshal(payload, &req); err != nil {
			reply(nil, err)
			return
		}
		c.Connections.Members(req, func(m Members) { reply(json.Marshal(m)) })
	case opLive:
		var req LiveRequest
		if err := json.Unmarshal(payload, &req); err != nil {
			reply(nil, err)
			return
		}
		c.Connections.Live(req, func(list []LiveConn) { reply(json.Marshal(list)) })
	case opFollow:
		var sub subscription
		if err := json.Unmarshal(payload, &sub); err != nil {
			reply(nil, err)
			return
		}
		reply(c.subscribe(sub))
	case opStore:
		if c.OwnStore == nil {
			reply(nil, errors.New("no store"))
			return
		}
		request := bytes.Clone(payload)
		go func() { reply(remotestore.Serve(context.Background(), c.OwnStore, request), nil) }() // ends with its answer
	case opReopen:
		go func() { reply(nil, c.Journal.Reopen()) }() // ends when the file system answers
	case opApply:
		var next changed
		err := json.Unmarshal(payload, &next)
		if err == nil {
			err = c.apply(&next)
		}
		reply(nil, err)
	default:
		c.serveProcess(op, payload, reply)
	}
}

// apply applies settings, unless it has applied later ones.
func (c *Client) apply(next *changed) error {
	c.applyMu.Lock()
	defer c.applyMu.Unlock()
	if next.Number <= c.applied {
		return nil
	}
	c.applied = next.Number
	return c.Apply(next.Settings)
}

// serveProcess answers questions about the worker process.
func (c *Client) serveProcess(op byte, payload []byte, reply func([]byte, error)) {
	switch op {
	case opReport:
		reply(c.Report().Encode(), nil)
	case opDrain:
		var d Drain
		if json.Unmarshal(payload, &d) == nil {
			c.drained(&d)
		}
	case opBridge, opEndBridge:
		c.bridge(op, payload, reply)
	case opProfile:
		request := bytes.Clone(payload)
		go func() { reply(c.profiles.serve(c.done, request)) }() // ends with the profile's time, or with Close
	case opProfilePart:
		reply(c.profiles.part(payload))
	case opProfileEnd:
		if len(payload) == 8 {
			c.profiles.forget(binary.LittleEndian.Uint64(payload))
		}
	default:
		reply(nil, errors.New("unknown request"))
	}
}

// subscriptions returns the numbers of the live subscriptions.
func (c *Client) subscriptions() []uint64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Collect(maps.Keys(c.live))
}

// subscribe begins or ends a subscription of log lines, and returns the latest lines if they are wanted.
func (c *Client) subscribe(sub subscription) ([]byte, error) {
	if sub.Stop {
		c.mu.Lock()
		stop := c.live[sub.ID]
		delete(c.live, sub.ID)
		c.mu.Unlock()
		if stop != nil {
			stop()
		}
		return nil, nil
	}
	stop, recent, err := subscribe(c.Journal, sub, func(b []byte) error { return c.peer.Tell(opLines, b) })
	if err != nil {
		return nil, err
	}
	if sub.Live {
		c.mu.Lock()
		before, closed := c.live[sub.ID], c.live == nil
		if !closed {
			c.live[sub.ID] = stop
		}
		c.mu.Unlock()
		if closed {
			stop()
		}
		if before != nil { // of a primary that was replaced, or the request came twice
			before()
		}
	}
	return bytes.Join(recent, []byte("\n")), nil
}

// Lose releases all who wait for an answer: the primary is gone.
func (c *Client) Lose() { c.peer.Close() }

// Close ends the client and its subscriptions.
func (c *Client) Close() {
	close(c.done)
	c.peer.Close()
	c.mu.Lock()
	live := c.live
	c.live = nil
	c.mu.Unlock()
	for _, stop := range live {
		stop()
	}
}
