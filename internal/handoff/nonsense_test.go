//go:build unix

package handoff

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"slices"
	"testing"

	"github.com/expedite-go/expedite/internal/fdpass"
)

func numbered(no uint32) []byte { return binary.LittleEndian.AppendUint32(nil, no) }

// nonsense are frames that neither side may send in the given state. fds is set if a descriptor is sent with the frame.
type nonsense struct {
	name    string
	kind    byte
	payload []byte
	fds     bool
}

var always = []nonsense{
	{"no kind", 0, nil, false},
	{"a kind of the future", kindLast + 1, nil, false},
	{"a short answer", kindAck, []byte{1}, false},
	{"a short refusal", kindNack, nil, false},
	{"an answer to what was never sent", kindAck, numbered(77), false},
	{"a refusal of what was never sent", kindNack, numbered(77), false},
	{"a short batch", kindBatch, make([]byte, 19), true},
	{"a batch of no time", kindBatch, appendBatch(nil, 1, -1, BatchData{}), true},
	{"descriptors beside a message", kindForward, message(1, "x"), true},
	{"descriptors beside HELLO", kindHello, Hello{StateMin: 1, StateMax: 1}.append(nil), true},
	{"the last word", kindLast, nil, false},
}

// utter sends such a frame.
func (p *peer) utter(n nonsense) {
	p.t.Helper()
	if !n.fds {
		p.write(n.kind, n.payload)
		return
	}
	f, err := os.Open(os.DevNull)
	if err != nil {
		p.t.Fatal(err)
	}
	defer f.Close()
	if err := p.conn.WriteFDs(fdpass.AppendFrame(nil, n.kind, 1, n.payload), []int{int(f.Fd())}); err != nil {
		p.t.Fatal(err)
	}
}

func TestNonsenseEndsATaker(t *testing.T) {
	list := append(slices.Clone(always), nonsense{"the giver's own answer", kindGot, nil, false})
	greeting := append(slices.Clone(list), nonsense{"a short HELLO", kindHello, make([]byte, 17), false},
		nonsense{"a batch before HELLO", kindBatch, appendBatch(nil, 1, 0, BatchData{}), true},
		nonsense{"END before HELLO", kindEnd, nil, false}, nonsense{"REVERT before HELLO", kindRevert, nil, false})
	taking := append(slices.Clone(list),
		nonsense{"a second HELLO", kindHello, Hello{StateMin: 1, StateMax: 1}.append(nil), false})
	for greeted, list := range map[bool][]nonsense{false: greeting, true: taking} {
		for _, tt := range list {
			t.Run(fmt.Sprint(tt.name, " greeted ", greeted), func(t *testing.T) {
				w := newWorld(t, 0)
				a, b := pair(t)
				p := newPeer(t, a)
				w.take(b)
				kept := 0
				if greeted {
					p.hello()
					p.read(kindHello)
					p.send(w, 1, 1, 2)
					p.read(kindAck)
					kept = 2
				}
				p.utter(tt)
				o := w.taken()
				if !errors.Is(o.Err, errFrame) {
					t.Errorf("taken %+v, want errFrame", o)
				}
				p.eof()
				w.owned(0, kept)
			})
		}
	}
}

func TestNonsenseEndsAGiver(t *testing.T) {
	list := append(slices.Clone(always), nonsense{"END", kindEnd, nil, false}, nonsense{"GOT", kindGot, nil, false},
		nonsense{"REVERT", kindRevert, nil, false}, nonsense{"a batch", kindBatch, appendBatch(nil, 1, 0, BatchData{}), true})
	greeting := append(slices.Clone(list), nonsense{"a short HELLO", kindHello, make([]byte, 17), false},
		nonsense{"ACK before HELLO", kindAck, numbered(1), false})
	for _, tt := range greeting {
		t.Run(tt.name+" before HELLO", func(t *testing.T) {
			w := newWorld(t, 10)
			a, b := pair(t)
			p := newPeer(t, b)
			w.give(a)
			p.read(kindHello)
			p.utter(tt)
			wantErr(t, w.given().Err, errFrame)
			p.eof()
			w.owned(10, 0)
		})
	}
	giving := append(slices.Clone(list),
		nonsense{"a second HELLO", kindHello, Hello{StateMin: 1, StateMax: 1}.append(nil), false},
		nonsense{"an answer out of order", kindAck, numbered(2), false}, nonsense{"answer 0", kindAck, numbered(0), false},
		nonsense{"an answer that refuses no connection", kindAck, append(numbered(1), 0), false})
	for _, tt := range giving {
		t.Run(tt.name+" while batches are under way", func(t *testing.T) {
			w, p := stalled(t, 4*batchSize, -1)
			p.utter(tt)
			w.giver.await(t, "stuck", func() bool { return w.giver.stuck == 1 })
			w.giver.do(t, func() { // the other side may own them
				if len(w.giver.live) != batchSize || len(w.giver.given) > 0 {
					t.Errorf("%d connections are live, want %d: thawed while the other one lives", len(w.giver.live), batchSize)
				}
			})
			p.close() // as if the other side was killed
			wantErr(t, w.given().Err, errFrame)
			w.owned(4*batchSize, 0)
		})
	}
}

