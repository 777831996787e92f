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
	// batchSize is the number of connections in a batch. Larger batches are not faster.
	batchSize = 64
	// window is the number of batches that may be in transit. The kernel counts descriptors in transit against the
	// user's limit of open files, and slows down senders that have many: batchSize × window must not exceed 256.
	window = 3
	// defaultStall is how long the other worker may not answer before it is considered stuck.
	defaultStall = 10 * time.Second
)

// role is the state of one side.
type role uint8

const (
	roleGreeting role = iota // waits for HELLO
	roleSyncing              // the giver waits for publications that the taker has not recorded
	roleGiving
	roleTaking
	roleEnding    // END was sent
	roleReverting // REVERT was sent: what has moved comes back
	roleSettling  // everything is done except LAST
	roleDone
)

// Outcome is the result of a move.
type Outcome struct {
	Moved    int // connections that have a new owner
	Returned int // of those, the ones that came back
	Staying  int // connections that cannot move
	Err      error
	Bytes    int           // size of the states that were sent
	Freeze   time.Duration // the longest time for which a connection was frozen, measured by the taker
}

// Options are the options of one side of a move.
type Options struct {
	Hello Hello // Position and FreeFDs are set by the package
	// Count is the number of connections to move. If it is negative, all of them move, or the move is reverted.
	Count int
	// Stall is how long the other side may take to answer a batch. 0 is 10 s.
	Stall time.Duration
	// Now returns the time in ns, from a clock that all processes of this machine share.
	Now func() int64
	// Given is called once at the giver: either everything that can move has moved, or the move has failed and
	// everything that could come back is back. After a success, the giver must call Settle.
	Given func(Outcome)
	// Taken is called once at the taker, after LAST or a failure.
	Taken func(Outcome)
	// Stuck is called at the giver when the other side does not even answer REVERT. The other side must be killed, so
	// that the batches in transit can thaw.
	Stuck func()
}

// parcel is a batch in transit.
type parcel struct {
	number uint32
	batch  Batch
	data   BatchData
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
	flight   []parcel // in transit, the oldest first
	budget   int      // connections that may still be frozen; negative is no limit
	failure  error
	refusing bool  // the taker has refused a batch, and refuses those after it, too
	confused bool  // the other side sent a malformed frame while batches were in transit
	crossed  bool  // GOT arrived after REVERT was sent
	returned bool  // END arrived after REVERT was sent
	progress int64 // time of the last progress
	warned   bool  // the other side has stalled once
	out      Outcome

	gone map[uint64]struct{} // connections that the other side owns
	held map[uint64][][]byte // messages for connections in transit, and for those in back
	// back are the connections that have come back. Until LAST, messages that the other side forwards are delivered
	// first, and the others are held.
	back    map[uint64]bool
	passing bool // a message that the other side has forwarded is being delivered
}

// Give starts to move connections of h over a socketpair. It takes over f, even if it fails.
func Give(h Host, f *os.File, opt Options) (*End, error) {
	e, err := newEnd(h, f, opt)
	if err != nil {
		return nil, err
	}
	e.gave, e.budget = true, opt.Count
	e.hello()
	return e, nil
}

// Take prepares for connections that arrive over a socketpair. It takes over f, even if it fails.
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

// hello sends HELLO.
func (e *End) hello() {
	h := e.opt.Hello
	h.Position = e.host.Position()
	if !e.gave { // the giver opens no descriptors
		h.FreeFDs = uint32(min(max(e.host.FreeFDs(), 0), math.MaxInt32))
	}
	e.ch.send(kindHello, h.append(nil), nil)
}

// receive handles a frame on the loop. It is called on the reading goroutine.
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

// unwritten handles a failure of the writer on the loop. It is called on the writing goroutine.
func (e *End) unwritten(err error) {
	if errors.Is(err, net.ErrClosed) || errors.Is(err, syscall.EPIPE) || errors.Is(err, syscall.ECONNRESET) {
		return // the reader gets an error, too
	}
	e.host.Post(func() {
		if e.role != roleDone {
			e.confuse(fmt.Errorf("handoff: %w", err))
		}
	})
}

// confuse ends the move because of a malformed frame. The other side may own the batches in transit, or may still take
// them, so they thaw only when the other side has closed the channel.
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

// handle handles a frame. After an error only answers are accepted.
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

// Forward forwards a message to a connection that has left or is about to. It reports false if the connection is not
// part of this move, or if the move has ended. It copies m.
func (e *End) Forward(id uint64, m []byte) bool {
	if e.role == roleDone {
		return false
	}
	if _, ok := e.gone[id]; ok {
		e.ch.send(kindForward, m, nil)
		return true
	}
	if e.passing && e.back[id] {
		return false // it comes from the other side: deliver it before the messages that wait here
	}
	if list, ok := e.held[id]; ok {
		e.held[id] = append(list, slices.Clone(m))
		return true
	}
	return false
}

// Holds reports whether messages for a connection must be passed to Forward although the connection is here.
func (e *End) Holds(id uint64) bool { return !e.passing && e.back[id] }

// settleBack delivers the messages that were held for connections that have come back.
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

// Lost returns the number of forwarded messages that were dropped because the queue was full.
func (e *End) Lost() uint64 { return e.ch.lost.Load() }

// Moved returns how many connections have a new owner and how many are still here.
func (e *End) Moved() (moved, left int) { return e.out.Moved, e.host.Load() }

// Resume continues to freeze connections. Call it when a connection has become ready.
func (e *End) Resume() { e.pump() }

// Settle ends the move at the giver: no more messages for connections that have left will reach it. It forwards the
// last ones and closes the channel.
func (e *End) Settle() {
	if !e.gave || e.role != roleSettling {
		return
	}
	e.ch.send(kindLast, nil, nil)
	e.ch.finish()
	e.role = roleDone
	e.host.StopRecording()
}

// Tick checks for a stall. Call it about once a second.
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
	case !e.gave: // only the side that began as the giver reports a stall
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

// close ends this side of the move.
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
	case settled: // Given was called
	case e.gave:
		e.opt.Given(e.out)
	default:
		e.opt.Taken(e.out)
	}
}

// broken ends the move because the other side has closed the channel: batches in transit continue here.
func (e *End) broken(err error) {
	if e.role == roleDone {
		return
	}
	if e.failure != nil {
		err = e.failure
	}
	e.thawAll()
	if e.role == roleGiving { // in the other roles Depart was not called, or Stay was
		e.out.Staying = e.host.Stay()
	}
	e.close(err)
}

// number parses the number of a batch and returns the rest.
func number(b []byte) (uint32, []byte, error) {
	if len(b) < 4 {
		return 0, nil, errFrame
	}
	return binary.LittleEndian.Uint32(b), b[4:], nil
}
