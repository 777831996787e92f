package engine

import (
	"encoding/binary"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/expedite-go/expedite/ws"
)

// behindHeader is loopback whose proxies begin with a PROXY header.
func behindHeader(t testing.TB) Proxies {
	p := loopback(t)
	p.Header = true
	return p
}

// proxy1 returns a PROXY header of version 1.
func proxy1(client string) string {
	a := netip.MustParseAddrPort(client)
	return fmt.Sprintf("PROXY TCP%d %s %s %d 80\r\n", map[bool]int{true: 4, false: 6}[a.Addr().Is4()], a.Addr(), a.Addr(), a.Port())
}

// signature2 begins a PROXY header of version 2.
const signature2 = "\r\n\r\n\x00\r\nQUIT\n"

// proxy2 returns a PROXY header of version 2 for an IPv4 client, with further fields.
func proxy2(client, fields string) string {
	a := netip.MustParseAddrPort(client)
	b := append([]byte(signature2), 0x21, 0x11)
	b = binary.BigEndian.AppendUint16(b, uint16(12+len(fields)))
	b = append(append(b, a.Addr().AsSlice()...), 127, 0, 0, 1)
	return string(binary.BigEndian.AppendUint16(b, a.Port())) + "\x00\x50" + fields
}

const (
	local2   = signature2 + "\x20\x00\x00\x00"
	unknown1 = "PROXY UNKNOWN\r\n"
	tlsField = "\x20\x00\x05\x01\x00\x00\x00\x00"
)

// TestProxyHeader: the header names the client of the connection. The proxies that it names may name another one.
func TestProxyHeader(t *testing.T) {
	onEachTransport(t, func(t *testing.T, pump bool) {
		f := startBehind(t, portable(pump), behindHeader(t))
		for _, tt := range []struct {
			name, header, field string
			client, scheme      string // no client is the peer
		}{
			{"v1", proxy1("192.0.2.1:5000"), "", "192.0.2.1:5000", ""},
			{"v1 IPv6", proxy1("[2001:db8::1]:5000"), "", "[2001:db8::1]:5000", ""},
			{"v2", proxy2("192.0.2.1:5000", ""), "", "192.0.2.1:5000", ""},
			{"v2 TLS", proxy2("192.0.2.1:5000", tlsField), "", "192.0.2.1:5000", "https"},
			{"a client cannot name another", proxy2("192.0.2.1:5000", ""), "X-Forwarded-For: 6.6.6.6", "192.0.2.1:5000", ""},
			{"a client has no scheme", proxy2("192.0.2.1:5000", ""), "X-Forwarded-Proto: https", "192.0.2.1:5000", ""},
			{"a proxy names its client", proxy2("10.1.1.1:5000", ""), "X-Forwarded-For: 192.0.2.1", "192.0.2.1:0", ""},
			{"a proxy names its scheme", proxy2("10.1.1.1:5000", tlsField), "X-Forwarded-Proto: http", "10.1.1.1:5000", "http"},
			{"v1 UNKNOWN", unknown1, "X-Forwarded-For: 6.6.6.6", "", ""},
			{"v2 LOCAL", local2, "X-Forwarded-For: 6.6.6.6", "", ""},
		} {
			var list []string
			if tt.field != "" {
				list = append(list, tt.field)
			}
			p := f.connect(t, tt.header+upgrade(list...)+string(ws.AppendMaskedFrame(nil, ws.OpText, 1, nil)))
			if tt.client == "" {
				tt.client = p.conn.LocalAddr().String()
			}
			p.wantClient(tt.client, tt.scheme)
			p.want(ws.OpText, []byte(tt.client))
			p = f.connect(t, tt.header+fields(plainRequest, list...))
			if tt.header == unknown1 || tt.header == local2 {
				tt.client = p.conn.LocalAddr().String()
			}
			p.wantAnswer(tt.client, tt.scheme)
			if t.Failed() {
				t.Fatalf("at %s", tt.name)
			}
		}
		for name, n := range f.Stats().Limits {
			if strings.HasPrefix(name, "proxy") || name == "forwarded" {
				t.Errorf("%s: got %d, want 0", name, n)
			}
		}
	})
}

// TestProxyHeaderInPieces: the header, the head and a frame may arrive one byte at a time.
func TestProxyHeaderInPieces(t *testing.T) {
	onEachTransport(t, func(t *testing.T, pump bool) {
		f := startBehind(t, portable(pump), behindHeader(t))
		for _, header := range []string{proxy1("192.0.2.1:5000"), proxy2("192.0.2.1:5000", tlsField)} {
			p := f.connect(t, "")
			before := f.Stats().BytesIn
			for i, b := range []byte(header + upgrade() + string(ws.AppendMaskedFrame(nil, ws.OpText, 1, nil))) {
				p.write([]byte{b})
				until(t, "it was read", func() bool { return f.Stats().BytesIn == before+uint64(i+1) })
			}
			p.wantStatus(http.StatusSwitchingProtocols)
			if ev, err := p.next(); err != nil || !strings.HasPrefix(string(ev.Data), "192.0.2.1:5000 ") {
				t.Errorf("got %q, %v", ev.Data, err)
			}
			p.want(ws.OpText, []byte("192.0.2.1:5000"))
		}
		if n := f.Stats().PartialBytes; n != 0 {
			t.Errorf("%d bytes are left", n)
		}
	})
}

