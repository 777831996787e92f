package relay

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/expedite-go/expedite/backplane"
	"github.com/expedite-go/expedite/internal/broker"
	"github.com/expedite-go/expedite/internal/connid"
	"github.com/expedite-go/expedite/internal/record"
)

// succeed replaces the program of a machine. What it publishes meanwhile is sent by the next one.
func (k *machine) succeed(m *medium, endBridge func(context.Context) error, meanwhile func()) *machine {
	k.t.Helper()
	k.Suspend(0)
	meanwhile()
	state := k.AppendState(nil)
	next := newMachineWith(k.t, m, Config{Node: k.Node, Succeeds: true, EndBridge: endBridge}, state)
	next.subscribe("t")
	next.CatchUp()
	synctest.Wait()
	return next
}

// TestSucceed: the next program goes on with the numbers, so nothing is taken for a repetition, and what was missed is
// noticed. What waited is sent first.
func TestSucceed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := new(medium)
		a, b := newMachine(t, m, 1), newMachine(t, m, 2)
		a.subscribe("t")
		b.subscribe("t")
		a.publish("t", "1", "2")
		b.publish("t", "x")
		a2 := a.succeed(m, nil, func() {
			a.publish("t", "3")
			b.publish("t", "missed")
		})
		a.plane.set(&a.plane.cut, true)
		a2.publish("t", "4")
		settle()
		b.wants("t 1", "t 2", "t x", "t missed", "t 3", "t 4")
		a2.wants("t 4", "t gap 1") // its own is there at once
		if got := a2.Stats(); got.Sent != 4 || got.Heard != 1 {
			t.Errorf("the counters do not go on: %+v", got)
		}
	})
}

// TestSucceedInAnOutage: what was in the queue of the backplane when the program was replaced is a gap on the other
// machines, however long ago it was published.
func TestSucceedInAnOutage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := new(medium)
		a, b := newMachine(t, m, 1), newMachine(t, m, 2)
		b.subscribe("t")
		a.publish("t", "1")
		b.plane.set(&b.plane.cut, true) // as if the backplane of a had queued it
		a.publish("t", "2")
		b.plane.set(&b.plane.cut, false)
		pass(time.Hour)
		a.plane.queued = 1
		a.succeed(m, nil, func() {})
		settle()
		b.wants("t 1", "t gap 1")
	})
}

// TestBridge: with a bridge, nothing is missed, and it comes in order.
func TestBridge(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := new(medium)
		a, b := newMachine(t, m, 1), newMachine(t, m, 2)
		a.subscribe("t")
		b.publish("t", "1")
		var mu sync.Mutex
		var passed [][]byte
		bridge := NewBridge(m.plane(), func(one []byte) error {
			mu.Lock()
			defer mu.Unlock()
			passed = append(passed, bytes.Clone(one))
			return nil
		})
		opened := make(chan error, 1)
		bridge.Open(a.Topics(), true, func(err error) { opened <- err })
		if err := <-opened; err != nil {
			t.Fatal(err)
		}
		bridge.Open([]string{"again"}, true, func(err error) { opened <- err })
		if err := <-opened; !errors.Is(err, errBridge) {
			t.Errorf("a bridge that is open: got %v", err)
		}
		var a2 *machine
		end := func(context.Context) error {
			if err := bridge.Close(); err != nil {
				return err
			}
			mu.Lock()
			defer mu.Unlock()
			for _, one := range passed {
				if err := a2.Bridged(one); err != nil {
					return err
				}
			}
			return nil
		}
		a.Suspend(0)
		b.publish("t", "2") // nobody takes it
		a2 = newMachineWith(t, m, Config{Node: 1, Succeeds: true, EndBridge: end}, a.AppendState(nil))
		a.plane.set(&a.plane.cut, true)
		a2.subscribe("t")
		b.publish("t", "3") // both have it
		a2.wants()
		a2.CatchUp()
		settle()
		<-a2.CaughtUp()
		b.publish("t", "4")
		a.wants("t 1")
		a2.wants("t 2", "t 3", "t 4")
		if got := a2.Stats(); got.Gaps != 0 || got.Repeated == 0 {
			t.Errorf("got %+v", got)
		}
	})
}

