package engine

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/expedite-go/expedite/internal/tlsrecord"
	"github.com/expedite-go/expedite/ws"
)

// records seals a stream in records of all sizes, with KeyUpdates and empty records between them.
func (c *sealedClient) records(stream []byte) (sealed []byte) {
	for size := 1; len(stream) > 0; size += 3 {
		n := min(size, len(stream))
		sealed = append(sealed, c.data(stream[:n])...)
		if stream = stream[n:]; size%5 == 0 {
			sealed = append(sealed, c.update()...)
		}
	}
	return sealed
}

// TestMoveSealedAtEveryByte: a connection with TLS moves at every byte of its records, also amidst KeyUpdates.
func TestMoveSealedAtEveryByte(t *testing.T) {
	for _, path := range []string{"/inline", "/work"} {
		t.Run(path, func(t *testing.T) {
			j := new(journal)
			p := startSealedPair(t, j.routes)
			stream, check := conversation()
			stream = append(fmt.Appendf(nil, request, path), stream...)
			c := p.here.connect(t, "")
			client := c.secured()
			for i, b := range client.records(stream) {
				client.raw(p.here, []byte{b})
				if n := p.move(); n != 1 {
					t.Fatalf("%d connections moved at byte %d, want 1", n, i)
				}
			}
			if head := c.head(); !bytes.HasPrefix(head, []byte("HTTP/1.1 101 ")) {
				t.Fatalf("handshake: got %q", head)
			}
			check(c)
			for _, b := range client.data(ws.AppendMaskedFrame(nil, ws.OpClose, 1, []byte{3, 232})) {
				p.move()
				client.raw(p.here, []byte{b})
			}
			c.wantClose(ws.CloseNormal)
			c.wantEnd()
			until(t, "Close was called", func() bool { return j.closes.Load() == 1 })
			if n := j.opens.Load(); n != 1 {
				t.Errorf("Open was called %d times", n)
			}
			p.unsealed()
			if !strings.Contains(fmt.Sprint(client.kinds), fmt.Sprint(tlsrecord.Updated)) {
				t.Errorf("got records of the kinds %v, want a KeyUpdate among them", client.kinds)
			}
		})
	}
}

// TestThawSealed: a connection with TLS that comes back from a move that failed continues at any byte of a record.
func TestThawSealed(t *testing.T) {
	j := new(journal)
	p := startSealedPair(t, j.routes)
	c, client := p.here.dialSealed(t, "/inline")
	stream, check := conversation()
	for _, b := range client.records(stream) {
		var frozen *Batch
		p.here.onLoop(func() {
			p.here.Depart(-1, nil)
			frozen, _ = p.here.Freeze(1)
		})
		if frozen.Len() != 1 {
			t.Fatalf("%d were frozen, want 1", frozen.Len())
		}
		if _, err := client.TCPConn.Write([]byte{b}); err != nil {
			t.Fatal(err)
		}
		p.here.onLoop(func() {
			p.here.Thaw(frozen)
			p.here.Stay()
		})
	}
	check(c)
	_ = c.conn.Close()
	p.unsealed()
}

// TestMoveSealedBlocks: a connection moves at every byte of a record in the middle of a compressed message.
func TestMoveSealedBlocks(t *testing.T) {
	p := startSealedPair(t, compressing(PolicyClose))
	raw := p.here.connect(t, "")
	client := raw.secured()
	c := raw.squeeze("/inline", "")
	r := rand.New(rand.NewPCG(31, 32))
	first, second := chat(r, 700), chat(r, 300)
	c.sendPacked(ws.OpText, first)
	c.wantPlain(ws.OpText, first)
	packed := c.pack(second)
	stream := frame(false, ws.OpText, rsv1, packed[:9])
	stream = append(stream, frame(true, ws.OpContinuation, 0, packed[9:])...)
	for i, b := range client.records(stream) {
		client.raw(p.here, []byte{b})
		if n := p.move(); n != 1 {
			t.Fatalf("%d connections moved at byte %d, want 1", n, i)
		}
	}
	c.wantPlain(ws.OpText, second)
	if c.short != 2 {
		t.Errorf("%d messages came compressed, want 2", c.short)
	}
}

