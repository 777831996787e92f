package redisplane

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"github.com/expedite-go/expedite/backplane"
)

// TestLayoutWaits: while a batch is being sent, nothing that follows it is sent elsewhere.
func TestLayoutWaits(t *testing.T) {
	s := newShard(server{}, Config{QueueBytes: 1000, QueueMessages: 100}, nil, nil)
	one, two := newNode(s, "one"), newNode(s, "two")
	at := func(n *node) *layout { return &layout{nodes: []*node{n}} }
	p := &s.out
	p.use(at(one))
	for _, payload := range []string{"1", "2"} {
		if err := p.publish(message{channel: "t", payload: payload}); err != nil {
			t.Fatal(err)
		}
	}
	batch := p.take(one)
	p.use(at(two))
	if err := p.publish(message{channel: "t", payload: "3"}); err != nil {
		t.Fatal(err)
	}
	if early := append(p.take(one), p.take(two)...); len(early) > 0 {
		t.Errorf("%d messages are sent before the batch is answered", len(early))
	}
	again := append([]message(nil), batch[1])
	again[0].tried = true
	p.done(one, batch, &outcome{again: again})
	if left := p.take(one); len(left) > 0 {
		t.Errorf("%d messages stay at the old server", len(left))
	}
	batch = p.take(two)
	if len(batch) != 2 || batch[0].payload != "2" || batch[1].payload != "3" {
		t.Errorf("got %+v, want 2 and 3", batch)
	}
	if s := p.status(); s.Repeated != 1 || s.Published != 3 || s.Queued != 4 {
		t.Errorf("got %+v", s)
	}
	p.done(two, batch, &outcome{})
	if s := p.status(); s.Queued != 0 || two.queue.messages != 0 {
		t.Errorf("got %+v, %d messages", s, two.queue.messages)
	}
}

// TestWaiting: Status tells how long the oldest message has waited, in the queue, while it is sent, and sent again.
func TestWaiting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newShard(server{}, Config{QueueBytes: 1000, QueueMessages: 100}, nil, nil)
		n := newNode(s, "one")
		p := &s.out
		p.use(&layout{nodes: []*node{n}})
		waits := func(want time.Duration) {
			t.Helper()
			if got := p.status().Waiting; got != want {
				t.Errorf("got %v, want %v", got, want)
			}
		}
		waits(0)
		for _, payload := range []string{"1", "2"} {
			if err := p.publish(message{channel: "t", payload: payload}); err != nil {
				t.Fatal(err)
			}
			<-time.After(time.Second)
		}
		waits(2 * time.Second)
		batch := p.take(n)
		waits(2 * time.Second)
		p.done(n, batch, &outcome{again: []message{batch[1]}})
		waits(time.Second)
		p.done(n, p.take(n), &outcome{})
		waits(0)
	})
}

// world is a cluster with the subscriptions of one machine, as a model.
type world struct {
	t     *testing.T
	s     *shard
	nodes []*node
	at    int             // the node that has all slots
	has   map[string]bool // the subscriptions at that node
	// pipes have the answers of each node that have not arrived yet.
	pipes     [][]func()
	due       []int // answers to commands in each of them
	retries   [][]*topic
	listening map[string]bool
	wanted    map[string]bool
}

func (w *world) Receive([]backplane.Message) {}

func (w *world) Listening(topics []string) {
	for _, one := range topics {
		if w.listening[one] || !w.wanted[one] {
			w.t.Errorf("%s: Listening, wanted %v, listened to %v", one, w.wanted[one], w.listening[one])
		}
		w.listening[one] = true
	}
}

func (w *world) Missing(topics []string, _ error) {
	for _, one := range topics {
		if !w.listening[one] {
			w.t.Errorf("%s: Missing without Listening", one)
		}
		w.listening[one] = false
	}
}

func newWorld(t *testing.T) *world {
	w := &world{
		t: t, s: newShard(server{kind: cluster}, Config{}, nil, nil), has: make(map[string]bool),
		listening: make(map[string]bool), wanted: make(map[string]bool),
		pipes: make([][]func(), 2), due: make([]int, 2), retries: make([][]*topic, 2),
	}
	w.s.feed.to = w
	for i := range 2 {
		w.nodes = append(w.nodes, newNode(w.s, strconv.Itoa(i)))
	}
	w.s.in.use(w.layout())
	return w
}

