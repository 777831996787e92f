package expedite

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"testing"

	"github.com/expedite-go/expedite/auth"
)

// clientBudget is what identity, session and one subscription of an idle connection may cost, in bytes, in worker and
// primary together.
const clientBudget = 600

// TestMemoryOfIdentity: a connection with identity, session and a subscription keeps to the budget.
func TestMemoryOfIdentity(t *testing.T) {
	const clients = 3000
	plain, full := heapOf(t, clients, "/plain"), heapOf(t, clients, "/full?access_token=user-%06[1]d/token-%032[1]d/9999")
	each := (int64(full) - int64(plain)) / clients
	t.Logf("%d bytes for identity, session and subscription (of %d and %d in all)", each, plain/clients, full/clients)
	if each > clientBudget {
		t.Errorf("got %d bytes, the budget is %d", each, clientBudget)
	}
}

// heapOf is what clients cost on the heap, their own end included.
func heapOf(t *testing.T, clients int, target string) uint64 {
	t.Helper()
	var app *App
	d := openDoor(t, Config{LogSample: -1, Auth: Auth{
		Verifier: auth.VerifierFunc(func(_ context.Context, token string) (*auth.Identity, error) {
			id, err := fakeTokens(t.Context(), token)
			if id != nil {
				id.Scopes = []string{"chat:read", "chat:write"}
			}
			return id, err
		}),
	}}, func(a *App) {
		app = a
		a.Handle("/plain", Handler{Auth: AuthOff, Inline: true, MaxMessage: 1 << 10})
		a.Handle("/full", Handler{
			Session: true, Inline: true, MaxMessage: 1 << 10,
			Open: func(c *Conn) { _ = c.Subscribe("lobby") },
		})
	})
	before := heap()
	var wg sync.WaitGroup
	conns, slots := make([]net.Conn, clients), make(chan struct{}, 64)
	for i := range conns {
		slots <- struct{}{}
		wg.Go(func() {
			defer func() { <-slots }()
			at := target
			if strings.Contains(at, "%") {
				at = fmt.Sprintf(target, i)
			}
			conns[i] = upgrade(t, d.addr, at)
		})
	}
	wg.Wait()
	defer func() {
		for _, c := range conns {
			if c != nil {
				_ = c.Close()
			}
		}
	}()
	if n := app.role.Load().worker.Report().Connections; n != int64(clients) {
		t.Fatalf("%d clients are connected, want %d", n, clients)
	}
	return heap() - before
}

// heap is the live heap.
func heap() uint64 {
	var m runtime.MemStats
	for range 3 { // pools are given up in the second collection
		runtime.GC()
	}
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// upgrade opens a WebSocket and keeps nothing but the socket.
func upgrade(t *testing.T, addr, target string) net.Conn {
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Error(err)
		return nil
	}
	_, err = fmt.Fprintf(c, "GET %s HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"+
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n", target)
	if err != nil {
		t.Error(err)
		return c
	}
	resp, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil || resp.StatusCode != http.StatusSwitchingProtocols {
		t.Errorf("%s: got %v, %v", strings.SplitN(target, "?", 2)[0], resp, err)
		return c
	}
	return c
}
