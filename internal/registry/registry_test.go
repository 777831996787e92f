package registry

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/expedite-go/expedite/internal/denylist"
	"github.com/expedite-go/expedite/internal/redistest"
	"github.com/expedite-go/expedite/internal/rpc"
	"github.com/expedite-go/expedite/internal/telemetry"
)

// patience is how long a test waits for what must happen.
const patience = 30 * time.Second

// newServer returns a Server that has not started.
func newServer(t *testing.T, redis string) *Server {
	t.Helper()
	s, err := NewServer(t.Context(), Config{
		Journal: newJournal(t), Redis: redis, Moving: func() bool { return false },
	})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func newJournal(t *testing.T) *telemetry.Journal {
	t.Helper()
	j, err := telemetry.OpenJournal(telemetry.JournalConfig{Handler: slog.DiscardHandler, Queue: 100})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(j.Close)
	return j
}

// connections counts what a worker is asked to do.
type connections struct {
	rechecks, orders atomic.Int64
	drains           []Drain
}

func (c *connections) Obey(_ Order, done func(int)) { c.orders.Add(1); done(0) }

func (c *connections) Recheck(done func(int)) { c.rechecks.Add(1); done(0) }

func (c *connections) Live(_ LiveRequest, done func([]LiveConn)) { done(nil) }

func (c *connections) Members(_ MembersRequest, done func(Members)) { done(Members{}) }

func (c *connections) drain(d Drain) { c.drains = append(c.drains, d) }

func (c *connections) Connected(done func(int64)) { done(0) }

// join returns a worker of a server: both sides of its link.
func join(t *testing.T, s *Server) (*Worker, *Client, *connections) {
	t.Helper()
	conns := new(connections)
	var w *Worker
	c := NewClient(ClientConfig{
		Send: func(m []byte) error { w.Receive(m); return nil }, Journal: newJournal(t), Deny: new(denylist.List),
		Connections: conns, Wait: true, Drain: conns.drain,
	})
	w = s.Join(1, func(m []byte) error { c.Receive(m); return nil })
	c.Meet()
	t.Cleanup(c.Close)
	return w, c, conns
}

// TestWorkerThatFellBehind: a worker that has not carried out an order asks for everything, and is told so once.
func TestWorkerThatFellBehind(t *testing.T) {
	r := newServer(t, "")
	var greets atomic.Int64
	r.Join(1, func(m []byte) error {
		const notice = 4 // kind, after four zero bytes
		if rpc.Is(m) && m[4] == notice && m[5] == opGreet {
			greets.Add(1)
			return nil
		}
		return errors.New("the queue is full")
	})
	ctx, cancel := context.WithTimeout(t.Context(), 2*orderRetry)
	defer cancel()
	if _, err := r.carryOut(ctx, Order{Kind: KindConnection, Value: "0000000000000001"}); err == nil {
		t.Error("an order that no worker has heard is carried out")
	}
	for range 2 {
		r.tellAgain()
	}
	if got := greets.Load(); got != 1 {
		t.Errorf("it was told %d times, want once", got)
	}
}

// TestPages: what is too long for a page is in several, and out of turn there is none.
func TestPages(t *testing.T) {
	r := newServer(t, "")
	const denials = 2*pageBytes/4000 + 1
	for i := range denials {
		o := Order{Kind: "user", Value: fmt.Sprint(strings.Repeat("u", 4000), i), Until: time.Now().Add(time.Hour)}
		if d, ok := o.Denial(); !ok || r.deny.Add(d, time.Now()) != nil {
			t.Fatal("not a denial")
		}
	}
	for id := range uint64(pageFollows + 1) {
		r.subscribers.live[id] = &subscriber{subscription: subscription{ID: id}}
	}
	w := new(Worker)
	if _, err := w.page(r, 5); err == nil {
		t.Error("there is a page before the first")
	}
	seen, follows := 0, 0
	for at, pages := 0, 1; ; pages++ {
		p, err := w.page(r, at)
		if err != nil {
			t.Fatal(err)
		}
		list, err := parseDenials(p.Denials)
		if err != nil || len(p.Denials) > pageBytes+5000 || len(p.Follows) > pageFollows {
			t.Fatalf("a page of %d bytes and %d follows, %v", len(p.Denials), len(p.Follows), err)
		}
		seen += len(list)
		follows += len(p.Follows)
		if at = p.Next; at == 0 {
			if pages < 3 {
				t.Errorf("got %d pages", pages)
			}
			break
		}
	}
	if seen != denials || follows != pageFollows+1 {
		t.Errorf("got %d denials and %d follows, want %d and %d", seen, follows, denials, pageFollows+1)
	}
}

// TestGreetedAgain: a worker that knows its primary learns which revocations the next one knows.
func TestGreetedAgain(t *testing.T) {
	s := newServer(t, "")
	w, c, conns := join(t, s)
	late := denylist.Entry{Kind: denylist.User, Value: "alice", Until: time.Now().Add(time.Hour)}
	if err := s.deny.Add(late, time.Now()); err != nil {
		t.Fatal(err)
	}
	before := conns.rechecks.Load()
	if err := w.Greet(); err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(patience); conns.rechecks.Load() == before; <-time.After(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the worker does not check its connections")
		}
	}
	if _, denied := c.Deny.Denies("alice", "", "", time.Now()); !denied {
		t.Error("the worker does not know the revocation")
	}
}

