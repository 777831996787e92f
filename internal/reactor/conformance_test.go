package reactor_test

import (
	"bytes"
	"errors"
	"io"
	"syscall"
	"testing"

	"github.com/expedite-go/expedite/internal/reactor"
)

func TestEcho(t *testing.T) {
	forEachKind(t, func(t *testing.T, kd kind) {
		r, e := newEchoRig(t, kd)
		end := r.connect()
		for _, size := range []int{1, 20, 4096, 64 << 10, 300_000, 2 << 20} {
			if err := exchange(end.client, pattern(size)); err != nil {
				t.Fatalf("%d bytes: %v", size, err)
			}
		}
		_ = end.client.CloseWrite()
		if got := await(t, e.ended, "the end"); !errors.Is(got, io.EOF) {
			t.Errorf("ended with %v, want io.EOF", got)
		}
	})
}

func TestManySocketsHaveSmallIndexes(t *testing.T) {
	forEachKind(t, func(t *testing.T, kd kind) {
		const count = 100
		r, e := newEchoRig(t, kd)
		seen := map[uint32]bool{}
		for round := range 2 {
			var ends []*end
			for range count {
				ends = append(ends, r.connect())
			}
			for i, end := range ends {
				if err := exchange(end.client, pattern(10+i)); err != nil {
					t.Fatalf("round %d, socket %d: %v", round, i, err)
				}
				seen[end.key.Index] = true
			}
			for _, end := range ends {
				_ = end.client.Close()
				await(t, e.ended, "a socket to end")
			}
		}
		if got := len(seen); got != count {
			t.Errorf("%d indexes for %d sockets at a time", got, count)
		}
		for i := range seen {
			if i >= count {
				t.Errorf("index %d for %d sockets", i, count)
			}
		}
		if got := r.loop.Stats().Sockets; got != 0 {
			t.Errorf("%d sockets are left", got)
		}
	})
}

func TestHalfClose(t *testing.T) {
	forEachKind(t, func(t *testing.T, kd kind) {
		var r *rig
		var got []byte
		ended, heard := false, make(chan []byte, 1)
		hungUp, told := false, make(chan struct{}, 1)
		r = newRig(t, kd, &script{ready: func(k reactor.Key, ev reactor.Events) {
			s := r.find(k).sock
			err := readAll(s, r.loop.Buffer(), func(b []byte) { got = append(got, b...) })
			if ev&reactor.Hangup != 0 && !hungUp {
				hungUp = true // the end may have been read before its event
				told <- struct{}{}
			}
			if !errors.Is(err, io.EOF) || ended {
				return
			}
			ended = true
			_, _ = s.Write([]byte("the answer"))
			if err := s.CloseWrite(); err != nil {
				t.Errorf("CloseWrite: %v", err)
			}
			heard <- got
		}})
		r.start()
		end := r.connect()
		_, _ = end.client.Write([]byte("the question"))
		_ = end.client.CloseWrite()
		if got := await(t, heard, "the end"); string(got) != "the question" {
			t.Errorf("read %q", got)
		}
		await(t, told, "Hangup")
		if answer, err := io.ReadAll(end.client); string(answer) != "the answer" || err != nil {
			t.Errorf("client read %q, %v", answer, err)
		}
	})
}

func TestReset(t *testing.T) {
	forEachKind(t, func(t *testing.T, kd kind) {
		r, e := newEchoRig(t, kd)
		end := r.connect()
		if err := exchange(end.client, []byte("x")); err != nil {
			t.Fatal(err)
		}
		_ = end.client.SetLinger(0)
		_ = end.client.Close()
		if got := await(t, e.ended, "the reset"); !errors.Is(got, syscall.ECONNRESET) {
			t.Errorf("ended with %v, want a reset", got)
		}
	})
}

