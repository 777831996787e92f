package engine

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/expedite-go/expedite/internal/forwarded"
	"github.com/expedite-go/expedite/ws"
)

// loopback trusts the clients of the tests as proxies, and 10.0.0.0/8 behind them.
func loopback(t testing.TB) Proxies {
	t.Helper()
	trust, err := forwarded.ParseTrust([]string{"127.0.0.1", "10.0.0.0/8"})
	if err != nil {
		t.Fatal(err)
	}
	return Proxies{Trust: trust}
}

// startBehind runs an engine behind proxies. A WebSocket first receives the address and scheme of its client, and every
// HTTP request is answered with them.
func startBehind(t *testing.T, cfg Config, p Proxies) *fixture {
	handed := make(conns, 100)
	cfg.HTTP = func(x *Requests) { handed <- x }
	cfg.Source = func(name string) Source { return Source{Name: name, Proxies: p} }
	f := start(t, cfg, map[string]*Route{"/": {
		Authorize: func(_ context.Context, u *Upgrade) error {
			u.Conn.SetOwner(u.Conn.Peer() + " " + u.Scheme)
			return nil
		},
		Handler: funcs{
			open:    func(c *Conn) { c.Send(ws.OpText, []byte(c.Owner().(string))) },
			message: func(c *Conn, _ ws.Opcode, _ []byte) { c.Send(ws.OpText, []byte(c.Peer())) },
		},
	}})
	served := make(chan struct{})
	web := &http.Server{ConnState: keepAlive, ConnContext: withConn, Handler: http.HandlerFunc(
		func(w http.ResponseWriter, r *http.Request) {
			x := r.Context().Value(connKey{}).(*Requests)
			who, relayed := x.Client()
			fmt.Fprint(w, who.Addr, " ", who.Scheme, " ", relayed, " ", x.RemoteAddr())
		})}
	go func() { defer close(served); _ = web.Serve(handed) }()
	t.Cleanup(func() { close(handed); <-served; _ = web.Close() })
	return f
}

// fields returns a request with header fields.
func fields(request string, list ...string) string {
	head := strings.TrimSuffix(request, "\r\n")
	for _, f := range list {
		head += f + "\r\n"
	}
	return head + "\r\n"
}

// upgrade returns a handshake with header fields.
func upgrade(list ...string) string { return fields(fmt.Sprintf(request, "/"), list...) }

// wantClient reads the response to a handshake, and the message that names the client.
func (p *peer) wantClient(client, scheme string) {
	p.t.Helper()
	p.wantStatus(http.StatusSwitchingProtocols)
	p.want(ws.OpText, []byte(client+" "+scheme))
}

// wantAnswer reads the response to a request, which names its client.
func (p *peer) wantAnswer(client, scheme string) {
	p.t.Helper()
	p.wantStatus(http.StatusOK)
	p.wantBody(client + " " + scheme + " true " + client)
}

// wantBody reads the body of a response.
func (p *peer) wantBody(want string) {
	p.t.Helper()
	for len(p.in) < len(want) {
		if err := p.fill(); err != nil {
			p.t.Fatalf("%v after %q, want %q", err, p.in, want)
		}
	}
	if got := string(p.in); got != want {
		p.t.Errorf("got %q, want %q", got, want)
	}
	p.in = nil
}

// TestForwardedClient: the fields of a trusted peer name the client of a handshake, whatever the client has sent itself.
func TestForwardedClient(t *testing.T) {
	onEachTransport(t, func(t *testing.T, pump bool) {
		f := startBehind(t, portable(pump), loopback(t))
		for _, tt := range []struct {
			fields         []string
			client, scheme string
		}{
			{[]string{"X-Forwarded-For: 192.0.2.1"}, "192.0.2.1:0", ""},
			{[]string{"X-Forwarded-For: 6.6.6.6, 192.0.2.1, 10.1.1.1", "X-Forwarded-Proto: https"}, "192.0.2.1:0", "https"},
			{[]string{"x-forwarded-for: 6.6.6.6", "X-FORWARDED-FOR: 192.0.2.1"}, "192.0.2.1:0", ""},
			{[]string{`Forwarded: for="[2001:db8::1]:5000";proto=https`}, "[2001:db8::1]:5000", "https"},
		} {
			f.connect(t, upgrade(tt.fields...)).wantClient(tt.client, tt.scheme)
		}
		if n := f.Stats().Limits["forwarded"]; n != 0 {
			t.Errorf("forwarded: got %d, want 0", n)
		}
		for i, list := range [][]string{
			{"X-Forwarded-For: garbage"},
			{"X-Forwarded-For: 192.0.2.1", "Forwarded: for=192.0.2.2"},
			{"Forwarded: " + strings.Repeat("for=10.0.0.1,", 300)},
		} {
			p := f.connect(t, upgrade(list...))
			p.wantClient(p.conn.LocalAddr().String(), "")
			if n := f.Stats().Limits["forwarded"]; n != uint64(i+1) {
				t.Errorf("%.60q: forwarded: got %d, want %d", list, n, i+1)
			}
		}
		if !strings.Contains(f.logs.String(), "a proxy does not name its client") {
			t.Errorf("no line in the log: %s", f.logs)
		}
		p := f.connect(t, upgrade())
		p.wantClient(p.conn.LocalAddr().String(), "")
	})
}