// TestGreetedAgainEndsSubscriptions: log lines are not sent to subscribers of the primary before.
func TestGreetedAgainEndsSubscriptions(t *testing.T) {
	_, c, _ := join(t, newServer(t, ""))
	if _, err := c.subscribe(subscription{ID: 7, Live: true}); err != nil {
		t.Fatal(err)
	}
	if list := c.subscriptions(); len(list) != 1 {
		t.Fatalf("got %d, want a subscription", list)
	}
	if err := c.greet(); err != nil {
		t.Fatal(err)
	}
	if list := c.subscriptions(); len(list) != 0 {
		t.Errorf("got %d, want none", list)
	}
}

// TestMissedRevocations: what other machines could not be told is told by the program that comes next.
func TestMissedRevocations(t *testing.T) {
	redis := redistest.Start(t)
	first, next, other := newServer(t, redis.URL()), newServer(t, redis.URL()), newServer(t, redis.URL())
	redis.Kill()
	o := Order{Kind: "user", Value: "alice", Until: time.Now().Add(time.Hour), Code: CodeRevoked, Reason: RevokedReason}
	if done, err := first.Command(t.Context(), Command{Order: o}); err != nil || done.Stored {
		t.Fatalf("got %+v, %v, want that it is not stored", done, err)
	}
	b, err := json.Marshal(State{Denials: first.deny.All(time.Now()), Node: first.node})
	if err != nil {
		t.Fatal(err)
	}
	var state State
	if err := json.Unmarshal(b, &state); err != nil {
		t.Fatal(err)
	}
	if err := next.Load(state, nil, nil); err != nil {
		t.Fatal(err)
	}
	redis.Restart()
	for _, r := range []*Server{next, other} {
		r.Start()
		defer r.Close()
	}
	deadline := time.After(patience)
	for {
		if _, denied := other.deny.Denies("alice", "", "", time.Now()); denied {
			break
		}
		select {
		case <-deadline:
			t.Fatal("another machine does not hear of it")
		case <-time.After(20 * time.Millisecond):
		}
	}
	first.Close()
}

// TestWorkerWaitsForItsPrimary: before it serves, as long as there is one.
func TestWorkerWaitsForItsPrimary(t *testing.T) {
	asked := make(chan struct{}, 100)
	u := NewClient(ClientConfig{Journal: newJournal(t), Deny: new(denylist.List), Wait: true, Send: func([]byte) error {
		asked <- struct{}{}
		return errors.New("the queue is full")
	}})
	met := make(chan struct{})
	go func() {
		u.Meet()
		close(met)
	}()
	<-asked
	<-asked
	select {
	case <-met:
		t.Error("it serves without an answer")
	default:
	}
	u.Lose()
	select {
	case <-met:
	case <-time.After(patience):
		t.Error("it waits for a primary that is gone")
	}
}
