package reactor_test

import (
	"bytes"
	"errors"
	"io"
	"testing"

	"github.com/expedite-go/expedite/internal/reactor"
)

func TestDeadlines(t *testing.T) {
	forEachKind(t, func(t *testing.T, kd kind) {
		var r *rig
		due := map[reactor.Key]int64{}
		fired := make(chan reactor.Key, 16)
		r = newRig(t, kd, &script{timeout: func(k reactor.Key) {
			if at, ok := due[k]; !ok || r.loop.Now() < at {
				t.Errorf("%v fired at %d, want not before %d, %v", k, r.loop.Now(), at, ok)
			}
			delete(due, k)
			fired <- k
		}})
		r.start()
		early, late, cleared, closed := r.connect(), r.connect(), r.connect(), r.connect()
		r.do(func() {
			now := r.loop.Now()
			for i, e := range []*end{early, late, cleared, closed} {
				at := now + int64(i)*3e6
				r.loop.SetDeadline(e.key, at)
				due[e.key] = at
			}
			due[late.key] = now + 30e6
			r.loop.SetDeadline(late.key, due[late.key])
			r.loop.ClearDeadline(cleared.key)
			delete(due, cleared.key)
			r.loop.Close(closed.key, closed.sock)
			delete(due, closed.key)
		})
		if got := await(t, fired, "the first deadline"); got != early.key {
			t.Errorf("%v fired first, want %v", got, early.key)
		}
		if got := await(t, fired, "the second deadline"); got != late.key {
			t.Errorf("%v fired second, want %v", got, late.key)
		}
	})
}

// TestEventsPassWhileATimeIsAlwaysDue: an alarm that is due whenever the loop is about to wait holds up no events.
func TestEventsPassWhileATimeIsAlwaysDue(t *testing.T) {
	forEachKind(t, func(t *testing.T, kd kind) {
		r, _ := newEchoRig(t, kd)
		end := r.connect()
		r.do(func() {
			var always *reactor.Alarm
			always = r.loop.NewAlarm(func() { always.Set(r.loop.Now(), 0) })
			always.Set(r.loop.Now(), 0)
		})
		for range 10 {
			if err := exchange(end.client, pattern(100)); err != nil {
				t.Fatal(err)
			}
		}
	})
}

func TestRemoveLeavesTheSocketOpen(t *testing.T) {
	forEachKind(t, func(t *testing.T, kd kind) {
		r, _ := newEchoRig(t, kd)
		end := r.connect()
		if err := exchange(end.client, []byte("before")); err != nil {
			t.Fatal(err)
		}
		r.do(func() {
			if err := r.loop.Remove(end.key); err != nil {
				t.Errorf("Remove: %v", err)
			}
			if err := r.loop.Remove(end.key); !errors.Is(err, reactor.ErrClosed) {
				t.Errorf("second Remove: %v, want ErrClosed", err)
			}
		})
		_, _ = end.client.Write([]byte("nobody hears this"))
		r.do(func() { _, _ = end.sock.Write([]byte("last words")) })
		if err := end.sock.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
		got := make([]byte, 10)
		if _, err := io.ReadFull(end.client, got); string(got) != "last words" {
			t.Errorf("client read %q, %v", got, err)
		}
	})
}

func TestCloseSendsWhatWasTaken(t *testing.T) {
	forEachKind(t, func(t *testing.T, kd kind) {
		r := newRig(t, kd, &script{})
		r.start()
		end := r.connect()
		taken, words := 0, pattern(60_000)
		r.do(func() {
			for taken < len(words) {
				n, err := end.sock.Write(words[taken:])
				if taken += n; err != nil {
					break
				}
			}
			r.loop.Close(end.key, end.sock)
		})
		got, err := io.ReadAll(end.client)
		if err != nil || !bytes.Equal(got, words[:taken]) {
			t.Errorf("client read %d bytes, %v, want %d as they were sent", len(got), err, taken)
		}
	})
}

