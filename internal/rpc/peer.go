package rpc

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
)

// The kinds of messages. A message consists of four zero bytes, its kind, the operation, a number (8, little-endian)
// unless it is a notice, and the payload, which in a failure is the text of the error.
const (
	kindRequest byte = iota + 1
	kindAnswer
	kindFailure
	kindNotice
)

const (
	markLen   = 4
	noticeLen = markLen + 2
	headerLen = noticeLen + 8
)

// maxWaiting is the number of requests of one side that may wait for an answer.
const maxWaiting = 64 << 10

// Errors of Call.
var (
	// ErrClosed is returned after Close.
	ErrClosed = errors.New("rpc: closed")
	// ErrBusy is returned if maxWaiting requests are waiting.
	ErrBusy = errors.New("rpc: too many requests wait")
	// ErrFailed is returned if the other side has answered with an error. It is wrapped with the text of that error.
	ErrFailed = errors.New("rpc: refused")
)

// Serve handles a request or a notice of the other side. It must not block, because Peer.Receive calls it. reply
// sends the answer to a request; it may be called once, on any goroutine, at any time. For a notice it does nothing.
// The payload is valid until Serve returns.
type Serve func(op byte, payload []byte, reply func(answer []byte, err error))

// Peer is one side of a link. It is safe for concurrent use.
type Peer struct {
	send  func(m []byte) error
	serve Serve
	lost  atomic.Uint64

	mu      sync.Mutex
	last    uint64
	waiting map[uint64]chan answer
	closed  bool
}

type answer struct {
	payload []byte
	err     error
}

// NewPeer returns one side of a link. send sends a message on the link. It must not block, and must not keep m.
func NewPeer(send func(m []byte) error, serve Serve) *Peer {
	// A random first number: answers in transit to an earlier Peer of this link must not match requests of this one.
	return &Peer{send: send, serve: serve, last: rand.Uint64(), waiting: make(map[uint64]chan answer)}
}

// Is reports whether a message on the link is for a Peer.
func Is(m []byte) bool { return len(m) >= noticeLen && binary.LittleEndian.Uint32(m) == 0 }

func header(kind, op byte, number uint64, room int) []byte {
	m := append(make([]byte, markLen, headerLen+room), kind, op)
	if kind != kindNotice {
		m = binary.LittleEndian.AppendUint64(m, number)
	}
	return m
}

// Call sends a request to the other side and blocks until the answer. It returns the error of the context, of the
// link, or one of this package.
func (p *Peer) Call(ctx context.Context, op byte, payload []byte) ([]byte, error) {
	ch := make(chan answer, 1)
	p.mu.Lock()
	switch {
	case p.closed:
		p.mu.Unlock()
		return nil, ErrClosed
	case len(p.waiting) >= maxWaiting:
		p.mu.Unlock()
		return nil, ErrBusy
	}
	p.last++
	number := p.last
	p.waiting[number] = ch
	p.mu.Unlock()
	defer func() {
		p.mu.Lock()
		delete(p.waiting, number)
		p.mu.Unlock()
	}()
	if err := p.send(append(header(kindRequest, op, number, len(payload)), payload...)); err != nil {
		return nil, fmt.Errorf("rpc: %w", err)
	}
	select {
	case a := <-ch:
		return a.payload, a.err
	case <-ctx.Done():
		return nil, fmt.Errorf("rpc: no answer: %w", ctx.Err())
	}
}

// Tell sends a notice to the other side.
func (p *Peer) Tell(op byte, payload []byte) error {
	if err := p.send(append(header(kindNotice, op, 0, len(payload)), payload...)); err != nil {
		return fmt.Errorf("rpc: %w", err)
	}
	return nil
}

// Receive handles a message for which Is is true. It does not keep m, and ignores invalid messages.
func (p *Peer) Receive(m []byte) {
	if !Is(m) {
		return
	}
	kind, op := m[markLen], m[markLen+1]
	if kind == kindNotice {
		p.serve(op, m[noticeLen:], func([]byte, error) {})
		return
	}
	if len(m) < headerLen {
		return
	}
	number, payload := binary.LittleEndian.Uint64(m[noticeLen:]), m[headerLen:]
	switch kind {
	case kindRequest:
		p.serve(op, payload, func(b []byte, err error) { p.reply(op, number, b, err) })
	case kindAnswer:
		p.answered(number, answer{payload: append([]byte(nil), payload...)})
	case kindFailure:
		p.answered(number, answer{err: fmt.Errorf("%w: %s", ErrFailed, payload)})
	}
}

func (p *Peer) reply(op byte, number uint64, b []byte, err error) {
	m := append(header(kindAnswer, op, number, len(b)), b...)
	if err != nil {
		m = append(header(kindFailure, op, number, 0), err.Error()...)
	}
	if p.send(m) != nil {
		p.lost.Add(1) // the caller's context ends its wait
	}
}

func (p *Peer) answered(number uint64, a answer) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if ch, ok := p.waiting[number]; ok {
		delete(p.waiting, number)
		ch <- a // has a buffer for one answer
	}
}

// Lost returns the number of answers that the link did not take.
func (p *Peer) Lost() uint64 { return p.lost.Load() }

// Close makes all waiting and later calls of Call return ErrClosed.
func (p *Peer) Close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.closed = true
	for number, ch := range p.waiting {
		delete(p.waiting, number)
		ch <- answer{err: ErrClosed}
	}
}
