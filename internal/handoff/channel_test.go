//go:build unix

package handoff

import (
	"errors"
	"fmt"
	"io"
	"net"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/expedite-go/expedite/internal/fdpass"
)

// idle returns a channel that nothing is written from, with n bytes in its queue.
func idle(n int) *channel {
	c := &channel{queued: n}
	c.work.L = &c.mu
	return c
}

func TestOnlyForwardedMessagesAreDroppedWhenTheQueueIsFull(t *testing.T) {
	tests := []struct {
		name   string
		queued int
		kind   byte
		want   bool
	}{
		{"a message for an empty queue", 0, kindForward, true},
		{"a message when the limit is reached", maxQueued, kindForward, true},
		{"a message beyond the limit", maxQueued + 1, kindForward, false},
		{"a batch beyond the limit", maxQueued + 1, kindBatch, true},
		{"END beyond the limit", maxQueued + 1, kindEnd, true},
		{"REVERT beyond the limit", maxQueued + 1, kindRevert, true},
		{"LAST beyond the limit", maxQueued + 1, kindLast, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := idle(tt.queued)
			if got := c.send(tt.kind, []byte("payload"), nil); got != tt.want {
				t.Errorf("sent %v, want %v", got, tt.want)
			}
			wantLost, wantFrames := uint64(1), 0
			if tt.want {
				wantLost, wantFrames = 0, 1
			}
			if lost, n := c.lost.Load(), len(c.waiting()); lost != wantLost || n != wantFrames {
				t.Errorf("%d lost, %d frames wait, want %d and %d", lost, n, wantLost, wantFrames)
			}
		})
	}
}

func TestWhatIsQueuedIsWrittenBeforeTheEnd(t *testing.T) {
	a, b := pair(t)
	p := newPeer(t, b)
	c, err := open(a, func(*fdpass.Frame, error) {}, func(err error) { t.Error(err) })
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for big := make([]byte, maxQueued/8); c.send(kindForward, big, nil); { // more than the socket's buffer
		n++
	}
	c.finish()
	for range n {
		p.read(kindForward)
	}
	p.eof()
	<-c.wrote
	if n < 8 || c.queued != 0 || c.lost.Load() != 1 {
		t.Errorf("%d frames written, %d bytes in the queue, %d lost", n, c.queued, c.lost.Load())
	}
	p.close()
	<-c.closed
}

func TestDescriptorsWaitForRoomInTheKernel(t *testing.T) {
	other := errors.New("another error")
	tests := []struct {
		name   string
		full   int // attempts that find no room
		then   error
		sends  int
		pauses int
		want   error
	}{
		{"room at once", 0, nil, 1, 0, nil},
		{"room at the third attempt", 2, nil, 3, 2, nil},
		{"room at the last attempt", maxTries, nil, maxTries + 1, maxTries, nil},
		{"no room ever", maxTries + 100, nil, maxTries + 1, maxTries, syscall.ETOOMANYREFS},
		{"another error", 0, other, 1, 0, other},
		{"another error after an attempt without room", 1, other, 2, 1, other},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			sends, pauses := 0, 0
			err := awaitRoom(func() error {
				if sends++; sends <= tt.full {
					return fmt.Errorf("fdpass: %w", syscall.ETOOMANYREFS)
				}
				return tt.then
			}, func() { pauses++ })
			if !errors.Is(err, tt.want) || sends != tt.sends || pauses != tt.pauses {
				t.Errorf("%v after %d attempts and %d pauses, want %v, %d and %d",
					err, sends, pauses, tt.want, tt.sends, tt.pauses)
			}
		})
	}
	if got, want := maxTries*retryAfter, 5*time.Second; got != want {
		t.Errorf("descriptors wait for %v, want %v: half of what the other side waits for a batch", got, want)
	}
}

func TestAWriterThatFailsIsHeardOnlyIfTheOtherSideIsThere(t *testing.T) {
	for _, tt := range []struct {
		err  error
		want int // how often the other side is reported
	}{{net.ErrClosed, 0}, {syscall.EPIPE, 0}, {syscall.ECONNRESET, 0}, {syscall.ETOOMANYREFS, 1}} {
		t.Run(tt.err.Error(), func(t *testing.T) {
			w, p := stalled(t, 1, -1)
			w.giver.end.unwritten(fmt.Errorf("fdpass: %w", tt.err))
			w.giver.do(t, func() {
				if w.giver.stuck != tt.want {
					t.Errorf("stuck %d times, want %d", w.giver.stuck, tt.want)
				}
			})
			p.close()
			want := errBroken // what the reader has found
			if tt.want > 0 {
				want = tt.err
			}
			if o := w.given(); !errors.Is(o.Err, want) {
				t.Errorf("given %+v, want %v", o, want)
			}
			w.owned(1, 0)
		})
	}
}

func TestFramesAfterTheEndAreRefused(t *testing.T) {
	w := newWorld(t, 2)
	w.start()
	w.given()
	w.settle()
	w.taken()
	for _, h := range []*host{w.giver, w.taker} {
		h.do(t, func() {
			for kind := range kindLast + 2 {
				if err := h.end.handle(&fdpass.Frame{Kind: kind, Payload: message(1, "late")}); !errors.Is(err, errFrame) {
					t.Errorf("%s: kind %d: %v, want %v", h.name, kind, err, errFrame)
				}
			}
			if len(h.said)+len(h.astray) > 0 {
				t.Errorf("%s delivered %v, %v", h.name, h.said, h.astray)
			}
		})
	}
	w.owned(0, 2)
}

func TestMessagesAfterNonsenseAreNotDelivered(t *testing.T) {
	w, p := stalled(t, batchSize, -1)
	p.write(0, nil)
	p.write(kindForward, message(1, "late"))
	p.ack(1)
	p.eof()
	wantErr(t, w.given().Err, errFrame)
	w.giver.do(t, func() {
		if len(w.giver.said)+len(w.giver.astray) > 0 {
			t.Errorf("delivered %v, %v", w.giver.said, w.giver.astray)
		}
	})
	w.owned(0, 0)
}

func TestALostDescriptorBesideAMessageIsNonsense(t *testing.T) {
	w := newWorld(t, 0)
	a, b := pair(t)
	p := newPeer(t, a)
	w.take(b)
	p.hello()
	p.read(kindHello)
	w.taker.do(t, func() {
		err := w.taker.end.handle(&fdpass.Frame{Kind: kindForward, Payload: message(1, "x"), Lost: 1})
		wantErr(t, err, errFrame)
		if len(w.taker.astray) > 0 {
			t.Errorf("delivered %v", w.taker.astray)
		}
	})
	p.close()
	w.taken()
}

func TestDescriptorsForALoopThatHasEndedAreClosed(t *testing.T) {
	h := newHost("ended", &ledger{owner: make(map[uint64]string)})
	h.stop()
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer closeFD(fds[1])
	e := &End{host: h}
	e.receive(&fdpass.Frame{Kind: kindBatch, FDs: fds[:1]}, nil)
	if n, _, err := unix.Recvfrom(fds[1], make([]byte, 1), unix.MSG_DONTWAIT); n != 0 || err != nil {
		t.Errorf("got %d bytes, %v, want the end: the descriptor is still open", n, err)
	}
	e.receive(nil, io.EOF)
}