func TestDetachGivesTheConnectionBack(t *testing.T) {
	forEachKind(t, func(t *testing.T, kd kind) {
		r := newRig(t, kd, &script{})
		r.start()
		end := r.connect()
		_, _ = end.client.Write([]byte("unread, "))
		r.do(func() {}) // a pump may or may not have read it by now: nothing may be lost either way
		r.do(func() {
			conn, rest, err := r.loop.Detach(end.key, end.sock)
			if err != nil {
				t.Errorf("Detach: %v", err)
				return
			}
			defer conn.Close()
			if _, _, err := r.loop.Detach(end.key, end.sock); !errors.Is(err, reactor.ErrClosed) {
				t.Errorf("second Detach: %v, want ErrClosed", err)
			}
			_, _ = end.client.Write([]byte("and read"))
			_ = end.client.CloseWrite()
			more, err := io.ReadAll(conn)
			if got := string(rest) + string(more); got != "unread, and read" || err != nil {
				t.Errorf("read %q, %v", got, err)
			}
			_, _ = conn.Write([]byte("heard"))
		})
		if got, err := io.ReadAll(end.client); string(got) != "heard" || err != nil {
			t.Errorf("client read %q, %v", got, err)
		}
	})
}

func TestWritev(t *testing.T) {
	forEachKind(t, func(t *testing.T, kd kind) {
		r := newRig(t, kd, &script{})
		r.start()
		end := r.connect()
		var bufs [][]byte
		var want []byte
		for i := range reactor.MaxBuffers + 5 {
			b := pattern(i % 7) // includes empty buffers
			bufs = append(bufs, b)
			if i < reactor.MaxBuffers {
				want = append(want, b...)
			}
		}
		r.do(func() {
			if n, err := end.sock.Writev(bufs); n != len(want) || err != nil {
				t.Errorf("wrote %d, %v, want %d", n, err, len(want))
			}
			if n, err := end.sock.Writev(nil); n != 0 || err != nil {
				t.Errorf("nothing: %d, %v", n, err)
			}
			_ = end.sock.CloseWrite()
		})
		if got, _ := io.ReadAll(end.client); !bytes.Equal(got, want) {
			t.Errorf("client read %d bytes, want %d as they were sent", len(got), len(want))
		}
	})
}

func TestReadTellsThatNothingIsThere(t *testing.T) {
	forEachKind(t, func(t *testing.T, kd kind) {
		r := newRig(t, kd, &script{})
		r.start()
		end := r.connect()
		r.do(func() {
			if n, err := end.sock.Read(make([]byte, 8)); n != 0 || !errors.Is(err, reactor.ErrAgain) {
				t.Errorf("read %d, %v, want ErrAgain", n, err)
			}
			if n, err := end.sock.Read(nil); n != 0 || err != nil {
				t.Errorf("read nothing: %d, %v", n, err)
			}
			if !end.sock.Valid() || (reactor.Socket{}).Valid() {
				t.Error("Valid does not tell a socket from none")
			}
		})
	})
}

// TestAlarms: an alarm fires once, not before its time unless another alarm fires, and again when it is set again.
func TestAlarms(t *testing.T) {
	forEachKind(t, func(t *testing.T, kd kind) {
		r := newRig(t, kd, &script{})
		r.start()
		type ring struct {
			who     string
			at, due int64
		}
		rings := make(chan ring, 16)
		r.do(func() {
			now := r.loop.Now()
			var first, early, never *reactor.Alarm
			again := now + 30e6
			first = r.loop.NewAlarm(func() {
				rings <- ring{"first", r.loop.Now(), now + 10e6}
				if again != 0 {
					first.Set(again, 0)
					again = 0
				}
			})
			early = r.loop.NewAlarm(func() { rings <- ring{"early", r.loop.Now(), now + 10e6} })
			never = r.loop.NewAlarm(func() { rings <- ring{who: "never"} })
			first.Set(now+10e6, 0)
			early.Set(now+3600e9, 3600e9)
			never.Set(now+5e6, 0)
			never.Set(0, 0)
		})
		for _, want := range []string{"first", "early", "first"} {
			got := await(t, rings, "the alarm "+want)
			if got.who != want || got.at < got.due {
				t.Errorf("%s rang at %d, want %s, not before %d", got.who, got.at, want, got.due)
			}
		}
	})
}
