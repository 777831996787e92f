package handoff

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"net"
	"os"
	"slices"
	"syscall"
	"time"

	"github.com/expedite-go/expedite/internal/fdpass"
)

const (
	// batchSize is the number of connections that travel together: more would not be faster.
	batchSize = 64
	// window is the number of batches under way. The kernel counts descriptors under way against the user's limit of
	// open files, and slows senders down beyond some: keep BatchSize × window at 256 or below.
	window = 3
	// defaultStall is how long nothing may be answered before the other worker counts as stuck.
	defaultStall = 10 * time.Second
)

// role is what a side does at present.
type role uint8

const (
	roleGreeting role = iota // HELLO is under way
	roleSyncing              // the giver hears what the taker does not keep
	roleGiving
	roleTaking
	roleEnding    // END is under way
	roleReverting // REVERT was sent: what has moved comes back
	roleSettling  // all is done but LAST
	roleDone
)

// Outcome is how a move has ended.
type Outcome struct {
	Moved    int // connections that have a new owner
	Returned int // of those, the ones that came back
	Staying  int // connections that cannot move
	Err      error
	Bytes    int           // of the states that were given
	Freeze   time.Duration // the longest time that a connection was frozen, as the taker saw it
}

// Options tell an End what to do. Giver and taker have the same.
type Options struct {
	Hello Hello // Position and FreeFDs are filled in
	// Count is the number of connections to move; negative is all of them, which reverts if it cannot be completed.
	Count int
	// Stall is how long the other side may leave a batch unanswered. 0 is DefaultStall.
	Stall time.Duration
	// Now is the clock, in ns, that all processes of this machine share.
	Now func() int64
	// Given is called once at the giver: all that can move has moved, or the move has failed and what could come back
	// is back. After a success Settle must follow.
	Given func(Outcome)
	// Taken is called once at the taker, after LAST or at a failure.
	Taken func(Outcome)
	// Stuck is called at the giver when the other side answers nothing, not even REVERT: it must be ended by force, so
	// that what is under way may thaw.
	Stuck func()
}

// parcel is a batch under way.
type parcel struct {
	number uint32
	batch  Batch
	cargo  BatchData
	frozen int64
	sent   bool
}

// End is one side of a move.
type End struct {
	host Host
	opt  Options
	ch   *channel
	role role
	gave bool // this side began as the giver

	peer     Hello
	number   uint32
	flight   []parcel
	budget   int // connections that may still be frozen; negative is no limit
	failure  error
	refusing bool // the taker has refused a batch: those behind it are refused, too
	confused bool // the other side sent what makes no sense while batches were under way
	crossed  bool // GOT came after REVERT was sent
	returned bool // END came after REVERT was sent
	progress int64
	warned   bool
	out      Outcome

	gone map[uint64]struct{} // connections that the other side has
	held map[uint64][][]byte // messages for connections under way
	// back are the connections that have come back. Until LAST, messages that the other side still forwards go first:
	// the others are held.
	back    map[uint64]bool
	passing bool // a message that the other side has forwarded is being delivered
}

// Give begins to move connections of h over a socketpair, which it owns from here on, even if it fails.
func Give(h Host, f *os.File, opt Options) (*End, error) {
	e, err := newEnd(h, f, opt)
	if err != nil {
		return nil, err
	}
	e.gave, e.budget = true, opt.Count
	e.hello()
	return e, nil
}

// Take gets ready for connections that come over a socketpair, which it owns from here on, even if it fails.
func Take(h Host, f *os.File, opt Options) (*End, error) { return newEnd(h, f, opt) }

func newEnd(h Host, f *os.File, opt Options) (*End, error) {
	if opt.Stall == 0 {
		opt.Stall = defaultStall
	}
	e := &End{host: h, opt: opt, gone: make(map[uint64]struct{}), held: make(map[uint64][][]byte), progress: opt.Now()}
	h.Record()
	ch, err := open(f, e.receive, e.unwritten)
	if err != nil {
		h.StopRecording()
		return nil, fmt.Errorf("handoff: %w", err)
	}
	e.ch = ch
	return e, nil
}

func (e *End) hello() {
	h := e.opt.Hello
	h.Position = e.host.Position()
	if !e.gave { // the giver needs none
		h.FreeFDs = uint32(min(max(e.host.FreeFDs(), 0), math.MaxInt32))
	}
	e.ch.send(kindHello, h.append(nil), nil)
}

// receive brings a frame to the loop. On the reading goroutine.
func (e *End) receive(fr *fdpass.Frame, err error) {
	posted := e.host.Post(func() {
		if err != nil {
			e.broken(ended(err))
			return
		}
		if err := e.handle(fr); err != nil {
			for _, fd := range fr.FDs {
				closeFD(fd)
			}
			e.confuse(err)
		}
	})
	if !posted && fr != nil {
		for _, fd := range fr.FDs {
			closeFD(fd)
		}
	}
}

// unwritten tells the loop that a frame could not be written. On the writing goroutine.
func (e *End) unwritten(err error) {
	if errors.Is(err, net.ErrClosed) || errors.Is(err, syscall.EPIPE) || errors.Is(err, syscall.ECONNRESET) {
		return // the reader finds that, too
	}
	e.host.Post(func() {
		if e.role != roleDone {
			e.confuse(fmt.Errorf("handoff: %w", err))
		}
	})
}