// layout is what the servers tell: all slots are at one node.
func (w *world) layout() *layout { return &layout{nodes: []*node{w.nodes[w.at]}} }

// ask sends the commands that are due to a node. It answers later. There is no command before the latest is answered.
func (w *world) ask(i int) {
	if w.due[i] > 0 {
		return
	}
	n := w.nodes[i]
	subscribe, unsubscribe := w.s.in.take(n, 1+rand.IntN(3))
	for k, list := range [][]*topic{unsubscribe, subscribe} {
		for _, one := range list {
			w.due[i]++
			if w.at != i {
				w.pipes[i] = append(w.pipes[i], func() {
					w.due[i]--
					w.s.in.failed(n, []*topic{one})
					w.retries[i] = append(w.retries[i], one)
				})
				continue
			}
			if begins := k == 1; begins {
				w.has[one.name] = true
			} else {
				delete(w.has, one.name)
			}
			w.pipes[i] = append(w.pipes[i], func() {
				w.due[i]--
				w.s.in.confirm(n, one.name, k == 1)
			})
		}
	}
}

// answer lets the first answer of a node arrive.
func (w *world) answer(i int) {
	if len(w.pipes[i]) > 0 {
		first := w.pipes[i][0]
		w.pipes[i] = w.pipes[i][1:]
		first()
	}
}

// move moves all slots to the other node, which tells the machine that its subscriptions have ended.
func (w *world) move() {
	from := w.at
	w.at = 1 - w.at
	for name := range w.has {
		w.pipes[from] = append(w.pipes[from], func() { w.s.in.confirm(w.nodes[from], name, false) })
	}
	clear(w.has)
}

// cut ends the connection to a node.
func (w *world) cut(i int) {
	w.pipes[i], w.retries[i], w.due[i] = nil, nil, 0
	if w.at == i {
		clear(w.has)
	}
	w.s.in.lost(w.nodes[i], errors.New("cut"))
}

func (w *world) retry(i int) {
	list := w.retries[i]
	w.retries[i] = nil
	w.s.in.retry(w.nodes[i], list)
}

// step does something.
func (w *world) step() {
	i, name := rand.IntN(2), strconv.Itoa(rand.IntN(5))
	switch r := rand.IntN(100); {
	case r < 30:
		on := rand.IntN(2) == 0
		if on != w.wanted[name] {
			w.listening[name] = false // the Receiver of a topic that is not wanted any more forgets it
		}
		w.wanted[name] = on
		w.s.in.want([]string{name}, on)
	case r < 55:
		w.ask(i)
	case r < 80:
		w.answer(i)
	case r < 85:
		w.retry(i)
	case r < 90:
		w.move()
	case r < 95:
		w.s.in.use(w.layout())
	case w.nodes[i].live:
		w.cut(i)
	default:
		w.s.in.connected(w.nodes[i])
	}
	w.s.feed.flush()
}

// settle does all that is due.
func (w *world) settle() {
	w.s.in.use(w.layout())
	for _, n := range w.nodes {
		if !n.live {
			w.s.in.connected(n)
		}
	}
	for range 100 {
		for i := range w.nodes {
			w.ask(i)
			for len(w.pipes[i]) > 0 {
				w.answer(i)
			}
			w.retry(i)
		}
		w.s.feed.flush()
	}
}

// TestModel: whatever happens, in the end the subscriptions are those that are wanted, and the Receiver knows.
func TestModel(t *testing.T) {
	for round := range 2000 {
		w := newWorld(t)
		for range 100 {
			w.step()
		}
		w.settle()
		for i := range 5 {
			name := strconv.Itoa(i)
			if want := w.wanted[name]; w.has[name] != want || want && !w.listening[name] {
				t.Errorf("round %d, topic %s: wanted %v, subscribed to %v, listened to %v",
					round, name, want, w.has[name], w.listening[name])
			}
			if _, known := w.s.in.topics[name]; known != w.wanted[name] {
				t.Errorf("round %d, topic %s: kept %v, wanted %v", round, name, known, w.wanted[name])
			}
			if got := w.s.in.topics[name]; got != nil && fmt.Sprint(got.state) != fmt.Sprint(subscribed) {
				t.Errorf("round %d, topic %s: state %d", round, name, got.state)
			}
		}
		if t.Failed() {
			return
		}
	}
}