// TestProxyHeaderOfEachRequest: the header comes once. Every request of the connection has its client, and a second
// header is refused, wherever the connection is.
func TestProxyHeaderOfEachRequest(t *testing.T) {
	onEachTransport(t, func(t *testing.T, pump bool) {
		cfg := portable(pump)
		cfg.KeepAlive = patience
		f := startBehind(t, cfg, behindHeader(t))
		p := f.connect(t, proxy1("192.0.2.1:5000"))
		for i := range 4 {
			p.write([]byte(fields(plainRequest, "X-Forwarded-For: 6.6.6.6")))
			p.wantAnswer("192.0.2.1:5000", "")
			if i >= 2 {
				f.returned(t, 1)
			}
		}
		p.write([]byte(upgrade()))
		p.wantClient("192.0.2.1:5000", "")

		for _, second := range []string{proxy1("6.6.6.6:1"), proxy2("6.6.6.6:1", "")} {
			f := startBehind(t, cfg, behindHeader(t))
			p := f.connect(t, proxy1("192.0.2.1:5000")+plainRequest)
			p.wantAnswer("192.0.2.1:5000", "")
			f.returned(t, 1)
			p.write([]byte(second + upgrade()))
			p.wantStatus(http.StatusBadRequest)
			f.connect(t, proxy1("192.0.2.1:5000")+second+upgrade()).wantStatus(http.StatusBadRequest)
			p = f.connect(t, proxy1("192.0.2.1:5000")+plainRequest)
			p.wantAnswer("192.0.2.1:5000", "")
			p.write([]byte(second + upgrade())) // net/http probably still has it
			p.wantStatus(http.StatusBadRequest)
			if n := f.Stats().Limits["proxy_untrusted"]; n != 3 {
				t.Errorf("proxy_untrusted: got %d, want 3", n)
			}
		}
	})
}

// TestProxyHeaderIsRequired: a proxy that does not begin with a valid header is refused, and nothing after it is served.
func TestProxyHeaderIsRequired(t *testing.T) {
	onEachTransport(t, func(t *testing.T, pump bool) {
		for _, tt := range []struct {
			name, bytes, limit string
			status             int // 0: closed without an answer
		}{
			{"a handshake", upgrade("X-Forwarded-For: 192.0.2.1"), "proxy_missing", http.StatusBadRequest},
			{"a request", plainRequest, "proxy_missing", http.StatusBadRequest},
			{"an empty line", "\r\n" + plainRequest, "proxy_missing", http.StatusBadRequest},
			{"one byte", "G", "proxy_missing", http.StatusBadRequest},
			{"TLS", "\x16\x03\x01", "proxy_missing", 0},
			{"malformed v1", "PROXY TCP4 192.0.2.1 192.0.2.1 1\r\n" + plainRequest, "proxy_invalid", 0},
			{"endless v1", "PROXY UNKNOWN " + strings.Repeat("x", 200), "proxy_size", 0},
			{"reserved v2", signature2 + "\x2f\x11", "proxy_invalid", 0},
			{"endless v2", signature2 + "\x21\x11\xff\xff", "proxy_size", 0},
			{"wrong checksum", proxy2("192.0.2.1:1", "\x03\x00\x04\x01\x02\x03\x04") + plainRequest, "proxy_invalid", 0},
			{"field too long", proxy2("192.0.2.1:1", "\x05\xff\xff") + plainRequest, "proxy_invalid", 0},
		} {
			f := startBehind(t, portable(pump), behindHeader(t))
			p := f.connect(t, tt.bytes)
			if tt.status == 0 {
				p.wantGone()
			} else {
				p.wantStatus(tt.status)
			}
			if n := f.Stats().Limits[tt.limit]; n != 1 {
				t.Errorf("%s: limits %v, want one of %s", tt.name, f.Stats().Limits, tt.limit)
			}
			if f.Stats().HTTP != 0 || f.Len() != 0 || !strings.Contains(f.logs.String(), "remote="+p.conn.LocalAddr().String()) {
				t.Errorf("%s: it was served, or not logged: %s", tt.name, f.logs)
			}
		}
	})
}

// wantGone expects the end of the connection, or a reset because bytes were not read.
func (p *peer) wantGone() {
	p.t.Helper()
	if err := p.fill(); err == nil || len(p.in) > 0 {
		p.t.Errorf("got %q, want the end", p.in)
	} else if e, ok := err.(net.Error); ok && e.Timeout() {
		p.t.Error("the connection is still open")
	}
}