// TestEarlyBridge: where a bridge brings what comes next before the program itself has read what came before, nothing is
// missed, and it comes in order.
func TestEarlyBridge(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := new(medium)
		a, b := newMachine(t, m, 1), newMachine(t, m, 2)
		a.subscribe("t")
		b.publish("t", "1")
		stall := make(chan struct{})
		a.plane.later(func() { <-stall })
		b.publish("t", "2", "3") // on their way to a
		a.Overlap()
		bridge := NewBridge(m.plane(), a.Bridged)
		opened := make(chan error, 1)
		bridge.Open(a.Topics(), true, func(err error) { opened <- err })
		if err := <-opened; err != nil {
			t.Fatal(err)
		}
		b.publish("t", "4")
		synctest.Wait() // the bridge has brought it
		time.AfterFunc(time.Second, func() { close(stall) })
		a.Suspend(2 * time.Second)
		a.wants("t 1", "t 2", "t 3", "t 4")
		b.publish("t", "5")
		settle()
		a.wants("t 5") // from the bridge
		if got := a.Stats(); got.Gaps != 0 {
			t.Errorf("got %+v", got)
		}
		if err := bridge.Close(); err != nil {
			t.Error(err)
		}
		a.Resume()
	})
}

// TestLateReaders: a program that reads late when it is replaced, and a bridge that reads late when it ends, lose nothing
// of what was on its way to them.
func TestLateReaders(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := new(medium)
		a, b := newMachine(t, m, 1), newMachine(t, m, 2)
		a.subscribe("t")
		b.publish("t", "1")
		var mu sync.Mutex
		var a2 *machine
		var early [][]byte
		passed := m.plane()
		bridge := NewBridge(passed, func(one []byte) error {
			mu.Lock()
			defer mu.Unlock()
			if a2 == nil {
				early = append(early, bytes.Clone(one))
				return nil
			}
			return a2.Bridged(one)
		})
		late := func(p *plane) (end func()) {
			stall := make(chan struct{})
			p.later(func() { <-stall })
			return func() { close(stall) }
		}
		end := late(a.plane)
		b.publish("t", "2") // it is on its way
		opened := make(chan error, 1)
		bridge.Open(a.Topics(), true, func(err error) { opened <- err })
		if err := <-opened; err != nil {
			t.Fatal(err)
		}
		time.AfterFunc(time.Second, end)
		a.Suspend(2 * time.Second)
		a.wants("t 1", "t 2")

		end = late(passed)
		b.publish("t", "3") // only the bridge has it, late
		b.Suspend(0)        // so it does not tell
		next := newMachineWith(t, m, Config{
			Node: 1, Succeeds: true, EndBridge: func(context.Context) error { return bridge.Close() },
		}, a.AppendState(nil))
		a.plane.set(&a.plane.cut, true)
		next.subscribe("t")
		mu.Lock()
		a2 = next
		for _, one := range early {
			if err := a2.Bridged(one); err != nil {
				t.Error(err)
			}
		}
		mu.Unlock()
		time.AfterFunc(time.Second, end)
		next.CatchUp()
		<-next.CaughtUp()
		b.Resume()
		b.publish("t", "4")
		next.wants("t 3", "t 4")
	})
}

// TestBridgeEnded: a bridge whose end overtakes its beginning does not begin: nobody would end it.
func TestBridgeEnded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := new(medium)
		p := m.plane()
		bridge := NewBridge(p, func([]byte) error { return nil })
		if err := bridge.Close(); err != nil {
			t.Fatal(err)
		}
		var got error
		bridge.Open([]string{"t"}, true, func(err error) { got = err })
		if !errors.Is(got, errBridge) || p.to != nil || len(p.topics) > 0 {
			t.Errorf("got %v, and it listens to %v", got, p.topics)
		}
	})
}

// TestBridgeBesideBackplane: what a bridge and the backplane bring of one topic at the same time is passed on once and
// in order.
func TestBridgeBesideBackplane(t *testing.T) {
	two(t, func(a, b *machine) {
		const messages = 30_000
		var want []string
		for i := range messages {
			want = append(want, fmt.Sprint("t ", i+1))
		}
		bring := func(take func(payload []byte)) {
			for i := range messages {
				m := message{kind: publication, node: a.Node, stream: 1, seq: uint64(i + 1), opcode: 1, data: fmt.Append(nil, i+1)}
				take(m.append(nil))
			}
		}
		var both sync.WaitGroup
		both.Go(func() {
			bring(func(payload []byte) { b.Receive([]backplane.Message{{Topic: "t", Payload: payload}}) })
		})
		both.Go(func() {
			bring(func(payload []byte) {
				if err := b.Bridged(append(record.AppendText(nil, "t"), payload...)); err != nil {
					t.Error(err)
				}
			})
		})
		both.Wait()
		synctest.Wait()
		if b.mu.Lock(); !slices.Equal(b.got, want) {
			t.Errorf("got %d messages, and not those that were published in their order", len(b.got))
		}
		b.mu.Unlock()
		if got := b.Stats(); got.Heard != messages || got.Repeated != messages {
			t.Errorf("got %+v", got)
		}
	})
}