// TestForwardedFieldsOfClients: those of a peer that is not trusted are ignored.
func TestForwardedFieldsOfClients(t *testing.T) {
	onEachTransport(t, func(t *testing.T, pump bool) {
		trust, err := forwarded.ParseTrust([]string{"127.0.0.2", "unix"})
		if err != nil {
			t.Fatal(err)
		}
		all := loopback(t)
		all.None = true
		for _, proxies := range []Proxies{{}, {Trust: trust}, {Trust: trust, Header: true}, all} {
			f := startBehind(t, portable(pump), proxies)
			list := []string{"X-Forwarded-For: 192.0.2.1", "Forwarded: for=192.0.2.1", "X-Forwarded-Proto: https"}
			p := f.connect(t, upgrade(list...))
			p.wantClient(p.conn.LocalAddr().String(), "")
			p = f.connect(t, fields(plainRequest, list...))
			p.wantStatus(http.StatusOK)
			p.wantBody(p.conn.LocalAddr().String() + "  false " + p.conn.LocalAddr().String())
		}
	})
}

// TestAllPeersAreProxies: a source can trust all its peers, but not the proxies that they name.
func TestAllPeersAreProxies(t *testing.T) {
	p := loopback(t)
	p.Trust, p.All = forwarded.Trust{}, true
	f := startBehind(t, Config{MaxPerAddress: 1}, p)
	f.connect(t, upgrade("X-Forwarded-For: 6.6.6.6, 127.0.0.1")).wantClient("127.0.0.1:0", "")
	f.connect(t, upgrade("X-Forwarded-For: 127.0.0.1")).wantStatus(http.StatusTooManyRequests)
}

// TestClientOfEachRequest: a proxy sends requests of different clients on one connection. Each has its own client, on the
// loop and while net/http has the connection, the upgrade included.
func TestClientOfEachRequest(t *testing.T) {
	onEachTransport(t, func(t *testing.T, pump bool) {
		cfg := portable(pump)
		cfg.KeepAlive = patience
		f := startBehind(t, cfg, loopback(t))
		p := f.connect(t, "")
		for i := range 6 {
			client := fmt.Sprintf("192.0.2.%d", i)
			p.write([]byte(fields(plainRequest, "X-Forwarded-For: "+client, "X-Forwarded-Proto: https")))
			p.wantAnswer(client+":0", "https")
			if i >= 3 {
				f.returned(t, 1)
			}
		}
		p.write([]byte(plainRequest))
		p.wantAnswer(p.conn.LocalAddr().String(), "")
		p.write([]byte(upgrade("X-Forwarded-For: 192.0.2.9")))
		p.wantClient("192.0.2.9:0", "")
		p.send(ws.OpText, nil)
		p.want(ws.OpText, []byte("192.0.2.9:0"))
	})
}

// TestPerAddressBehindProxies: the limit holds for each client behind a proxy, and not for the proxy.
func TestPerAddressBehindProxies(t *testing.T) {
	onEachTransport(t, func(t *testing.T, pump bool) {
		cfg := portable(pump)
		cfg.KeepAlive, cfg.MaxPerAddress = patience, 2
		f := startBehind(t, cfg, loopback(t))
		const first, second = "X-Forwarded-For: 192.0.2.1", "X-Forwarded-For: 192.0.2.2"
		var open []*peer
		for range 2 {
			p := f.connect(t, upgrade(first))
			p.wantClient("192.0.2.1:0", "")
			open = append(open, p)
		}
		f.connect(t, upgrade(first)).wantStatus(http.StatusTooManyRequests)
		f.connect(t, fields(plainRequest, first)).wantStatus(http.StatusTooManyRequests)
		kept := f.connect(t, fields(plainRequest, second))
		kept.wantAnswer("192.0.2.2:0", "")
		f.returned(t, 1)
		for range 2 { // a connection that is kept alive counts for no client
			f.connect(t, upgrade(second)).wantClient("192.0.2.2:0", "")
		}
		kept.write([]byte(plainRequest))
		kept.wantAnswer(kept.conn.LocalAddr().String(), "")
		kept.write([]byte(fields(plainRequest, first))) // net/http probably still has it
		kept.wantStatus(http.StatusTooManyRequests)
		for range 4 {
			p := f.connect(t, upgrade()) // of the proxy itself
			p.wantClient(p.conn.LocalAddr().String(), "")
		}
		if n := f.Stats().Limits["per_address"]; n != 3 {
			t.Errorf("per_address: got %d, want 3", n)
		}
		_ = open[0].conn.Close()
		until(t, "it is closed", func() bool { return f.Len() == 7 })
		f.connect(t, upgrade(first)).wantClient("192.0.2.1:0", "")
	})
}

// TestGarbageEvadesNoLimit: clients whose fields are wrong share what one address may have.
func TestGarbageEvadesNoLimit(t *testing.T) {
	f := startBehind(t, Config{MaxPerAddress: 2}, loopback(t))
	for range 2 {
		f.connect(t, upgrade("X-Forwarded-For: x")).wantStatus(http.StatusSwitchingProtocols)
	}
	f.connect(t, upgrade("X-Forwarded-For: y")).wantStatus(http.StatusTooManyRequests)
	f.connect(t, upgrade("X-Forwarded-For: 192.0.2.1")).wantClient("192.0.2.1:0", "")
	f.connect(t, upgrade()).wantStatus(http.StatusSwitchingProtocols)
}
