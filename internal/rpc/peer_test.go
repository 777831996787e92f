package rpc

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"sync"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// pair connects two peers directly.
func pair(a, b Serve) (*Peer, *Peer) {
	var left, right *Peer
	left = NewPeer(func(m []byte) error { right.Receive(slices.Clone(m)); return nil }, a)
	right = NewPeer(func(m []byte) error { left.Receive(slices.Clone(m)); return nil }, b)
	return left, right
}

func nothing(byte, []byte, func([]byte, error)) {}

// echo answers with the operation and the payload, and refuses operation 9.
func echo(op byte, payload []byte, reply func([]byte, error)) {
	if op == 9 {
		reply(nil, errors.New("not nine"))
		return
	}
	reply(append([]byte{op}, payload...), nil)
}

// TestCall: each request gets its own answer, also with many goroutines.
func TestCall(t *testing.T) {
	left, _ := pair(nothing, echo)
	var wg sync.WaitGroup
	for op := range byte(8) {
		wg.Go(func() {
			for i := range 200 {
				want := []byte{op, byte(i)}
				got, err := left.Call(context.Background(), op, []byte{byte(i)})
				if err != nil || !bytes.Equal(got, want) {
					t.Errorf("got %v, %v, want %v", got, err, want)
				}
			}
		})
	}
	wg.Wait()
	if _, err := left.Call(context.Background(), 9, nil); !errors.Is(err, ErrFailed) {
		t.Errorf("a refused request: got %v, want %v", err, ErrFailed)
	}
}

// TestLateAnswer: an answer may come later, from any goroutine. An answer that comes too late is ignored.
func TestLateAnswer(t *testing.T) {
	replies := make(chan func([]byte, error), 2)
	left, _ := pair(nothing, func(_ byte, _ []byte, reply func([]byte, error)) { replies <- reply })
	done := make(chan error, 1)
	go func() {
		b, err := left.Call(context.Background(), 1, nil)
		if string(b) != "late" {
			err = errors.Join(err, errors.New("got "+string(b)))
		}
		done <- err
	}()
	reply := <-replies
	reply([]byte("late"), nil)
	reply([]byte("again"), nil)
	if err := <-done; err != nil {
		t.Error(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := left.Call(ctx, 1, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want %v", err, context.Canceled)
	}
	(<-replies)([]byte("too late"), nil)
	if n := len(left.waiting); n != 0 {
		t.Errorf("%d requests still wait", n)
	}
}

// TestClose: calls that wait return.
func TestClose(t *testing.T) {
	asked := make(chan struct{}, 1)
	left, _ := pair(nothing, func(byte, []byte, func([]byte, error)) { asked <- struct{}{} })
	done := make(chan error, 1)
	go func() {
		_, err := left.Call(context.Background(), 1, nil)
		done <- err
	}()
	<-asked
	left.Close()
	if err := <-done; !errors.Is(err, ErrClosed) {
		t.Errorf("got %v, want %v", err, ErrClosed)
	}
	if _, err := left.Call(context.Background(), 1, nil); !errors.Is(err, ErrClosed) {
		t.Errorf("after Close: got %v, want %v", err, ErrClosed)
	}
}

// TestFullLink: if the link refuses a message, a request returns an error and an answer is counted.
func TestFullLink(t *testing.T) {
	full := errors.New("full")
	p := NewPeer(func([]byte) error { return full }, echo)
	if _, err := p.Call(context.Background(), 1, nil); !errors.Is(err, full) {
		t.Errorf("Call: got %v, want %v", err, full)
	}
	if err := p.Tell(1, nil); !errors.Is(err, full) {
		t.Errorf("Tell: got %v, want %v", err, full)
	}
	p.Receive(append(header(kindRequest, 1, 7, 0), "x"...))
	if p.Lost() != 1 {
		t.Errorf("got %d lost answers, want 1", p.Lost())
	}
}

// TestTell: a notice arrives and causes no answer.
func TestTell(t *testing.T) {
	var got []byte
	left, _ := pair(func(byte, []byte, func([]byte, error)) { t.Error("an answer to a notice") },
		func(op byte, b []byte, reply func([]byte, error)) {
			got = append([]byte{op}, b...)
			reply([]byte("thanks"), nil)
		})
	if err := left.Tell(3, []byte("hi")); err != nil || string(got) != "\x03hi" {
		t.Errorf("got %q, %v", got, err)
	}
}

// FuzzReceive: a Peer survives any message.
func FuzzReceive(f *testing.F) {
	f.Add(header(kindRequest, 1, 7, 0))
	f.Add(header(kindAnswer, 1, 7, 0))
	f.Add(header(kindNotice, 1, 0, 0))
	f.Add([]byte{0, 0, 0, 0, 1})
	f.Fuzz(func(_ *testing.T, m []byte) {
		p := NewPeer(func([]byte) error { return nil }, echo)
		if Is(m) {
			p.Receive(m)
		}
		p.Receive(m)
	})
}
