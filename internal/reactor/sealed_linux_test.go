package reactor_test

import (
	"bytes"
	"crypto/tls"
	"encoding/hex"
	"errors"
	"io"
	"net"
	"os"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/expedite-go/expedite/internal/certtest"
	"github.com/expedite-go/expedite/internal/reactor"
	"github.com/expedite-go/expedite/internal/tlsrecord"
)

// tlsPair returns the client's end of a connection, and the server's end after the handshake of crypto/tls.
func tlsPair(t testing.TB, suite uint16) (*tlsClient, *reactor.Secured) {
	t.Helper()
	client, server := tcpPair(t)
	var lines keyLines
	one := oneRecord{Conn: server}
	in := tls.Server(&one, &tls.Config{
		Certificates: []tls.Certificate{certtest.New(t).Issue("server", "localhost").TLS}, KeyLogWriter: &lines, SessionTicketsDisabled: true,
		MinVersion: tls.VersionTLS13,
	})
	out := tls.Client(client, &tls.Config{InsecureSkipVerify: true})
	var wg sync.WaitGroup
	var failed error
	wg.Go(func() { failed = in.Handshake() })
	if err := errors.Join(out.Handshake(), waited(&wg, &failed)); err != nil {
		t.Fatal(err)
	}
	state := in.ConnectionState()
	if suite != 0 && state.CipherSuite != suite {
		t.Fatalf("suite %#x", state.CipherSuite)
	}
	r, errR := tlsrecord.NewReader(state.CipherSuite, lines.secret(t, "CLIENT_TRAFFIC_SECRET_0"))
	w, errW := tlsrecord.NewWriter(state.CipherSuite, lines.secret(t, "SERVER_TRAFFIC_SECRET_0"), 0)
	if err := errors.Join(errR, errW); err != nil {
		t.Fatal(err)
	}
	return &tlsClient{Conn: out, raw: client}, &reactor.Secured{Conn: server, Reader: r, Writer: w, State: &state}
}

// sealedSocket returns the client's end of a connection, and the server's end on a loop that does not run.
func sealedSocket(t testing.TB) (client *tlsClient, l *reactor.Loop, k reactor.Key, s reactor.Socket) {
	t.Helper()
	client, secured := tlsPair(t, 0)
	l, err := reactor.New(new(script), reactor.Options{})
	if err == nil {
		k, s, err = reactor.AddSecured(l, secured)
	}
	if err != nil {
		t.Fatal(err)
	}
	return client, l, k, s
}

func waited(wg *sync.WaitGroup, err *error) error { wg.Wait(); return *err }

// oneRecord returns no more than one record at a time.
type oneRecord struct {
	net.Conn
	head []byte
	left int
}

func (c *oneRecord) Read(p []byte) (int, error) {
	if c.left == 0 {
		n, err := c.Conn.Read(p[:min(len(p), tlsrecord.HeaderSize-len(c.head))])
		c.head = append(c.head, p[:n]...)
		if len(c.head) == tlsrecord.HeaderSize {
			c.left, c.head = int(c.head[3])<<8|int(c.head[4]), nil
		}
		return n, err
	}
	n, err := c.Conn.Read(p[:min(len(p), c.left)])
	c.left -= n
	return n, err
}

// keyLines are lines of a key log.
type keyLines struct{ bytes.Buffer }

func (l *keyLines) secret(t testing.TB, label string) []byte {
	for line := range strings.Lines(l.String()) {
		if f := strings.Fields(line); f[0] == label {
			secret, err := hex.DecodeString(f[2])
			if err != nil {
				t.Fatal(err)
			}
			return secret
		}
	}
	t.Fatalf("no %s", label)
	return nil
}

// tlsClient is the client's end of a connection with TLS.
type tlsClient struct {
	*tls.Conn
	raw    *net.TCPConn
	abrupt bool // Close says nothing before
}

func (c *tlsClient) SetLinger(sec int) error {
	c.abrupt = true
	return c.raw.SetLinger(sec)
}

func (c *tlsClient) Close() error {
	if c.abrupt {
		return c.raw.Close()
	}
	return c.Conn.Close()
}

// sealedKind is that of sockets with TLS.
func sealedKind() kind {
	return kind{name: "TLS", opt: reactor.Options{Tick: time.Millisecond}, dial: func(t testing.TB) (peer, adder) {
		client, secured := tlsPair(t, 0)
		return client, func(l *reactor.Loop) (reactor.Key, reactor.Socket, error) { return reactor.AddSecured(l, secured) }
	}}
}

