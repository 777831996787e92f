package relay

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/expedite-go/expedite/internal/broker"
	"github.com/expedite-go/expedite/internal/connid"
)

// two runs a test with two machines, the second of which has subscribers of the topic "t".
func two(t *testing.T, test func(a, b *machine)) {
	synctest.Test(t, func(t *testing.T) {
		m := new(medium)
		a, b := newMachine(t, m, 1), newMachine(t, m, 2)
		synctest.Wait()
		b.subscribe("t")
		test(a, b)
	})
}

// TestPublish: what one machine publishes is heard once on those that have subscribers, in order, and on itself.
func TestPublish(t *testing.T) {
	two(t, func(a, b *machine) {
		a.publish("t", "1", "2")
		a.publish("other", "x")
		b.publish("t", "3")
		b.wants("t 1", "t 2", "t 3")
		a.wants("t 1", "t 2", "other x") // the worker gets all; it has no subscribers of t, so 3 does not come
		if a.plane.topics["t"] || a.plane.topics["other"] {
			t.Error("a machine subscribes to topics without subscribers")
		}
		a.subscribe("t")
		b.publish("t", "4")
		a.wants("t 4")
	})
}

// TestRepeated: what arrives again is dropped.
func TestRepeated(t *testing.T) {
	two(t, func(a, b *machine) {
		b.plane.set(&b.plane.twice, true)
		a.publish("t", "1", "2")
		b.wants("t 1", "t 2")
		if got := b.Stats(); got.Repeated != 2 || got.Heard != 2 {
			t.Errorf("got %+v", got)
		}
	})
}

// TestGap: a number that is missing is a gap, before the publication that shows it.
func TestGap(t *testing.T) {
	two(t, func(a, b *machine) {
		a.publish("t", "1")
		b.plane.set(&b.plane.cut, true) // unnoticed
		a.publish("t", "2", "3")
		b.plane.set(&b.plane.cut, false)
		a.publish("t", "4")
		b.wants("t 1", "t gap 2", "t 4")
		if got := b.Stats(); got.Gaps != 1 || got.Missed != 2 {
			t.Errorf("got %+v", got)
		}
	})
}

// TestEndOfOutage: the last publications of an outage are missed, although nothing comes after them.
func TestEndOfOutage(t *testing.T) {
	two(t, func(a, b *machine) {
		b.subscribe("quiet")
		b.subscribe("new")
		a.publish("t", "1")
		a.publish("quiet", "1")
		b.plane.setCut(true)
		a.publish("t", "2", "3")
		a.publish("new", "1")
		pass(30 * time.Second)
		b.plane.setCut(false)
		settle()
		slices.Sort(b.got)
		b.wants("new gap 0", "quiet 1", "t 1", "t gap 2")
		a.publish("t", "4")
		b.wants("t 4")
	})
}

// TestOutageOfBoth: the publisher cannot be asked while it is away itself.
func TestOutageOfBoth(t *testing.T) {
	two(t, func(a, b *machine) {
		a.publish("t", "1")
		a.plane.setCut(true)
		b.plane.setCut(true)
		a.publish("t", "2")
		b.plane.setCut(false)
		settle()
		b.wants("t 1") // nobody has answered
		pass(time.Minute)
		a.plane.setCut(false)
		settle()
		b.wants("t gap 1")
	})
}

// TestNothingMissed: an outage in which nothing was published is no gap, and neither is what was published before the
// subscription.
func TestNothingMissed(t *testing.T) {
	two(t, func(a, b *machine) {
		a.publish("t", "1")
		a.publish("late", "before")
		pass(time.Second)
		b.subscribe("late")
		b.plane.setCut(true)
		b.plane.setCut(false)
		settle()
		b.wants("t 1")
		if got := b.Stats(); got.Resyncs != 1 || got.Gaps != 0 {
			t.Errorf("got %+v", got)
		}
	})
}