// TestProxyHeaderOfClients: a peer that is not trusted is served under its own address, and refused if it sends a header.
func TestProxyHeaderOfClients(t *testing.T) {
	onEachTransport(t, func(t *testing.T, pump bool) {
		for _, p := range []Proxies{{}, {Header: true}, loopback(t)} {
			f := startBehind(t, portable(pump), p)
			c := f.connect(t, upgrade())
			c.wantClient(c.conn.LocalAddr().String(), "")
			for i, header := range []string{proxy1("6.6.6.6:1"), unknown1, "PROXY T", proxy2("6.6.6.6:1", ""), local2} {
				f.connect(t, header+upgrade()).wantStatus(http.StatusBadRequest)
				if n := f.Stats().Limits["proxy_untrusted"]; n != uint64(i+1) {
					t.Errorf("%q: proxy_untrusted: got %d, want %d", header, n, i+1)
				}
			}
			f.connect(t, "PROXY /plain HTTP/1.1\r\nHost: a\r\n\r\n").wantStatus(http.StatusOK) // a method like any other
		}
	})
}

// TestSlowProxyHeader: a header must be complete in time, however often a byte of it comes.
func TestSlowProxyHeader(t *testing.T) {
	onEachTransport(t, func(t *testing.T, pump bool) {
		cfg := portable(pump)
		cfg.HandshakeTimeout = 50 * time.Millisecond
		f := startBehind(t, cfg, behindHeader(t))
		for i, begin := range []string{"", "P", "PROXY TCP4 ", signature2, proxy2("192.0.2.1:1", "\x04\x00\x09")[:27]} {
			f.connect(t, begin).wantGone()
			if n := f.Stats().Limits["proxy_time"]; n != uint64(i+1) {
				t.Errorf("%q: limits %v, want %d of proxy_time", begin, f.Stats().Limits, i+1)
			}
		}
		p := f.connect(t, signature2+"\x21\x11\x0f\x00")
		until(t, "it is closed", func() bool {
			_, _ = p.conn.Write([]byte("x")) // fails in the end
			return f.Stats().Limits["proxy_time"] == 6
		})
		f.hasten(patience)
		before, header := f.Stats().BytesIn, proxy1("192.0.2.1:1")
		p = f.connect(t, header)
		until(t, "the header is read", func() bool { return f.Stats().BytesIn >= before+uint64(len(header)) })
		f.hasten(50 * time.Millisecond)
		p.wantGone() // the head is as late as without a header
		if n := f.Stats().Limits["head_time"]; n != 1 {
			t.Errorf("head_time: got %d, want 1", n)
		}
	})
}

// TestProxyHeadersGiveWay: sockets that wait for a header are sockets in their handshake: they are limited, and give way
// to others. So are those that have sent nothing but a header.
func TestProxyHeadersGiveWay(t *testing.T) {
	const slots = 4
	onEachTransport(t, func(t *testing.T, pump bool) {
		for _, begin := range []string{"", "PROXY", proxy1("192.0.2.1:1")} {
			cfg := portable(pump)
			cfg.MaxHandshakes, cfg.HandshakeTimeout = slots, patience
			f := startBehind(t, cfg, behindHeader(t))
			for i := range 3 * slots {
				f.connect(t, begin)
				until(t, "it was read", func() bool {
					s := f.Stats()
					return s.Accepted == uint64(i+1) && s.BytesIn == uint64((i+1)*len(begin))
				})
			}
			f.connect(t, proxy1("192.0.2.2:1")+upgrade()).wantClient("192.0.2.2:1", "")
			if got := f.Stats(); got.Handshaking > slots || got.Limits["silent"]+got.Limits["handshakes"] < 2*slots {
				t.Errorf("%q: %d handshakes, limits %v; want at most %d", begin, got.Handshaking, got.Limits, slots)
			}
		}
	})
}

// TestPerAddressOfProxyHeaders: the limit holds for the client that the header names, and not before.
func TestPerAddressOfProxyHeaders(t *testing.T) {
	onEachTransport(t, func(t *testing.T, pump bool) {
		cfg := portable(pump)
		cfg.MaxPerAddress, cfg.HandshakeTimeout, cfg.KeepAlive = 1, patience, patience
		f := startBehind(t, cfg, behindHeader(t))
		for range 3 { // of the proxy itself
			f.connect(t, local2+upgrade()).wantStatus(http.StatusSwitchingProtocols)
		}
		first := f.connect(t, proxy1("192.0.2.1:1"))
		until(t, "the header was read", func() bool {
			f.addresses.mu.Lock()
			defer f.addresses.mu.Unlock()
			return len(f.addresses.open) == 1
		})
		refused := f.connect(t, proxy1("192.0.2.1:2"))
		refused.wantStatus(http.StatusTooManyRequests)
		_ = refused.conn.Close()
		f.connect(t, proxy1("192.0.2.2:2")+upgrade()).wantClient("192.0.2.2:2", "")
		first.write([]byte(plainRequest))
		first.wantAnswer("192.0.2.1:1", "")
		f.returned(t, 1)
		f.connect(t, proxy1("192.0.2.1:2")).wantStatus(http.StatusTooManyRequests)
		first.write([]byte(upgrade()))
		first.wantClient("192.0.2.1:1", "")
		f.connect(t, proxy1("192.0.2.1:2")+upgrade()).wantStatus(http.StatusTooManyRequests)
	})
}