func TestAnswersCountAfterNonsense(t *testing.T) {
	w, p := stalled(t, 4*batchSize, -1)
	p.write(0, nil)
	p.write(0, nil)
	p.ack(1)
	p.nack(2, "no")
	p.ack(3)
	p.eof()
	o := w.given()
	wantErr(t, o.Err, errFrame)
	if o.Moved != 2*batchSize || w.giver.stuck != 1 {
		t.Errorf("given %+v, stuck %d times, want %d moved, once", o, w.giver.stuck, 2*batchSize)
	}
	w.owned(2*batchSize, 0)
}

func TestNonsenseWhileConnectionsReturn(t *testing.T) {
	for _, kind := range []byte{kindLast, kindGot, kindRevert, kindHello, kindAck} {
		t.Run(fmt.Sprint("kind ", kind), func(t *testing.T) {
			w, p := stalled(t, 1, -1)
			w.tick(defaultStall)
			p.read(kindRevert)
			p.ack(1)
			p.write(kindGot, nil) // it may be in transit
			p.write(kind, numbered(1))
			o := w.given()
			wantErr(t, o.Err, errStalled)
			p.eof()
			w.owned(0, 0)
		})
	}
}

func TestTheEndOfAReturnComesOnceAndAfterAllAnswers(t *testing.T) {
	w, p := stalled(t, 1, -1)
	w.tick(defaultStall)
	p.read(kindRevert)
	end := func() (err error) {
		w.giver.do(t, func() { err = w.giver.end.handle(&fdpass.Frame{Kind: kindEnd}) })
		return err
	}
	wantErr(t, end(), errFrame) // a batch is under way
	p.ack(1)
	w.giver.await(t, "the answer", func() bool { return len(w.giver.end.flight) == 0 })
	if err := end(); err != nil {
		t.Errorf("after all answers: got %v", err)
	}
	wantErr(t, end(), errFrame)
	p.read(kindGot)
	p.write(kindLast, nil)
	w.given()
	w.owned(0, 0)
}

func TestTheAnswerToAReturnWaitsForWhatWasForwarded(t *testing.T) {
	w, p := stalled(t, 1, -1)
	p.ack(1)
	p.read(kindEnd)
	w.tick(defaultStall)
	p.read(kindRevert)
	const n = 20
	w.giver.do(t, func() { // more than the socket's buffer: the queue is long when END is sent
		for range n {
			w.giver.Deliver(message(1, string(make([]byte, 1<<20))))
		}
	})
	p.write(kindEnd, nil)
	w.giver.await(t, "end", func() bool { return w.giver.end.returned })
	for range n {
		p.read(kindForward)
	}
	p.read(kindGot)
	p.write(kindLast, nil)
	w.given()
	w.owned(0, 0)
}

// The ledger must detect hosts that break the rule; otherwise the tests above prove nothing.
func TestTheLedgerFindsTwoOwners(t *testing.T) {
	tests := []struct {
		name  string
		wrong func(w *world)
	}{
		{"a taker that reads before it has answered", func(w *world) {
			w.taker.onAdmit = func(ids []uint64) error {
				w.taker.enter(&group{ids: ids})
				return errors.New("refused, and read")
			}
			w.start()
		}},
		{"a giver that thaws without waiting", func(w *world) {
			w.giver.fenced = true
			w.start()
			w.giver.await(w.t, "fence", func() bool { return len(w.giver.fences) == 1 })
			w.giver.do(w.t, func() {
				w.giver.fences[0]()
				w.giver.enter(w.giver.end.flight[0].batch.(*group))
			})
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t, 3)
			tt.wrong(w)
			w.given()
			w.settle()
			w.taken()
			if len(w.ledger.violations()) == 0 {
				t.Error("two owners were not found")
			}
			w.ledger.mu.Lock()
			w.ledger.wrong = nil
			w.ledger.mu.Unlock()
		})
	}
}