// TestResume: a program that was not replaced goes on.
func TestResume(t *testing.T) {
	two(t, func(a, b *machine) {
		a.subscribe("t")
		b.Suspend(0)
		a.publish("t", "1")
		b.publish("t", "x")
		b.wants("t x")
		b.Resume()
		synctest.Wait()
		b.wants("t 1")
		a.wants("t 1", "t x")
	})
}

// FuzzState: any bytes are a state or an error, and a state that was read is written again.
func FuzzState(f *testing.F) {
	f.Add([]byte{})
	fresh := func() *Relay {
		c := Config{Node: 1, Machine: connid.MachineOf(1), Backplane: new(medium).plane(), Keep: keep}
		return New(c, broker.NewHub(func(uint64) int { return 1 }))
	}
	r := fresh()
	r.past.series["k"] = &series{
		followed: true, started: true, last: broker.Place{Epoch: 1, Offset: 2}, id: identity{3, 4},
		own: []*own{{number: 5, told: true}, {number: 6, lost: true, m: broker.Kept{Opcode: 1, Payload: []byte("x")}}},
	}
	r.senders.next([]byte("t"), 0)
	r.receivers["t"] = &receiver{listening: true, nodes: []heard{{2, 3, 4}}}
	_ = r.unsent.add("t", []byte("x"))
	f.Add(r.AppendState(nil))
	f.Fuzz(func(t *testing.T, b []byte) {
		r := fresh()
		if err := r.LoadState(b); err != nil {
			if !errors.Is(err, ErrState) {
				t.Fatal(err)
			}
			return
		}
		if len(r.senders.topics) > len(b) || len(r.inherited) > len(b) || r.past.ownCount > len(b) {
			t.Fatal("more topics than bytes")
		}
		if err := r.LoadState(r.AppendState(nil)); err != nil {
			t.Fatal(err)
		}
	})
}

// FuzzMessage: any bytes are a message or an error, and a message means the same after it was written.
func FuzzMessage(f *testing.F) {
	for _, m := range []message{
		{kind: publication, node: 1, stream: 2, seq: 3, opcode: 1, data: []byte("x")},
		{kind: position, node: 1, stream: 2, seq: 3, age: 5e9},
		{kind: resync, node: 1, age: 5e9},
		{kind: directed, node: 1, stream: 2, seq: 3, data: []byte("x")},
		{kind: mark, node: 1, seq: 3},
		{kind: omitted, node: 1, seq: 3},
		{kind: exception, node: 1, stream: 2, seq: 3, except: 4, opcode: 1, data: []byte("x")},
		{kind: asks, node: 1, seq: 3, opcode: 2, data: []byte("x")},
		{kind: answers, node: 1, stream: 2, seq: 3, opcode: 1, data: []byte("x")},
	} {
		f.Add(m.append(nil))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := parse(b)
		if err != nil {
			return
		}
		again, err := parse(m.append(nil))
		if err != nil || again.kind != m.kind || again.node != m.node || again.stream != m.stream ||
			again.seq != m.seq || again.age != m.age || again.opcode != m.opcode || again.except != m.except ||
			!bytes.Equal(again.data, m.data) {
			t.Fatalf("got %+v, %v, want %+v", again, err, m)
		}
	})
}

// TestMessageForm: the bytes of messages are those that other machines understand.
func TestMessageForm(t *testing.T) {
	for _, tt := range []struct {
		m    message
		want string
	}{
		{
			message{kind: publication, node: 1, stream: 2, seq: 300, opcode: 1, data: []byte("x")},
			"010100000000000000" + "02ac02" + "01" + "78",
		},
		{message{kind: position, node: 1, stream: 2, seq: 3, age: 5e9}, "020100000000000000" + "0203" + "8827"},
		{message{kind: mark, node: 1, seq: 3}, "090100000000000000" + "0003"},
		{message{kind: directed, node: 1, stream: 2, seq: 3, data: []byte("x")}, "030100000000000000" + "0203" + "78"},
		{message{kind: resync, node: 1, age: 5e9}, "040100000000000000" + "8827"},
		{
			message{kind: exception, node: 1, stream: 2, seq: 3, except: 4, opcode: 1, data: []byte("x")},
			"050100000000000000" + "0203" + "0400000000000000" + "01" + "78",
		},
		{message{kind: asks, node: 1, seq: 3, opcode: 2, data: []byte("x")}, "060100000000000000" + "0003" + "02" + "78"},
		{
			message{kind: answers, node: 1, stream: 2, seq: 3, opcode: 1, data: []byte("x")},
			"070100000000000000" + "0203" + "01" + "78",
		},
	} {
		if got := fmt.Sprintf("%x", tt.m.append(nil)); got != tt.want {
			t.Errorf("kind %d: got %s, want %s", tt.m.kind, got, tt.want)
		}
	}
}
