package engine

import (
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/expedite-go/expedite/ws"
)

// TestConnectRate checks that new connections beyond the rate are refused with 429, whatever they ask for, and that open
// ones stay.
func TestConnectRate(t *testing.T) {
	onEachTransport(t, func(t *testing.T, transport bool) {
		cfg := portable(transport)
		cfg.ConnectRate = rarely(2)
		f := start(t, cfg, map[string]*Route{"/": {Handler: echo}})
		p := f.dial(t, "/")
		_ = f.dial(t, "/").conn.Close() // its end gives nothing back
		for range 2 {
			head := string(f.connect(t, "").head())
			if !strings.HasPrefix(head, "HTTP/1.1 429 ") || !strings.Contains(head, "\r\nRetry-After: ") {
				t.Errorf("got %q, want 429 with a Retry-After", head)
			}
			wantReadable(t, head)
		}
		p.send(ws.OpText, []byte("x"))
		p.want(ws.OpText, []byte("x"))
		if n := f.Stats().Limits["connect_rate"]; n != 2 {
			t.Errorf("counted %d, want 2", n)
		}
	})
}

// wantReadable checks that a page of any origin may read when it should connect again.
func wantReadable(t *testing.T, head string) {
	t.Helper()
	for _, want := range []string{"Access-Control-Allow-Origin: *", "Access-Control-Expose-Headers: Retry-After"} {
		if !strings.Contains(head, "\r\n"+want+"\r\n") {
			t.Errorf("got %q, want %s in it", head, want)
		}
	}
}

// TestConnectRateOfClients checks what counts as one client, and when it may connect again.
func TestConnectRateOfClients(t *testing.T) {
	a := addresses{connect: EventRate{PerSecond: 1, Burst: 2}.cadence(0)}
	for i, tt := range []struct {
		from string
		at   int64 // ms
		want int64 // ms to wait
	}{
		{"192.0.2.1:1", 0, 0},
		{"192.0.2.1:2", 0, 0},
		{"192.0.2.1:3", 0, 1000},
		{"[::ffff:192.0.2.1]:4", 400, 600},
		{"192.0.2.2:1", 400, 0},
		{"192.0.2.1:5", 1000, 0},
		{"192.0.2.1:6", 1000, 1000},
		{"[2001:db8:1:2::1]:1", 1000, 0},
		{"[2001:db8:1:2:ffff::2]:1", 1000, 0},
		{"[2001:db8:1:2::3]:1", 1000, 1000},
		{"[2001:db8:1:3::1]:1", 1000, 0},
	} {
		wait, forgot := a.arrive(netip.MustParseAddrPort(tt.from), tt.at*1e6+1e15)
		if max(wait, 0) != tt.want*1e6 || forgot {
			t.Errorf("row %d, %s: got %d ns, %v; want %d ms", i, tt.from, wait, forgot, tt.want)
		}
	}
	if wait, _ := a.arrive(netip.AddrPort{}, 0); wait != 0 {
		t.Error("a connection without an address was refused")
	}
}

// TestConnectTable checks that the table has a limit, forgets those first that need not be remembered, and says when it
// forgets others.
func TestConnectTable(t *testing.T) {
	a := addresses{connect: EventRate{PerSecond: 1, Burst: 1}.cadence(0)}
	client := func(i int) netip.AddrPort {
		return netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)}), 1)
	}
	const t0 = int64(1e15)
	for i := range maxConnectTable {
		if wait, forgot := a.arrive(client(i), t0); wait > 0 || forgot {
			t.Fatalf("client %d: got %d, %v", i, wait, forgot)
		}
	}
	if _, forgot := a.arrive(client(maxConnectTable), t0); !forgot || len(a.next) != maxConnectTable {
		t.Errorf("got %v with %d clients, want one forgotten", forgot, len(a.next))
	}
	if _, forgot := a.arrive(client(maxConnectTable+1), t0+2e9); forgot || len(a.next) != 1 {
		t.Errorf("got %v with %d clients, want only the new one", forgot, len(a.next))
	}
}

// TestConnectTableIsCounted checks the counter of an address that was forgotten too early.
func TestConnectTableIsCounted(t *testing.T) {
	f := start(t, Config{ConnectRate: rarely(1)}, map[string]*Route{"/": {Handler: echo}})
	full := make(chan struct{})
	f.Post(func() {
		for i := range maxConnectTable {
			addr := netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)})
			f.addresses.arrive(netip.AddrPortFrom(addr, 1), f.loop.Now())
		}
		close(full)
	})
	<-full
	f.dial(t, "/")
	if n := f.Stats().Limits["connect_rate_table"]; n != 1 {
		t.Errorf("counted %d, want 1", n)
	}
}

// TestMayPublish checks that publications from several goroutines are limited together.
func TestMayPublish(t *testing.T) {
	f := start(t, Config{}, map[string]*Route{"/": {Handler: echo, PublishRate: rarely(50)}, "/any": {Handler: echo}})
	f.dial(t, "/")
	f.dial(t, "/any")
	for id, want := range map[uint64]int64{1: 50, 2: 400} {
		var next, allowed atomic.Int64
		var wg sync.WaitGroup
		for range 4 {
			wg.Go(func() {
				for range 100 {
					if f.Lookup(id).MayPublish(&next) {
						allowed.Add(1)
					}
				}
			})
		}
		wg.Wait()
		if got := allowed.Load(); got != want {
			t.Errorf("got %d, want %d", got, want)
		}
	}
	if n := f.Stats().Limits["publish_rate"]; n != 350 {
		t.Errorf("counted %d, want 350", n)
	}
}