// confuse ends the move because a frame makes no sense. The other side may own what is under way, or may yet take it,
// so that thaws only when the other side is gone.
func (e *End) confuse(err error) {
	if e.failure == nil {
		e.failure = err
	}
	e.unsent()
	if len(e.flight) == 0 || e.role == roleDone {
		e.ch.close()
		e.broken(err)
		return
	}
	if !e.confused && e.gave {
		e.opt.Stuck()
	}
	e.confused = true
}

// handle acts on a frame. After an error the channel is of no further use, but for answers.
func (e *End) handle(fr *fdpass.Frame) error {
	if e.role == roleDone || e.confused && fr.Kind != kindAck && fr.Kind != kindNack {
		return errFrame
	}
	if len(fr.FDs)+fr.Lost > 0 && fr.Kind != kindBatch {
		return fmt.Errorf("%w: descriptors", errFrame)
	}
	switch fr.Kind {
	case kindHello:
		return e.greeted(fr.Payload)
	case kindBatch:
		return e.arrived(fr)
	case kindAck, kindNack:
		return e.answered(fr.Kind == kindAck, fr.Payload)
	case kindForward:
		e.passing = true
		e.host.Deliver(fr.Payload)
		e.passing = false
	case kindEnd:
		return e.ended()
	case kindGot:
		return e.got()
	case kindRevert:
		return e.reverted(string(fr.Payload))
	case kindLast:
		return e.last()
	default:
		return fmt.Errorf("%w: kind %d", errFrame, fr.Kind)
	}
	return nil
}

// Forward brings a message to a connection that has left, or is about to. It reports false if this move knows nothing
// of the connection, or has ended. m is copied.
func (e *End) Forward(id uint64, m []byte) bool {
	if e.role == roleDone {
		return false
	}
	if _, ok := e.gone[id]; ok {
		e.ch.send(kindForward, m, nil)
		return true
	}
	if e.passing && e.back[id] {
		return false // it comes from the other side, in front of those that wait here
	}
	if list, ok := e.held[id]; ok {
		e.held[id] = append(list, slices.Clone(m))
		return true
	}
	return false
}

// Holds says whether a message for a connection must go to Forward although the connection is here.
func (e *End) Holds(id uint64) bool { return !e.passing && e.back[id] }

// settleBack delivers what was held for connections that have come back.
func (e *End) settleBack() {
	back := e.back
	e.back = nil
	for id := range back {
		waiting := e.held[id]
		delete(e.held, id)
		for _, m := range waiting {
			e.host.Deliver(m)
		}
	}
}

// Lost is the number of forwarded messages that were given up because too many waited.
func (e *End) Lost() uint64 { return e.ch.lost.Load() }

// Moved is the number of connections that have a new owner so far, and how many are here still.
func (e *End) Moved() (moved, left int) { return e.out.Moved, e.host.Load() }

// Resume goes on with freezing: a connection has become ready.
func (e *End) Resume() { e.pump() }

// Settle says that no further message for those that have left will come to the giver: the last ones are forwarded, and
// the channel ends.
func (e *End) Settle() {
	if !e.gave || e.role != roleSettling {
		return
	}
	e.ch.send(kindLast, nil, nil)
	e.ch.finish()
	e.role = roleDone
	e.host.StopRecording()
}

// Tick looks at the time. Call it about once a second.
func (e *End) Tick() {
	waiting := len(e.flight) > 0 && e.flight[0].sent
	switch e.role {
	case roleGreeting:
		waiting = e.gave
	case roleEnding, roleReverting:
		waiting = true
	case roleGiving:
	default:
		return
	}
	if !waiting {
		e.progress = e.opt.Now()
		return
	}
	if time.Duration(e.opt.Now()-e.progress) < e.opt.Stall {
		return
	}
	e.progress = e.opt.Now()
	switch {
	case !e.gave: // the one that returns connections is not the judge
	case e.role == roleReverting || e.role == roleGreeting || e.warned || e.confused:
		if e.failure == nil {
			e.failure = errStalled
		}
		e.opt.Stuck()
	default:
		e.warned = true
		e.fail(errStalled)
	}
}

// close ends this side's part.
func (e *End) close(err error) {
	if e.role == roleDone {
		return
	}
	settled := e.role == roleSettling && e.gave
	e.role = roleDone
	if err != nil {
		e.out.Err = err
	}
	e.ch.finish()
	e.settleBack()
	e.host.StopRecording()
	switch {
	case settled: // it was told
	case e.gave:
		e.opt.Given(e.out)
	default:
		e.opt.Taken(e.out)
	}
}

// broken ends the move because the other side is gone: what was under way goes on here.
func (e *End) broken(err error) {
	if e.role == roleDone {
		return
	}
	if e.failure != nil {
		err = e.failure
	}
	e.thawAll()
	if e.role == roleGiving { // in the other roles nothing has departed, or Stay was called
		e.out.Staying = e.host.Stay()
	}
	e.close(err)
}

func number(b []byte) (uint32, []byte, error) {
	if len(b) < 4 {
		return 0, nil, errFrame
	}
	return binary.LittleEndian.Uint32(b), b[4:], nil
}