// TestRefused: what the backplane does not take is a gap on other machines, once it takes something again.
func TestRefused(t *testing.T) {
	two(t, func(a, b *machine) {
		a.publish("t", "1")
		a.plane.set(&a.plane.full, true)
		a.publish("t", "2", "3")
		pass(time.Second)
		a.plane.set(&a.plane.full, false)
		b.wants("t 1")
		settle()
		b.wants("t gap 2")
		a.publish("t", "4")
		b.wants("t 4")
		a.wants("t 1", "t 2", "t 3", "t 4")
		if got := a.Stats(); got.Refused != 2 {
			t.Errorf("got %+v", got)
		}
	})
}

// TestPositionsWait: positions do not take the room of publications in the queue of the backplane.
func TestPositionsWait(t *testing.T) {
	two(t, func(a, b *machine) {
		a.publish("t", "1")
		b.plane.setCut(true)
		a.publish("t", "2")
		a.plane.setQueued(positionsQueue + 1)
		b.plane.setCut(false)
		settle()
		b.wants("t 1")
		a.plane.setQueued(0)
		settle()
		b.wants("t gap 1")
	})
}

// TestManyPositions: more topics than are looked at while the hub waits.
func TestManyPositions(t *testing.T) {
	two(t, func(a, b *machine) {
		const n = 2*positionsAtOnce + 1
		for i := range n {
			b.interest.Set(fmt.Sprint(i), true)
		}
		synctest.Wait()
		b.plane.setCut(true)
		for i := range n {
			a.publish(fmt.Sprint(i), "x")
		}
		b.plane.setCut(false)
		settle()
		if got := b.Stats(); got.Gaps != n {
			t.Errorf("%d gaps, want %d", got.Gaps, n)
		}
	})
}

// TestForgotten: a topic whose number the publisher has forgotten begins anew, and is not taken for a repetition.
func TestForgotten(t *testing.T) {
	two(t, func(a, b *machine) {
		a.senders.max = 4
		for range 3 {
			a.publish("t", "1")
			for _, other := range []string{"a", "b", "c", "d"} {
				pass(time.Second)
				a.publish(other, "x")
			}
		}
		b.wants("t 1", "t 1", "t 1")
		if n := len(a.senders.topics); n > 4 {
			t.Errorf("%d topics are kept", n)
		}
	})
}

// TestForgottenGap: what is missing at the beginning of a new stream is a gap.
func TestForgottenGap(t *testing.T) {
	two(t, func(a, b *machine) {
		a.publish("t", "1")
		a.senders.max = 1
		a.publish("other", "x") // t is forgotten
		a.senders.max = maxSenders
		b.plane.set(&b.plane.cut, true)
		a.publish("t", "2", "3")
		b.plane.set(&b.plane.cut, false)
		a.publish("t", "4")
		b.wants("t 1", "t gap 2", "t 4")
	})
}

// TestChurn: subscribers that come back soon cost nothing and miss nothing.
func TestChurn(t *testing.T) {
	two(t, func(a, b *machine) {
		for range 10 {
			b.interest.Set("t", false)
			pass(keepTopic / 2)
			a.publish("t", "x")
			b.subscribe("t")
		}
		if n := b.plane.ever["t"]; n != 1 {
			t.Errorf("subscribed %d times", n)
		}
		if len(b.got) != 10 {
			t.Errorf("got %d", len(b.got))
		}
		b.interest.Set("t", false)
		pass(keepTopic + time.Second)
		if b.plane.topics["t"] || b.Stats().Topics != 2 { // those of the machine itself
			t.Errorf("it is not left: %v", b.plane.topics)
		}
	})
}

// TestWorkerEnds: the topics of a worker that has ended are left.
func TestWorkerEnds(t *testing.T) {
	two(t, func(_, b *machine) {
		b.port.Detach()
		pass(keepTopic + time.Second)
		if b.plane.topics["t"] {
			t.Error("it is not left")
		}
	})
}

