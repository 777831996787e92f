package presence

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/expedite-go/expedite/internal/broker"
)

// office is a hub that keeps what a Server does.
type office struct {
	mu     sync.Mutex
	events []string
	asked  []uint64
}

func (o *office) Change(topic string, event []byte) {
	e, err := ParseEvent(event)
	if err != nil {
		panic(err)
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	o.events = append(o.events, fmt.Sprintf("%s %d %s %d", topic, e.Kind, e.ID, e.Count))
}

func (o *office) Lost(topic string, missed uint64) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.events = append(o.events, fmt.Sprintf("%s lost %d", topic, missed))
}

func (o *office) Ask(port uint64) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.asked = append(o.asked, port)
}

// want checks, and forgets, the events so far.
func (o *office) want(t *testing.T, events ...string) {
	t.Helper()
	synctest.Wait()
	o.mu.Lock()
	defer o.mu.Unlock()
	if !slices.Equal(o.events, events) {
		t.Fatalf("got events %q, want %q", o.events, events)
	}
	o.events = nil
}

// machine is a Server of a test.
type machine struct {
	*Server
	office
}

// newMachine starts a Server that ends with the test.
func newMachine(t *testing.T, state []byte, patterns ...string) *machine {
	t.Helper()
	m := new(machine)
	m.Server = NewServer(Config{Rules: rulesOf(t, patterns...), Hub: &m.office})
	if state != nil {
		if err := m.LoadState(state); err != nil {
			t.Fatal(err)
		}
	}
	m.Start()
	t.Cleanup(m.Close)
	return m
}

func (m *machine) enter(port uint64, topic string, ids ...string) {
	for _, id := range ids {
		m.Received(port, broker.Enter, topic, Member{ID: id}.append(nil))
	}
}

func (m *machine) leave(port uint64, topic, id string) {
	m.Received(port, broker.Leave, topic, []byte(id))
}

// TestServerEvents: subscribers are told who comes, and who has been gone for the grace, and of nobody who moves to
// another worker or comes back in time.
func TestServerEvents(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMachine(t, nil, "t*")
		m.Attached(1)
		m.Attached(2)
		m.enter(1, "t", "a", "b")
		m.want(t, "t 1 a 1", "t 1 b 2")
		m.leave(1, "t", "a")
		m.enter(2, "t", "a") // it has moved
		<-time.After(3 * time.Second)
		m.leave(1, "t", "b")
		<-time.After(time.Second)
		m.enter(1, "t", "b") // it is back
		<-time.After(10 * time.Second)
		m.want(t)
		m.Detached(2) // the worker dies
		m.enter(2, "t", "c")
		<-time.After(1999 * time.Millisecond)
		m.want(t)
		<-time.After(time.Millisecond)
		m.want(t, "t 2 a 1")
		if s := m.Stats(); s.Topics != 1 || s.Members != 1 || s.Joins != 2 || s.Leaves != 1 {
			t.Errorf("got %+v", s)
		}
	})
}

// TestServerChurn: a member that comes and goes all the time is told of once.
func TestServerChurn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMachine(t, nil, "t*")
		m.Attached(1)
		for range 1000 {
			m.enter(1, "t", "a")
			<-time.After(10 * time.Millisecond)
			m.leave(1, "t", "a")
			<-time.After(10 * time.Millisecond)
		}
		m.want(t, "t 1 a 1")
		m.Server.mu.Lock()
		n := len(m.roster.leaving)
		m.Server.mu.Unlock()
		if n > 1 {
			t.Errorf("%d departures wait", n)
		}
		<-time.After(2 * defaultGrace)
		m.want(t, "t 2 a 0")
	})
}

// TestServerSucceeds: a program that replaces another one tells of nobody who was there before, and of those who have
// gone or come meanwhile. In topics that the program before had no rule for, nobody has come.
func TestServerSucceeds(t *testing.T) {
	for _, lost := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			old := newMachine(t, nil, "t*")
			old.Attached(1)
			old.Attached(2)
			old.enter(1, "t", "a", "b")
			old.enter(2, "t", "b", "c")
			old.want(t, "t 1 a 1", "t 1 b 2", "t 1 c 3")
			old.Suspend()
			old.enter(1, "t", "lost on the way")
			state := old.AppendState(nil)
			old.Resume()
			m := newMachine(t, state, "u*", "t*")
			m.want(t)
			m.Attached(3)
			m.enter(3, "t", "a", "new")
			m.enter(3, "u", "a")
			m.Received(3, broker.Told, "", nil)
			m.Attached(4)
			m.Settle()
			m.want(t, "t 3 new 4")
			if n, list, _ := m.List("t"); n != 4 || len(list) != 0 {
				t.Errorf("got %d members, %v", n, list)
			}
			<-time.After(5 * time.Second)
			m.want(t) // worker 4 has not told anything
			if !lost {
				m.enter(4, "t", "b")
				m.Received(4, broker.Told, "", nil)
				<-time.After(5 * time.Second)
				m.want(t, "t 4 c 3")
				m.enter(4, "u", "b")
				m.want(t, "u 1 b 2")
				return
			}
			<-time.After(settleLimit)
			synctest.Wait()
			m.Server.mu.Lock()
			n := len(m.roster.rooms["t"].members)
			m.Server.mu.Unlock()
			if n != 2 {
				t.Errorf("%d members are left, want a and new", n)
			}
		})
	}
}

// TestServerFullQueue: what does not fit into the queue is asked for again, and wrong messages do no harm.
func TestServerFullQueue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMachine(t, nil, "t*")
		m.Attached(7)
		m.Received(7, broker.Enter, "t", []byte("malformed"))
		m.enter(9, "t", "nobody")
		m.enter(7, "t", "a")
		m.want(t, "t 1 a 1")
		m.Suspend()
		for range 2 {
			m.Received(7, broker.Leave, "t", []byte(strings.Repeat("x", maxInbox)))
		}
		m.enter(7, "t", "b")
		m.Resume()
		synctest.Wait()
		if !slices.Equal(m.asked, []uint64{7}) || m.Stats().Dropped != 3 {
			t.Errorf("asked %v, dropped %d", m.asked, m.Stats().Dropped)
		}
		m.enter(7, "t", "a", "b")
		<-time.After(time.Minute)
		m.want(t, "t 1 b 2")
	})
}

// TestServerRoom: members that were refused are asked for when there is room.
func TestServerRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := new(machine)
		m.Server = NewServer(Config{Rules: rulesOf(t, "t*"), Hub: &m.office, Max: 4})
		m.Start()
		defer m.Close()
		m.Attached(1)
		m.enter(1, "t", "a", "b", "c")
		m.enter(1, "t2", "d", "e")
		m.want(t, "t 1 a 1", "t 1 b 2", "t 1 c 3", "t2 1 d 1")
		m.leave(1, "t", "a")
		<-time.After(time.Minute)
		m.want(t, "t 2 a 2")
		if !slices.Equal(m.asked, []uint64{1}) || m.Stats().Refused != 1 {
			t.Errorf("asked %v, refused %d", m.asked, m.Stats().Refused)
		}
	})
}

func FuzzLoadState(f *testing.F) {
	f.Add([]byte{})
	s := NewServer(Config{Rules: rulesOf(f, "t*")})
	s.ports[1] = true
	s.roster.Enter(1, "t", Member{"a", "b"}, false)
	f.Add(s.AppendState(nil))
	f.Fuzz(func(t *testing.T, b []byte) {
		s := NewServer(Config{Rules: rulesOf(t, "t*")})
		if err := s.LoadState(b); err != nil && !errors.Is(err, ErrState) {
			t.Error(err)
		}
	})
}
