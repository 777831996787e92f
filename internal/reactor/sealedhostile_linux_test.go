package reactor_test

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/sha256"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/expedite-go/expedite/internal/reactor"
	"github.com/expedite-go/expedite/internal/tlsrecord"
)

// forger is a client that has the keys and keeps no rule: it seals any content as a record of any type.
type forger struct {
	t      *testing.T
	raw    *net.TCPConn
	secret []byte
	aead   cipher.AEAD
	iv     []byte
	seq    uint64
}

// forge returns a forger, and a socket on a loop to which it is connected.
func forge(t *testing.T) (*forger, *reactor.Loop, reactor.Key, reactor.Socket) {
	t.Helper()
	client, secured := tlsPair(t, 0)
	if secured.State.CipherSuite != tls.TLS_AES_128_GCM_SHA256 {
		t.Skip("this processor has no AES instructions: crypto/tls prefers ChaCha20-Poly1305 to AES-GCM")
	}
	state := secured.Reader.AppendState(nil)
	f := &forger{t: t, raw: client.raw, secret: state[len(state)-sha256.Size:]}
	f.rekey()
	l, err := reactor.New(new(script), reactor.Options{})
	if err != nil {
		t.Fatal(err)
	}
	k, s, err := reactor.AddSecured(l, secured)
	if err != nil {
		t.Fatal(err)
	}
	return f, l, k, s
}

func (f *forger) expand(label string, n int) []byte {
	label = "tls13 " + label
	b, err := hkdf.Expand(sha256.New, f.secret, string([]byte{0, byte(n), byte(len(label))})+label+"\x00", n)
	if err != nil {
		f.t.Fatal(err)
	}
	return b
}

func (f *forger) rekey() {
	block, err := aes.NewCipher(f.expand("key", 16))
	if err != nil {
		f.t.Fatal(err)
	}
	if f.aead, err = cipher.NewGCM(block); err != nil {
		f.t.Fatal(err)
	}
	f.iv, f.seq = f.expand("iv", 12), 0
}

// next changes the keys, after a KeyUpdate.
func (f *forger) next() {
	f.secret = f.expand("traffic upd", sha256.Size)
	f.rekey()
}

func (f *forger) seal(kind byte, content string) []byte {
	nonce := bytes.Clone(f.iv)
	binary.BigEndian.PutUint64(nonce[4:], binary.BigEndian.Uint64(nonce[4:])^f.seq)
	f.seq++
	n := len(content) + 1 + f.aead.Overhead()
	head := []byte{23, 3, 3, byte(n >> 8), byte(n)}
	return append(head, f.aead.Seal(nil, nonce, append([]byte(content), kind), head)...)
}

const (
	alertType, handshakeType, dataType = 21, 22, 23
	closeNotify                        = "\x01\x00"
	wantUpdate                         = "\x18\x00\x00\x01\x01"
)

// empty returns n records without data.
func (f *forger) empty(n int) (b []byte) {
	for range n {
		b = append(b, f.seal(dataType, "")...)
	}
	return b
}

// send writes b, and waits until s can read all of it.
func (f *forger) send(s reactor.Socket, b []byte) {
	f.t.Helper()
	if _, err := f.raw.Write(b); err != nil {
		f.t.Fatal(err)
	}
	for limit := time.Now().Add(patience); ; runtime.Gosched() {
		n, err := unix.IoctlGetInt(s.FD(), unix.SIOCINQ)
		if err != nil {
			f.t.Fatal(err)
		}
		if n >= len(b) {
			return
		}
		if time.Now().After(limit) {
			f.t.Fatalf("%d bytes of %d can be read", n, len(b))
		}
	}
}