func TestBigWriteToASlowReader(t *testing.T) {
	forEachKind(t, func(t *testing.T, kd kind) {
		want := pattern(16 << 20)
		var r *rig
		rest, writables, full := want, 0, make(chan struct{}, 1)
		push := func(s reactor.Socket) {
			for len(rest) > 0 {
				n, err := s.Write(rest)
				rest = rest[n:]
				if errors.Is(err, reactor.ErrAgain) {
					if n != 0 {
						t.Errorf("ErrAgain with a count of %d", n)
					}
					select {
					case full <- struct{}{}:
					default:
					}
					return
				}
				if err != nil {
					t.Errorf("Write: %v", err)
					return
				}
			}
			_ = s.CloseWrite()
		}
		r = newRig(t, kd, &script{ready: func(k reactor.Key, ev reactor.Events) {
			if end := r.find(k); end != nil && ev&reactor.Writable != 0 {
				writables++
				push(end.sock)
			}
		}})
		r.start()
		end := r.connect()
		r.do(func() { push(end.sock) })
		await(t, full, "the socket to be full")
		got, err := io.ReadAll(end.client)
		if err != nil || !bytes.Equal(got, want) {
			t.Errorf("client read %d bytes, %v, want %d as they were sent", len(got), err, len(want))
		}
		r.do(func() {
			if writables == 0 {
				t.Error("nobody told that the socket was writable again")
			}
		})
	})
}

func TestStaleEventsAreSwallowed(t *testing.T) {
	forEachKind(t, func(t *testing.T, kd kind) {
		var r *rig
		closed := map[reactor.Key]bool{}
		var first, second *end
		armed := false
		r = newRig(t, kd, &script{ready: func(k reactor.Key, _ reactor.Events) {
			if closed[k] {
				t.Errorf("an event for %v, which is closed", k)
			}
			if !armed || closed[first.key] || closed[second.key] {
				return
			}
			victim := second
			if k == second.key {
				victim = first
			}
			r.loop.Close(victim.key, victim.sock)
			closed[victim.key] = true
			r.loop.Again(victim.key, reactor.Readable)
			r.loop.SetDeadline(victim.key, r.loop.Now())
		}, timeout: func(k reactor.Key) { t.Errorf("a timeout of %v", k) }})
		r.start()
		first, second = r.connect(), r.connect()
		r.do(func() {
			armed = true
			// Both are ready when this turn of the loop ends.
			_, _ = first.client.Write([]byte("x"))
			_, _ = second.client.Write([]byte("x"))
			r.loop.Again(first.key, reactor.Readable)
			r.loop.Again(second.key, reactor.Readable)
		})
		for range 5 {
			r.do(func() {})
		}
		successor := r.connect()
		r.do(func() {
			if len(closed) != 1 {
				t.Errorf("%d sockets were closed, want 1", len(closed))
			}
			for k := range closed {
				if successor.key.Index != k.Index || successor.key.Gen == k.Gen {
					t.Errorf("%v came after %v, want the same index and another generation", successor.key, k)
				}
				r.loop.Close(k, successor.sock) // the wrong key: nothing happens
			}
		})
		if got := r.loop.Stats().Sockets; got != 2 {
			t.Errorf("%d sockets, want 2", got)
		}
	})
}

func TestAgainLetsOthersHaveTheirTurn(t *testing.T) {
	forEachKind(t, func(t *testing.T, kd kind) {
		var r *rig
		var busy *end
		turns, served := 0, make(chan int, 1)
		r = newRig(t, kd, &script{ready: func(k reactor.Key, _ reactor.Events) {
			if busy == nil {
				return
			}
			if k == busy.key {
				turns++
				r.loop.Again(k, reactor.Readable)
				return
			}
			_ = readAll(r.find(k).sock, r.loop.Buffer(), func([]byte) {
				select {
				case served <- turns:
				default:
				}
			})
		}})
		r.start()
		hog, other := r.connect(), r.connect()
		r.do(func() {
			busy = hog
			r.loop.Again(hog.key, reactor.Readable)
		})
		_, _ = other.client.Write([]byte("x"))
		await(t, served, "the other socket")
		before := 0
		r.do(func() { before = turns })
		r.do(func() {})
		r.do(func() {
			if turns <= before {
				t.Error("Again was not followed by another turn")
			}
		})
	})
}
