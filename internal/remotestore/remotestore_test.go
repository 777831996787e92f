package remotestore_test

import (
	"context"
	"testing"

	"github.com/expedite-go/expedite/internal/remotestore"
	"github.com/expedite-go/expedite/session"
	"github.com/expedite-go/expedite/session/memstore"
	"github.com/expedite-go/expedite/session/sessiontest"
)

// TestRemoteStore: so does a store that is asked over a link.
func TestRemoteStore(t *testing.T) {
	sessiontest.Run(t, func(*testing.T) sessiontest.Subject {
		c := sessiontest.NewClock()
		m := memstore.New(memstore.Config{Now: c.Now, EmptyTTL: sessiontest.EmptyTTL})
		client := remotestore.New(func(ctx context.Context, request []byte) ([]byte, error) {
			return remotestore.Serve(ctx, m, request), nil
		})
		return sessiontest.Subject{Store: client, Advance: c.Advance}
	})
}

// TestServeNonsense: what is no request is answered by an error, and does nothing.
func TestServeNonsense(t *testing.T) {
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

// FuzzServe: no request does harm.
func FuzzServe(f *testing.F) {
	f.Add([]byte{1, 1})
	for op := byte(1); op < 13; op++ {
		f.Add(append([]byte{1, op}, make([]byte, 80)...))
	}
	f.Fuzz(func(t *testing.T, request []byte) {
		m := memstore.New(memstore.Config{})
		if len(remotestore.Serve(t.Context(), m, request)) == 0 {
			t.Error("no answer")
		}
	})
}

// BenchmarkAttachRemote is what a session costs a worker and the primary together, but for the link.
func BenchmarkAttachRemote(b *testing.B) {
	m := memstore.New(memstore.Config{MaxSessions: 1 << 30})
	client := remotestore.New(func(ctx context.Context, request []byte) ([]byte, error) {
		return remotestore.Serve(ctx, m, request), nil
	})
	a := session.Attach{User: "alice", Place: session.Place{Node: "node"}, Policy: session.Policy{MaxPerUser: 10}}
	for b.Loop() {
		a.Place.Conn++
		if _, err := client.Attach(b.Context(), a); err != nil {
			b.Fatal(err)
		}
	}
}