// hostile are bytes of clients that keep no rule.
func hostile(f *forger) map[string]func() []byte {
	return map[string]func() []byte{
		"bytes behind close_notify": func() []byte {
			return append(f.seal(alertType, closeNotify), make([]byte, 40_000)...)
		},
		"data, and too many empty records": func() []byte {
			return append(f.seal(dataType, "x"), f.empty(40)...)
		},
		"as many empty records as are allowed": func() []byte { return f.empty(16) },
		"data, and a fatal alert":              func() []byte { return append(f.seal(dataType, "x"), f.seal(alertType, "\x02\x28")...) },
		"data, and a changed record": func() []byte {
			b := f.seal(dataType, "y")
			b[7] ^= 1
			return append(f.seal(dataType, "x"), b...)
		},
		"data, and a part of a KeyUpdate": func() []byte {
			return append(f.seal(dataType, "x"), f.seal(handshakeType, wantUpdate[:3])...)
		},
		"a flood of KeyUpdates": func() (b []byte) {
			for range 40 {
				b = append(b, f.seal(handshakeType, wantUpdate)...)
				f.next()
			}
			return b
		},
		"a record that is too long": func() []byte { return append(f.seal(dataType, "x"), 23, 3, 3, 0x41, 1) },
		"a record of full length that does not end": func() []byte {
			return append(f.seal(dataType, "x"), append([]byte{23, 3, 3, 0x41, 0}, make([]byte, 16_639)...)...)
		},
		"no TLS at all": func() []byte { return []byte("GET / HTTP/1.1\r\n\r\n") },
	}
}

// TestHostileInputMoves: whatever a client sends, the state of its socket is one that another process accepts. It
// refuses a whole batch for one that it does not, and so one client could prevent reloads.
func TestHostileInputMoves(t *testing.T) {
	f, _, _, _ := forge(t)
	for name := range hostile(f) {
		for _, size := range []int{1, 100, 64 << 10} {
			f, l, k, s := forge(t)
			f.send(s, hostile(f)[name]())
			buf := make([]byte, size)
			for turn := range 10 {
				_, err := s.Read(buf)
				state := s.Suspend()
				if bad := reactor.CheckSealed(state); bad != nil {
					t.Fatalf("%s, after turn %d (%v): %v", name, turn, err, bad)
				}
				if err := l.Remove(k); err != nil {
					t.Fatal(err)
				}
				if k, s, err = l.Return(s); err != nil {
					t.Fatal(err)
				}
			}
			_ = s.Close()
			if arriving, leaving := l.Sealed(); arriving != 0 || leaving != 0 {
				t.Errorf("%s: a closed socket counts %d and %d bytes", name, arriving, leaving)
			}
		}
	}
}

// TestTinyRecords: a client that sends one byte in each record has its turn as everybody else.
func TestTinyRecords(t *testing.T) {
	f, _, _, s := forge(t)
	var b []byte
	for range 80_000 / 23 {
		b = append(b, f.seal(dataType, "x")...)
	}
	f.send(s, b)
	buf, got := make([]byte, 64<<10), 0
	for got < 80_000/23 {
		n, err := s.Read(buf)
		if err != nil {
			t.Fatal(err)
		}
		if got += n; n > len(buf)/23+1 {
			t.Fatalf("%d records in one turn", n)
		}
	}
}

// TestUpdatesWhileBlocked: while the socket is full, what waits for it does not grow with each KeyUpdate that wants an
// answer, and one answer is enough. RFC 8446 §4.6.3.
func TestUpdatesWhileBlocked(t *testing.T) {
	f, l, _, s := forge(t)
	err := errors.Join(f.raw.SetReadBuffer(4096), unix.SetsockoptInt(s.FD(), unix.SOL_SOCKET, unix.SO_SNDBUF, 4096))
	if err != nil { // they do not grow then
		t.Fatal(err)
	}
	fill := func() {
		limit := time.Now().Add(patience)
		for full := 0; full < 200; full++ { // the system moves bytes from one end to the other meanwhile
			if time.Now().After(limit) {
				t.Fatal("the socket does not become full")
			}
			if _, err := s.Write(make([]byte, 1<<20)); !errors.Is(err, reactor.ErrAgain) {
				full = 0
			}
			runtime.Gosched()
		}
	}
	fill()
	_, before := l.Sealed()
	for range 10 {
		b := f.seal(handshakeType, wantUpdate)
		f.next()
		f.send(s, b)
		if _, err := s.Read(make([]byte, 100)); !errors.Is(err, reactor.ErrAgain) {
			t.Fatal(err)
		}
		fill()
	}
	if _, after := l.Sealed(); after > before+2*(tlsrecord.Overhead+tlsrecord.KeyUpdateSize) {
		t.Errorf("%d bytes wait, %d before", after, before)
	}
}

