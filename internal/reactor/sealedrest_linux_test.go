package reactor_test

import (
	"bytes"
	"errors"
	"io"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/expedite-go/expedite/internal/reactor"
)

// wantResting compares what a socket has dropped.
func wantResting(t *testing.T, when string, s reactor.Socket, in, out bool) {
	t.Helper()
	if gotIn, gotOut, _ := reactor.Resting(s); gotIn != in || gotOut != out {
		t.Fatalf("%s: rests %v and %v, want %v and %v", when, gotIn, gotOut, in, out)
	}
}

// receiveAll reads n bytes from s.
func receiveAll(t *testing.T, s reactor.Socket, n int) []byte {
	t.Helper()
	buf, got := make([]byte, n), 0
	for end := time.Now().Add(20 * time.Second); got < n; {
		m, err := s.Read(buf[got:])
		if err != nil && !errors.Is(err, reactor.ErrAgain) || time.Now().After(end) {
			t.Fatalf("%d of %d bytes: %v", got, n, err)
		}
		got += m
		runtime.Gosched()
	}
	return buf
}

// TestSilentSocketsRest: a socket that was silent for a round drops both ciphers, and goes on with the same records when
// it is used again, in each direction.
func TestSilentSocketsRest(t *testing.T) {
	client, l, _, s := sealedSocket(t)
	defer s.Close()
	wantResting(t, "at first", s, false, false)
	reactor.Round(l)
	wantResting(t, "after a silent round", s, true, true)
	for round := range 3 {
		if _, err := client.Write([]byte("question")); err != nil {
			t.Fatal(err)
		}
		if got := receiveAll(t, s, 8); !bytes.Equal(got, []byte("question")) {
			t.Fatalf("got %q", got)
		}
		wantResting(t, "after a record has come", s, false, true)
		reactor.Round(l)
		wantResting(t, "in a round with a record", s, false, true)
		if _, err := s.Write([]byte("answer")); err != nil {
			t.Fatal(err)
		}
		buf := make([]byte, 6)
		if _, err := io.ReadFull(client, buf); err != nil || !bytes.Equal(buf, []byte("answer")) {
			t.Fatalf("the client got %q, %v", buf, err)
		}
		reactor.Round(l)
		wantResting(t, "in a round with an answer", s, false, false)
		for end := time.Now().Add(20 * time.Second); ; runtime.Gosched() { // until the system has acknowledged it
			reactor.Round(l)
			reactor.Round(l)
			wantResting(t, "after another silent round", s, true, true)
			if _, _, remembers := reactor.Resting(s); !remembers {
				break
			}
			if time.Now().After(end) {
				t.Fatalf("round %d: the sizes of records that have arrived are still there", round)
			}
			if _, err := s.Write(nil); err != nil {
				t.Fatal(err)
			}
		}
		if n := reactor.Ciphers(l); n != 0 {
			t.Fatalf("%d sockets are looked at, want none", n)
		}
	}
}

// TestRestRemembers: a socket at rest still tells what its peer has not acknowledged, as far as it has read it.
func TestRestRemembers(t *testing.T) {
	client, l, _, s := sealedSocket(t)
	defer client.Close()
	defer s.Close()
	for {
		if _, err := s.Write(make([]byte, 1<<20)); errors.Is(err, reactor.ErrAgain) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
	}
	before := s.Unacknowledged()
	reactor.Round(l)
	reactor.Round(l)
	wantResting(t, "after two rounds", s, true, true)
	if after := s.Unacknowledged(); before == 0 || after != before || !s.Waits() {
		t.Errorf("%d bytes are not acknowledged, want %d; waits: %v", after, before, s.Waits())
	}
}

// TestRestAndMoves: a socket at rest moves, and one that has moved has no ciphers until it is used. The list of those
// that have does not keep what is gone.
func TestRestAndMoves(t *testing.T) {
	client, l, k, s := sealedSocket(t)
	if _, err := client.Write([]byte("x")); err != nil {
		t.Fatal(err)
	}
	receiveAll(t, s, 1)
	state := s.Suspend()
	if err := l.Remove(k); err != nil {
		t.Fatal(err)
	}
	k, s, err := l.Resume(s.FD(), state)
	if err != nil {
		t.Fatal(err)
	}
	wantResting(t, "after a move", s, true, true)
	if _, err := client.Write([]byte("x")); err != nil {
		t.Fatal(err)
	}
	receiveAll(t, s, 1)
	reactor.Round(l)
	if n := reactor.Ciphers(l); n != 1 {
		t.Errorf("%d sockets are looked at, want 1", n)
	}
	l.Close(k, s)
	reactor.Round(l)
	reactor.Round(l)
	if n := reactor.Ciphers(l); n != 0 {
		t.Errorf("%d sockets are looked at after Close, want none", n)
	}
}

// TestRestWhileWritten: other goroutines write while the loop drops ciphers, and no record is lost.
func TestRestWhileWritten(t *testing.T) {
	client, l, _, s := sealedSocket(t)
	defer s.Close()
	const records = 300
	var wg sync.WaitGroup
	wg.Go(func() {
		for i := range records {
			for n := 0; n == 0; {
				var err error
				if n, err = s.Write([]byte{byte(i)}); err != nil && !errors.Is(err, reactor.ErrAgain) {
					t.Error(err)
					return
				}
			}
		}
	})
	wg.Go(func() {
		buf := make([]byte, records)
		if _, err := io.ReadFull(client, buf); err != nil {
			t.Error(err)
		}
		for i, b := range buf {
			if b != byte(i) {
				t.Errorf("byte %d is %d", i, b)
				return
			}
		}
	})
	done := make(chan struct{})
	go func() { wg.Wait(); close(done) }()
	for {
		select {
		case <-done:
			return
		default:
			reactor.Round(l)
		}
	}
}