// TestMoveUnsentRecords: what was sealed and has not left moves, and nothing is sealed twice. Meanwhile the client
// changes its keys, and wants the server to do so.
func TestMoveUnsentRecords(t *testing.T) {
	j := new(journal)
	p := startSealedPair(t, j.routes)
	c, client := p.here.dialSealed(t, "/inline")
	const count, size = 9, 100_000 // less than the queue limit, more than the kernel accepts
	p.here.onLoop(func() {
		err := unix.SetsockoptInt(p.here.only().sock.FD(), unix.SOL_SOCKET, unix.SO_SNDBUF, 4096)
		if err := errors.Join(err, client.SetReadBuffer(4096)); err != nil { // they do not grow then
			t.Error(err)
		}
	})
	for i := range count {
		c.send(ws.OpBinary, bytes.Repeat([]byte{byte(i)}, size))
	}
	until(t, "all came in", func() bool { return p.here.Stats().BinaryIn == count })
	if _, waits := p.here.loop.Sealed(); waits == 0 {
		t.Fatal("no record waits: the queue is too small for this test")
	}
	for range 3 {
		client.raw(p.here, client.update())
		p.move()
	}
	for i := range count {
		c.want(ws.OpBinary, bytes.Repeat([]byte{byte(i)}, size))
		p.move()
	}
	c.send(ws.OpText, []byte("still here")) // with the new keys of both
	c.want(ws.OpText, []byte("still here"))
	if n := strings.Count(fmt.Sprint(client.kinds), fmt.Sprint(tlsrecord.Updated)); n == 0 || n > 3 {
		t.Errorf("the server has changed its keys %d times, want 1 to 3 times", n)
	}
	_ = c.conn.Close()
	p.unsealed()
}

// holding is a client's connection that stops amidst one of its writes, until it is released.
type holding struct {
	net.Conn
	flight, bytes    int // of the handshake: 1 has the ClientHello, and 2 the Finished
	stopped, release chan struct{}
}

// Write implements net.Conn.
func (h *holding) Write(p []byte) (int, error) {
	if h.flight--; h.flight != 0 {
		return h.Conn.Write(p)
	}
	if _, err := h.Conn.Write(p[:h.bytes]); err != nil {
		return 0, err
	}
	close(h.stopped)
	<-h.release
	n, err := h.Conn.Write(p[h.bytes:])
	return h.bytes + n, err
}

// TestMoveInTheHandshake: a connection whose client is in the handshake of TLS stays for the rest of it, and moves then.
// The HTTP request is answered by the next worker.
func TestMoveInTheHandshake(t *testing.T) {
	for _, at := range []struct{ flight, bytes int }{{1, 1}, {1, 100}, {2, 0}, {2, 7}} {
		t.Run(fmt.Sprint(at), func(t *testing.T) {
			j := new(journal)
			p := startSealedPair(t, j.routes)
			c := p.here.connect(t, "")
			h := &holding{c.conn, at.flight, at.bytes, make(chan struct{}), make(chan struct{})}
			until(t, "it was accepted", func() bool { return p.here.Stats().Handshaking == 1 })
			p.here.onLoop(func() { p.here.Depart(-1, func() { p.ready <- struct{}{} }) })
			shaken := make(chan error, 1)
			go func() { // ends with the handshake
				_, err := c.shake(h)
				shaken <- err
			}()
			waitFor(t, h.stopped)
			p.here.onLoop(func() {
				if b, left := p.here.Freeze(1); b.Len() != 0 || left != 1 {
					t.Errorf("%d frozen, %d left, want none and 1", b.Len(), left)
				}
			})
			close(h.release)
			if err := <-shaken; err != nil {
				t.Fatal(err)
			}
			if n := p.move(); n != 1 {
				t.Fatalf("%d moved, want 1", n)
			}
			from := p.here.Stats().BytesIn
			b := fmt.Appendf(nil, request, "/inline")
			c.write(b[:20])
			until(t, "a part of the request came", func() bool { return p.here.Stats().BytesIn == from+20 })
			p.move()
			c.write(b[20:])
			if head := c.head(); !bytes.HasPrefix(head, []byte("HTTP/1.1 101 ")) {
				t.Fatalf("got %q", head)
			}
			_ = c.conn.Close()
			p.unsealed()
		})
	}
}

// TestMoveBeforeTLS: a client that has not begun with TLS, as browsers and load balancers open connections in advance,
// moves at once. A reload waits for none of them.
func TestMoveBeforeTLS(t *testing.T) {
	for name, header := range map[string]string{"directly": "", "behind a header": proxy1("192.0.2.1:5000")} {
		t.Run(name, func(t *testing.T) {
			j := new(journal)
			p, s := startPair(t, j.routes), sealedServer(t)
			for _, e := range []*fixture{p.here, p.there} {
				e.onLoop(func() {
					source := Source{Secure: s.Wrap}
					if header != "" {
						source.Proxies = behindHeader(t)
					}
					for i := range e.sources.list {
						e.sources.list[i] = &source
					}
				})
			}
			c := p.here.connect(t, "")
			for at := range len(header) + 1 {
				until(t, "it was accepted", func() bool { return p.here.Stats().Handshaking == 1 })
				p.here.onLoop(func() {
					p.here.Depart(-1, nil)
					b, _ := p.here.Freeze(1)
					if b.Len() != 1 {
						t.Errorf("%d were frozen after %d bytes, want 1", b.Len(), at)
					}
					p.here.Thaw(b)
					p.here.Stay()
				})
				p.move()
				if at < len(header) {
					c.write([]byte{header[at]})
				}
			}
			c.secured()
			c.write(fmt.Appendf(nil, request, "/inline"))
			if head := c.head(); !bytes.HasPrefix(head, []byte("HTTP/1.1 101 ")) {
				t.Fatalf("got %q", head)
			}
			_ = c.conn.Close()
			p.unsealed()
		})
	}
}

