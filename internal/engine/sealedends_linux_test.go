package engine

import (
	"errors"
	"slices"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/expedite-go/expedite/internal/tlsrecord"
	"github.com/expedite-go/expedite/ws"
)

// lastActs are what a client with TLS does last, and the error with which it reads the end. Before, it has sent a
// message.
var lastActs = map[string]struct {
	act  func(c *sealedClient)
	half bool // only its sending side ends: it reads the answer
}{
	"a reset": {act: func(c *sealedClient) { _, _ = c.SetLinger(0), c.Close() }},
	"the end of its side": {half: true, act: func(c *sealedClient) {
		_ = c.CloseWrite()
	}},
	"the end, amidst a record": {act: func(c *sealedClient) {
		_, _ = c.TCPConn.Write(c.data([]byte("lost"))[:9])
		_ = c.CloseWrite()
	}},
	"close_notify": {half: true, act: func(c *sealedClient) {
		_, _ = c.TCPConn.Write(c.alert(tlsrecord.CloseNotify))
	}},
	"close_notify, and the end": {half: true, act: func(c *sealedClient) {
		_, _ = c.TCPConn.Write(c.alert(tlsrecord.CloseNotify))
		_ = c.CloseWrite()
	}},
	"half of close_notify, and the end": {act: func(c *sealedClient) {
		_, _ = c.TCPConn.Write(c.alert(tlsrecord.CloseNotify)[:11])
		_ = c.CloseWrite()
	}},
	"a fatal alert": {act: func(c *sealedClient) {
		_, _ = c.TCPConn.Write(c.alert(tlsrecord.InternalError))
	}},
	"half of a KeyUpdate, and the end": {act: func(c *sealedClient) {
		_, _ = c.TCPConn.Write(c.update()[:13])
		_ = c.CloseWrite()
	}},
	"a record that was changed": {act: func(c *sealedClient) {
		b := c.data([]byte("changed"))
		b[8] ^= 1
		_, _ = c.TCPConn.Write(b)
	}},
}

// TestSealedEndsInAMove: whatever ends a connection with TLS during a move, its Close is called once, nothing of it is
// left at either worker, and those who can read get the answers to what they have sent.
func TestSealedEndsInAMove(t *testing.T) {
	for name, last := range lastActs {
		for _, when := range []string{"before", "frozen", "thawed"} {
			for _, path := range []string{"/inline", "/work"} {
				t.Run(name+", "+when+", "+path, func(t *testing.T) {
					j := new(journal)
					p := startSealedPair(t, j.routes)
					c, client := p.here.dialSealed(t, path)
					act := sync.OnceFunc(func() {
						if _, err := client.Write(ws.AppendMaskedFrame(nil, ws.OpText, 7, []byte("last words"))); err != nil {
							t.Error(err)
						}
						last.act(client)
					})
					switch when {
					case "before":
						p.here.onLoop(act) // it is frozen before its event
						p.move()
					case "frozen":
						p.tamper = func(states []byte) []byte { act(); return states }
						p.move()
					case "thawed":
						p.thaw(act)
					}
					if last.half {
						c.want(ws.OpText, []byte("last words"))
						c.wantEnd()
					}
					until(t, "Close was called", func() bool { return len(j.codes()) > 0 })
					p.unsealed()
					if codes := j.codes(); j.opens.Load() != 1 || !slices.Equal(codes, []ws.CloseCode{ws.CloseAbnormal}) {
						t.Errorf("%d opened, closed with %v", j.opens.Load(), codes)
					}
				})
			}
		}
	}
}

// thaw freezes what is here, calls act, and puts it back.
func (p *pair) thaw(act func()) {
	p.t.Helper()
	p.here.onLoop(func() { p.here.Depart(-1, func() { p.ready <- struct{}{} }) })
	var b *Batch
	for b == nil || b.Len() == 0 {
		if b != nil {
			waitFor(p.t, p.ready)
		}
		p.here.onLoop(func() { b, _ = p.here.Freeze(1) })
	}
	act()
	p.here.onLoop(func() { p.here.Thaw(b); p.here.Stay() })
}

// waitFor receives from c.
func waitFor(t *testing.T, c <-chan struct{}) {
	t.Helper()
	select {
	case <-c:
	case <-time.After(patience):
		t.Fatal("waited in vain")
	}
}

// TestSealedErrorMoves: an error that was read behind the last data, and that the socket does not tell twice, ends the
// connection at the next worker, too.
func TestSealedErrorMoves(t *testing.T) {
	j := new(journal)
	p := startSealedPair(t, j.routes)
	c, client := p.here.dialSealed(t, "/inline")
	p.there.onLoop(p.there.Record)
	var frozen *Batch
	p.here.onLoop(func() {
		b := client.data(ws.AppendMaskedFrame(nil, ws.OpPong, 7, nil))
		bad := client.data([]byte("changed"))
		bad[8] ^= 1
		b = append(b, bad...)
		if _, err := client.TCPConn.Write(b); err != nil {
			t.Error(err)
		}
		conn := p.here.only()
		for n := 0; n < len(b); {
			n, _ = unix.IoctlGetInt(conn.sock.FD(), unix.SIOCINQ)
		}
		conn.read(false) // the pong, and the error behind it
		if conn.gone() {
			t.Error("the connection has ended in the turn of its last frame")
		}
		p.here.Depart(-1, nil)
		frozen, _ = p.here.Freeze(1)
	})
	p.carry(frozen, 0)
	p.here.onLoop(func() { p.here.Stay() })
	if _, err := c.next(); !errors.As(err, new(tlsrecord.PeerError)) {
		t.Errorf("the client reads %v, want an alert", err)
	}
	p.unsealed()
	if a, b := p.here.Stats().Resets, p.there.Stats().Resets; a != 0 || b != 1 {
		t.Errorf("%d resets here, %d there, want 1 there", a, b)
	}
}