// TestDirect: messages for one connection go to its machine.
func TestDirect(t *testing.T) {
	two(t, func(a, b *machine) {
		here, there := uint64(connid.New(connid.MachineOf(1), 1)), uint64(connid.New(connid.MachineOf(2), 1))
		for _, conn := range []uint64{here, there} {
			if err := a.local.SendTo(conn, 1, []byte("hello")); err != nil {
				t.Fatal(err)
			}
			if err := a.local.CloseConn(conn, 1000, "bye"); err != nil {
				t.Fatal(err)
			}
		}
		want := []string{"2 hello", "3 bye"}
		a.wants(want...)
		b.wants(want...)
		b.plane.set(&b.plane.cut, true)
		_ = a.local.SendTo(there, 1, []byte("lost"))
		synctest.Wait()
		b.plane.set(&b.plane.cut, false)
		_ = a.local.SendTo(there, 1, []byte("later"))
		b.wants("2 later")
		if got := b.Stats(); got.LostDirected != 1 {
			t.Errorf("got %+v", got)
		}
	})
}

// TestException: the machine of a connection that does not get a publication is told so, in the order of the others.
func TestException(t *testing.T) {
	two(t, func(a, b *machine) {
		here, there := uint64(connid.New(connid.MachineOf(1), 1)), uint64(connid.New(connid.MachineOf(2), 1))
		a.subscribe("t")
		a.publish("t", "1")
		for _, except := range []uint64{here, there} {
			if err := a.local.PublishExcept("t", 1, []byte("2"), except); err != nil {
				t.Fatal(err)
			}
		}
		a.publish("t", "3")
		a.wants("t 1", fmt.Sprintf("t 2 except %x", here), fmt.Sprintf("t 2 except %x", there), "t 3")
		b.wants("t 1", "t 2", fmt.Sprintf("t 2 except %x", there), "t 3")
		if got := b.Stats(); got.Heard != 4 || got.Gaps != 0 || got.Malformed != 0 {
			t.Errorf("got %+v, want 4 heard and nothing missing", got)
		}
	})
}

// TestAssignments: an assignment goes to the machines that may have its connections, in the order of what is on the same
// topic, and to no others.
func TestAssignments(t *testing.T) {
	two(t, func(a, b *machine) {
		here, there := uint64(connid.New(connid.MachineOf(1), 1)), uint64(connid.New(connid.MachineOf(2), 1))
		b.subscribe("\x00user:b")
		for _, one := range []broker.Assignment{
			{Topic: "1", Conn: here}, {Topic: "2", Conn: there}, {Topic: "3", Of: "\x00user:b"},
			{Topic: "4", Of: "\x00user:nobody"}, {Topic: "5", Session: []byte("s")},
		} {
			if err := a.local.Publish(broker.TopicAssignments, 0, one.Append(nil)); err != nil {
				t.Fatal(err)
			}
		}
		synctest.Wait()
		topics := func(k *machine) (list string) {
			k.mu.Lock()
			defer k.mu.Unlock()
			for _, said := range k.got {
				topic, payload, _ := strings.Cut(said, " ")
				one, err := broker.ParseAssignment([]byte(payload))
				if topic != broker.TopicAssignments || err != nil {
					t.Errorf("got %q, %v", said, err)
				}
				list += one.Topic
			}
			k.got = nil
			return list
		}
		if mine, others := topics(a), topics(b); mine != "12345" || others != "235" {
			t.Errorf("got %s here and %s there, want 12345 and 235", mine, others)
		}
		if got := b.Stats(); got.Malformed != 0 || got.Gaps != 0 {
			t.Errorf("got %+v", got)
		}
	})
}

// TestMalformed: what is not understood is counted, and harms nothing.
func TestMalformed(t *testing.T) {
	two(t, func(a, b *machine) {
		for _, bad := range []string{"", "x", "\x01234567", "\x0112345678", "\x0112345678\x01", "\xff12345678\x01\x01"} {
			if err := a.plane.Publish("t", []byte(bad)); err != nil {
				t.Fatal(err)
			}
		}
		m := message{kind: directed, node: 1, stream: 1, seq: 1, data: broker.AppendEnvelope(nil, broker.Envelope{
			Kind: broker.Publish, Topic: "t", Payload: []byte("through the back door"),
		})}
		if err := a.plane.Publish(machineTopic(b.Machine), m.append(nil)); err != nil {
			t.Fatal(err)
		}
		b.wants()
		if got := b.Stats(); got.Malformed != 7 {
			t.Errorf("got %+v", got)
		}
	})
}