// TestNoProbes: sockets that were with crypto/tls or net/http are back on the loop as they came, without probes of the
// system to clients that are silent.
func TestNoProbes(t *testing.T) {
	e := startHTTP(t, Config{KeepAlive: patience}, nil)
	e.sealing(t, sealedServer(t))
	c := e.connect(t, "")
	c.secured()
	probes := func() (n int) {
		e.onLoop(func() {
			var err error
			n, err = unix.GetsockoptInt(e.only().sock.FD(), unix.SOL_SOCKET, unix.SO_KEEPALIVE)
			if err != nil {
				t.Error(err)
			}
		})
		return n
	}
	until(t, "the loop has it", func() (has bool) {
		e.onLoop(func() { has = e.only().sock.FD() >= 0 })
		return has
	})
	if probes() != 0 {
		t.Error("after the handshake of TLS, the system probes the client")
	}
	c.write([]byte(plainRequest))
	c.wantPlain()
	e.returned(t, 1)
	if probes() != 0 {
		t.Error("after a request, the system probes the client")
	}
}

// TestMoveSealedHTTP: connections that net/http has had, or still has, move with their TLS.
func TestMoveSealedHTTP(t *testing.T) {
	for _, come := range []int{0, 1, len(plainRequest) - 1} {
		p := &pair{t: t, ready: make(chan struct{}, 1)}
		cfg := Config{KeepAlive: patience}
		p.here, p.there = startHTTP(t, cfg, nil), startHTTP(t, cfg, nil)
		s := sealedServer(t)
		p.here.sealing(t, s)
		p.there.sealing(t, s)
		for range 10 {
			c := p.here.connect(t, "")
			client := c.secured()
			c.write([]byte(plainRequest))
			c.wantPlain()
			sealed := client.data([]byte(plainRequest))
			if _, err := client.TCPConn.Write(sealed[:come]); err != nil {
				t.Fatal(err)
			}
			from := p.here
			until(t, "the request is answered for net/http, too", func() bool {
				from.requestsMu.Lock()
				defer from.requestsMu.Unlock()
				return from.returning.Load() > 0 || len(from.requests) == 0
			})
			if n := p.move(); n != 1 {
				t.Fatalf("%d bytes have come: %d connections moved, want 1", come, n)
			}
			if _, err := client.TCPConn.Write(sealed[come:]); err != nil {
				t.Fatal(err)
			}
			c.wantPlain()
			_ = c.conn.Close()
			p.here.returned(t, 0)
		}
	}
}

// TestGoldenSealedState is TestGoldenStates for a connection with TLS. What is in its record is tested in
// internal/reactor, which has written it.
func TestGoldenSealedState(t *testing.T) {
	text, err := os.ReadFile(filepath.Join("..", "reactor", "testdata", "states", "v1-busy.hex"))
	if err != nil {
		t.Fatal(err)
	}
	sealed, err := hex.DecodeString(strings.TrimSpace(string(text)))
	if err != nil {
		t.Fatal(err)
	}
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fds[1])
	e := start(t, Config{}, nil)
	e.onLoop(func() {
		c := &Conn{eng: e.Engine, id: 0x0040_0000_0000_0005, lastRead: 1_000_000, lastPing: 2_000_000, via: viaSecure}
		c.route = &Route{Path: "/chat"}
		c.phase.Store(phaseOpen)
		k, s, err := e.loop.Resume(fds[0], sealed)
		if err != nil {
			t.Error(err)
			return
		}
		defer e.loop.Close(k, s)
		c.sock = s
		golden(t, "sealed", c, nil)
		again := c.sock.Suspend()
		if s, err := parseState(c.appendState(nil, phaseOpen, nil)); err != nil || !bytes.Equal(s.sealed, again) {
			t.Errorf("got %x, %v, want %x", s.sealed, err, again)
		}
	})
}