// TestSealedMoves: a socket with TLS moves between two loops at each size of what it has read and not written.
func TestSealedMoves(t *testing.T) {
	client, l, k, s := sealedSocket(t)
	buf := make([]byte, 64<<10)
	for round, size := range []int{1, 100, 20_000, 40_000, 5} {
		var wg sync.WaitGroup
		wg.Go(func() { _, _ = client.Write(pattern(size)) })
		var got []byte
		for limit := time.Now().Add(patience); len(got) < size; { // in small pieces, and it moves after each
			if time.Now().After(limit) {
				t.Fatalf("round %d: %d bytes of %d have come", round, len(got), size)
			}
			n, err := s.Read(buf[:7_001])
			if err != nil && !errors.Is(err, reactor.ErrAgain) {
				t.Fatalf("round %d: %v", round, err)
			}
			got = append(got, buf[:n]...)
			state := s.Suspend()
			if err := l.Remove(k); err != nil {
				t.Fatal(err)
			}
			if k, s, err = l.Resume(s.FD(), state); err != nil {
				t.Fatal(err)
			}
		}
		wg.Wait()
		if !bytes.Equal(got, pattern(size)) {
			t.Fatalf("round %d: other bytes came", round)
		}
		wg.Go(func() {
			for b := got; len(b) > 0; {
				n, err := s.Write(b)
				if b = b[n:]; err != nil && !errors.Is(err, reactor.ErrAgain) {
					t.Error(err)
					return
				}
			}
			for limit := time.Now().Add(patience); !s.Push() && time.Now().Before(limit); {
				runtime.Gosched()
			}
		})
		if _, err := io.ReadFull(client, buf[:size]); err != nil || !bytes.Equal(buf[:size], got) {
			t.Fatalf("round %d: the answer: %v", round, err)
		}
		wg.Wait()
	}
	_ = s.Close()
	if _, err := client.Read(buf); !errors.Is(err, io.EOF) {
		t.Errorf("after close_notify: %v", err)
	}
}

// TestSealedTakeTLS: an idle connection keeps nothing of its handshake.
func TestSealedTakeTLS(t *testing.T) {
	_, _, _, s := sealedSocket(t)
	defer s.Close()
	if state := s.TLS(); state == nil || state.Version != tls.VersionTLS13 {
		t.Errorf("TLS before: %v", state)
	}
	if state := s.TakeTLS(); state == nil || state.Version != tls.VersionTLS13 {
		t.Errorf("TakeTLS: %v", state)
	}
	if state := s.TLS(); state != nil {
		t.Errorf("TLS afterwards: %v", state)
	}
}

// TestSealedState: bytes that are not a state are refused.
func TestSealedState(t *testing.T) {
	_, _, _, s := sealedSocket(t)
	state := s.Suspend()
	for cut := range state {
		if err := reactor.CheckSealed(state[:cut]); !errors.Is(err, reactor.ErrSealed) {
			t.Errorf("%d of %d bytes: got %v, want ErrSealed", cut, len(state), err)
		}
	}
	if err := reactor.CheckSealed(state); err != nil {
		t.Error(err)
	}
}

// TestSealedUnacknowledged: of a connection that net/http has, a part of a record that waits for its socket counts.
func TestSealedUnacknowledged(t *testing.T) {
	client, l, k, s := sealedSocket(t)
	conn, _, err := l.Detach(k, s)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	for n := 1; n > 0; {
		if err = conn.SetWriteDeadline(time.Now().Add(50 * time.Millisecond)); err == nil {
			n, err = conn.Write(make([]byte, 100_000))
		}
	}
	if !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatal(err)
	}
	before, below := reactor.Unacknowledged(conn), reactor.BelowTLS(conn)
	if below == 0 || before <= below {
		t.Errorf("%d bytes, of which the system has %d: a part of a record waits, too", before, below)
	}
	go func() { _, _ = io.Copy(io.Discard, client.raw) }() // ends with the connection
	if err := conn.SetWriteDeadline(time.Now().Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Write(nil); err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(time.Minute); reactor.Unacknowledged(conn) > 0; runtime.Gosched() {
		if time.Now().After(deadline) {
			t.Fatalf("%d bytes are not acknowledged", reactor.Unacknowledged(conn))
		}
	}
}
