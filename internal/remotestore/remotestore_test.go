package remotestore_test

import (
	"context"
	"testing"
	"time"

	"github.com/expedite-go/expedite/internal/fakeclock"
	"github.com/expedite-go/expedite/internal/remotestore"
	"github.com/expedite-go/expedite/session"
	"github.com/expedite-go/expedite/session/memstore"
	"github.com/expedite-go/expedite/session/sessiontest"
)

const emptyTTL = 150 * time.Millisecond

// conform runs the conformance suite over memory stores at the other end of a link, which may be of an earlier release.
func conform(t *testing.T, serve func(ctx context.Context, m *memstore.Store, request []byte) []byte) {
	sessiontest.Run(t, func(*testing.T) sessiontest.Subject {
		c := fakeclock.New()
		m := memstore.New(memstore.Config{Now: c.Now, EmptyTTL: emptyTTL})
		s := remotestore.New(func(ctx context.Context, request []byte) ([]byte, error) {
			return serve(ctx, m, request), nil
		})
		return sessiontest.Subject{Store: s, Advance: c.Advance, EmptyTTL: emptyTTL}
	})
}

// TestStore: a store at the other end of a link fulfills the contract.
func TestStore(t *testing.T) {
	conform(t, func(ctx context.Context, m *memstore.Store, request []byte) []byte {
		return remotestore.Serve(ctx, m, request)
	})
}

// TestEarlierRelease: so does one of a release that finds one session at a time, and loads all values.
func TestEarlierRelease(t *testing.T) {
	const lastOp = 15
	conform(t, func(ctx context.Context, m *memstore.Store, request []byte) []byte {
		if request[1] > lastOp {
			return append([]byte{1}, "session: bad request: operation 16"...)
		}
		return remotestore.Serve(ctx, m, request)
	})
}

// TestServeMalformed: a malformed request is answered with an error, and does nothing.
func TestServeMalformed(t *testing.T) {
	m := memstore.New(memstore.Config{})
	for _, request := range [][]byte{nil, {1}, {9, 1}, {1, 99}, {1, 1}, {1, 4, 255, 255, 255, 255, 15}} {
		answer := remotestore.Serve(t.Context(), m, request)
		if len(answer) == 0 || answer[0] == 0 {
			t.Errorf("%v: got %q, want an error", request, answer)
		}
	}
	if n := m.Stats().Sessions; n != 0 {
		t.Errorf("%d sessions were made", n)
	}
}

// FuzzServe: every request is answered, and none causes a panic.
func FuzzServe(f *testing.F) {
	f.Add([]byte{1, 1})
	for op := byte(1); op < 18; op++ {
		f.Add(append([]byte{1, op}, make([]byte, 80)...))
	}
	f.Fuzz(func(t *testing.T, request []byte) {
		m := memstore.New(memstore.Config{})
		if len(remotestore.Serve(t.Context(), m, request)) == 0 {
			t.Error("no answer")
		}
	})
}

// BenchmarkAttach measures what one session costs a worker and the primary together, without the link.
func BenchmarkAttach(b *testing.B) {
	m := memstore.New(memstore.Config{MaxSessions: 1 << 30})
	s := remotestore.New(func(ctx context.Context, request []byte) ([]byte, error) {
		return remotestore.Serve(ctx, m, request), nil
	})
	a := session.Attach{User: "alice", Place: session.Place{Node: "node"}, Policy: session.Policy{MaxPerUser: 10}}
	for b.Loop() {
		a.Place.Conn++
		if _, err := s.Attach(b.Context(), a); err != nil {
			b.Fatal(err)
		}
	}
}
