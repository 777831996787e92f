package engine

import (
	"sync"
	"sync/atomic"
	"testing"

	"github.com/expedite-go/expedite/ws"
)

// TestPendingBudget: clients whose messages wait for callbacks that do not return are closed, those with the most
// first. The others continue.
func TestPendingBudget(t *testing.T) {
	const budget, attackers, size, each = 1 << 20, 40, 20_000, 5
	hold := make(chan struct{})
	release := sync.OnceFunc(func() { close(hold) })
	var handled atomic.Int64
	slow := funcs{message: func(*Conn, ws.Opcode, []byte) { handled.Add(1); <-hold }}
	f := start(t, Config{MaxPending: budget}, map[string]*Route{
		"/slow": {Handler: slow, CloseTimeout: patience, MailboxLimit: 1 << 20},
		"/":     {Handler: echo},
	})
	t.Cleanup(release) // before the engine ends, which waits for the callbacks
	good := f.dial(t, "/")
	bad := make([]*peer, attackers)
	for i := range bad {
		bad[i] = f.dial(t, "/slow")
		bad[i].send(ws.OpBinary, make([]byte, 100))
	}
	until(t, "all callbacks run", func() bool { return handled.Load() == attackers })
	for i, p := range bad {
		for range each {
			_, _ = p.conn.Write(ws.AppendMaskedFrame(nil, ws.OpBinary, 7, make([]byte, size)))
		}
		if n := f.count.pending.Load(); n > budget+sheddable {
			t.Fatalf("client %d: %d bytes wait, the budget is %d", i, n, budget)
		}
		good.send(ws.OpText, []byte("still here"))
		good.want(ws.OpText, []byte("still here"))
	}
	until(t, "the limit is hit", func() bool { return f.Stats().Limits["pending"] > 0 })
	release()
	until(t, "everything is handled", func() bool { return f.count.pending.Load() == 0 })
	closed := 0
	for _, p := range bad {
		p.send(ws.OpPing, nil)
		if ev, err := p.next(); err == nil && ev.Kind == ws.KindClose && ev.Code == ws.CloseTryAgainLater {
			closed++
		}
		_ = p.conn.Close()
	}
	if n := int(f.Stats().Limits["pending"]); closed != n || n == attackers {
		t.Errorf("%d clients were closed with 1013, want %d and not all", closed, n)
	}
	until(t, "they are gone", func() bool { return f.Len() == 1 })
	if n := f.count.pending.Load(); n != 0 {
		t.Errorf("%d bytes are counted when nothing waits", n)
	}
}

// TestPendingOfOne: a message that is larger than the whole limit closes its connection.
func TestPendingOfOne(t *testing.T) {
	f := start(t, Config{MaxPending: 50_000}, map[string]*Route{"/": {Handler: echo}})
	p := f.dial(t, "/")
	p.send(ws.OpBinary, make([]byte, 60_000))
	p.wantClose(ws.CloseTryAgainLater)
	small := f.dial(t, "/")
	for range 20 {
		small.send(ws.OpBinary, make([]byte, 15_000))
		small.want(ws.OpBinary, make([]byte, 15_000))
	}
	until(t, "nothing waits", func() bool { return f.count.pending.Load() == 0 })
}