// TestCloseUnderRead: net/http closes connections that a goroutine reads, also while records arrive.
func TestCloseUnderRead(t *testing.T) {
	for range 30 {
		f, l, k, s := forge(t)
		conn, _, err := l.Detach(k, s)
		if err != nil {
			t.Fatal(err)
		}
		var b []byte
		for range 1000 {
			b = append(b, f.seal(dataType, "xxxxx")...)
		}
		var wg sync.WaitGroup
		wg.Go(func() { _, _ = f.raw.Write(b) })
		began, once := make(chan struct{}), sync.Once{}
		wg.Go(func() {
			buf := make([]byte, 16)
			for n, err := conn.Read(buf); err == nil; n, err = conn.Read(buf) {
				if strings.Trim(string(buf[:n]), "x") != "" {
					t.Errorf("got %q", buf[:n])
				}
				once.Do(func() { close(began) })
			}
		})
		await(t, began, "the first bytes")
		if err := conn.Close(); err != nil {
			t.Error(err)
		}
		_ = f.raw.Close()
		wg.Wait()
		if n, err := conn.Write([]byte("x")); n != 0 || err == nil {
			t.Errorf("written after Close: %d, %v", n, err)
		}
		if arriving, leaving := l.Sealed(); arriving != 0 || leaving != 0 {
			t.Errorf("a closed connection counts %d and %d bytes", arriving, leaving)
		}
	}
}

// shaker is a Handshaker whose handshake waits for others.
type shaker struct {
	net.Conn
	gone chan struct{}
}

func (h *shaker) Handshake() (*reactor.Secured, error) {
	<-h.gone
	return nil, io.EOF
}

func (h *shaker) Abandon() { close(h.gone) }

func (h *shaker) Waited() time.Duration { return time.Hour }

// TestAbandonedHandshake: a socket that is closed does not wait for its turn to do a handshake.
func TestAbandonedHandshake(t *testing.T) {
	client, server := tcpPair(t)
	l, err := reactor.New(new(script), reactor.Options{})
	if err != nil {
		t.Fatal(err)
	}
	k, s, err := l.AddConn(server)
	if err != nil {
		t.Fatal(err)
	}
	s, err = l.Wrap(k, s, nil, func(conn net.Conn, _ []byte) net.Conn {
		return &shaker{Conn: conn, gone: make(chan struct{})}
	})
	if err != nil || !s.Shakes() || s.Waited() != time.Hour {
		t.Fatalf("got %v, shakes: %v, has waited %v", err, s.Shakes(), s.Waited())
	}
	l.Close(k, s)
	if _, err := client.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
		t.Errorf("the client reads %v, want the end", err)
	}
}

// FuzzSealedState: nothing that claims to be a state of TLS crashes the process that receives it, and what is accepted
// can be written and read again.
func FuzzSealedState(f *testing.F) {
	_, _, _, s := sealedSocket(f)
	f.Add(s.Suspend())
	_, _ = s.Write([]byte("hello"))
	f.Add(s.Suspend())
	f.Fuzz(func(t *testing.T, b []byte) {
		again, err := reactor.SuspendAgain(b)
		if err != nil {
			return
		}
		if third, err := reactor.SuspendAgain(again); err != nil || !bytes.Equal(third, again) {
			t.Fatalf("what was accepted is refused, or differs: %v", err)
		}
	})
}
