package secure

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"math/big"
	"net"
	"os"
	"sync"
	"testing"
	"time"
)

// bareServer returns a server whose certificate is followed by extra bytes of intermediates.
func bareServer(t *testing.T, extra int) *Server {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{
		SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour),
	}, &x509.Certificate{}, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	chain := [][]byte{der}
	for n := 0; n < extra; n += len(der) {
		chain = append(chain, der)
	}
	s := &Server{cfg: Config{Loop: true}, gate: gate{free: 1}}
	s.current.Store(&tls.Config{Certificates: []tls.Certificate{{Certificate: chain, PrivateKey: key}}})
	return s
}

// tcpPair returns the two ends of a connection.
func tcpPair(t *testing.T) (client, server net.Conn) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	client, err = net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	if server, err = ln.Accept(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _, _ = client.Close(), server.Close() })
	return client, server
}

// TestAbandonInTheQueue: a handshake that waits for a token ends when its connection is closed. Otherwise a crowd that
// comes and leaves would hold descriptors, and keep those waiting that stay.
func TestAbandonInTheQueue(t *testing.T) {
	s := bareServer(t, 0)
	s.gate.free = 0 // somebody computes, and does not end
	client, server := tcpPair(t)
	c := s.Wrap(server, nil).(*Conn)
	done := make(chan error, 1)
	go func() { // ends with Abandon
		_, err := c.Handshake()
		done <- err
	}()
	c.Abandon()
	c.Abandon() // closed again, by the deadline for instance
	if err := <-done; !errors.Is(err, net.ErrClosed) {
		t.Errorf("got %v, want %v", err, net.ErrClosed)
	}
	if _, err := client.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
		t.Errorf("the client reads %v, want the end", err)
	}
	if n := s.Counts()["abandoned"]; n != 1 || s.gate.free != 0 || s.gate.queued != 0 {
		t.Errorf("%d abandoned, %d turns are free, %d wait", n, s.gate.free, s.gate.queued)
	}
}

// waitsInWrite tells when something long is written, which then waits for a client that does not read.
type waitsInWrite struct {
	net.Conn
	began chan struct{}
}

func (c *waitsInWrite) Write(p []byte) (int, error) {
	if len(p) > 20_000 {
		close(c.began)
		return c.Conn.Read(make([]byte, 1)) // until it is closed
	}
	return c.Conn.Write(p)
}

// TestTokensWhileWriting: a client that does not read takes no token from the others.
func TestTokensWhileWriting(t *testing.T) {
	s := bareServer(t, 20_000)
	client, server := tcpPair(t)
	stuck := &waitsInWrite{server, make(chan struct{})}
	c := s.Wrap(stuck, nil).(*Conn)
	var wg sync.WaitGroup
	wg.Go(func() { _, _ = c.Handshake() })
	wg.Go(func() { _ = tls.Client(client, &tls.Config{InsecureSkipVerify: true}).Handshake() })
	<-stuck.began
	other := &gated{turn: make(chan struct{}, 1)}
	if err := s.gate.enter(other); err != nil { // blocks if the other one has it
		t.Error(err)
	}
	s.gate.leave()
	c.Abandon()
	_ = client.Close()
	wg.Wait()
}

// TestManyCertificates: where a handshake has written more than is remembered, the number of the next record is not
// known, and crypto/tls goes on. A number that is used twice would give the key away.
func TestManyCertificates(t *testing.T) {
	for _, extra := range []int{0, maxWritten} {
		s := bareServer(t, extra)
		client, server := tcpPair(t)
		c := s.Wrap(server, nil).(*Conn)
		out := tls.Client(client, &tls.Config{InsecureSkipVerify: true})
		var wg sync.WaitGroup
		wg.Go(func() { _ = out.Handshake() })
		h, err := c.Handshake()
		wg.Wait()
		if err != nil || (h == nil) != (extra > 0) {
			t.Errorf("%d bytes: got %v, %v", extra, h, err)
		}
		if extra == 0 {
			continue
		}
		if _, err := c.Write([]byte("hello")); err != nil {
			t.Fatal(err)
		}
		b := make([]byte, 5)
		if _, err := io.ReadFull(out, b); err != nil || string(b) != "hello" {
			t.Errorf("the client reads %q, %v", b, err)
		}
	}
}

// TestLongHandshake: a client cannot make the server collect a long message.
func TestLongHandshake(t *testing.T) {
	s := bareServer(t, 0)
	client, server := tcpPair(t)
	c := s.Wrap(server, nil).(*Conn)
	go func() { // ends with the connection
		record := append([]byte{22, 3, 1, 0x40, 0}, make([]byte, 1<<14)...)
		copy(record[5:], []byte{1, 0, 0xff, 0}) // a ClientHello of almost 64 KiB
		for {
			if _, err := client.Write(record); err != nil {
				return
			}
			clear(record[5:9])
		}
	}()
	_, err := c.Handshake()
	_ = c.Close()
	if !errors.Is(err, errLong) || s.Counts()["failed"] != 1 {
		t.Errorf("got %v, %v", err, s.Counts())
	}
}

// clearAlert sends an alert of its own, in the clear, instead of each encrypted record.
type clearAlert struct{ net.Conn }

func (c clearAlert) Write(p []byte) (int, error) {
	if i := bytes.Index(p, []byte{23, 3, 3}); i == 0 || i > 0 && p[0] == 20 { // perhaps behind a ChangeCipherSpec
		_, err := c.Conn.Write([]byte{alertRecord, 3, 3, 0, 2, 2, 48})
		return len(p), err
	}
	return c.Conn.Write(p)
}

// TestAlertInTheClear: the alert of a client of OpenSSL that does not trust the certificate is the error of the
// handshake, although crypto/tls only says that it cannot decrypt it.
func TestAlertInTheClear(t *testing.T) {
	for _, loop := range []bool{true, false} {
		s := bareServer(t, 0)
		s.cfg.Loop = loop
		client, server := tcpPair(t)
		_ = errors.Join(client.SetDeadline(time.Now().Add(time.Minute)), server.SetDeadline(time.Now().Add(time.Minute)))
		c := s.Wrap(server, nil).(*Conn)
		go func() { // ends with the handshake
			_ = tls.Client(clearAlert{client}, &tls.Config{ServerName: "one.test"}).Handshake()
		}()
		_, err := c.Handshake()
		_ = client.Close()
		want := "remote error: tls: unknown certificate authority"
		if !loop { // records are not looked at
			want = "local error: tls: bad record MAC"
		}
		if err == nil || err.Error() != want || s.Counts()["failed"] != 1 {
			t.Errorf("loop %v: got %v, %v", loop, err, s.Counts())
		}
	}
}

// shortWrites takes a few bytes of each write, and then has reached its deadline.
type shortWrites struct {
	net.Conn
	on bool
}

func (c *shortWrites) Write(p []byte) (int, error) {
	if !c.on {
		return c.Conn.Write(p)
	}
	n, err := c.Conn.Write(p[:min(len(p), 1000)])
	if err == nil && n < len(p) {
		err = os.ErrDeadlineExceeded
	}
	return n, err
}

// TestBeforeTimeout: a write of crypto/tls that has reached its deadline goes on as long as somebody wants that. It
// would be the end of the connection: crypto/tls does not know what has left.
func TestBeforeTimeout(t *testing.T) {
	for _, patient := range []bool{true, false} {
		s := bareServer(t, 0)
		s.cfg.Loop = false
		client, server := tcpPair(t)
		short := &shortWrites{Conn: server}
		c := s.Wrap(short, nil).(*Conn)
		out := tls.Client(client, &tls.Config{InsecureSkipVerify: true})
		var wg sync.WaitGroup
		wg.Go(func() { _ = out.Handshake() })
		if _, err := c.Handshake(); err != nil {
			t.Fatal(err)
		}
		wg.Wait()
		short.on = true
		asked := 0
		if c.BeforeTimeout(func(written int) bool { asked++; return written == 1000 }); !patient {
			c.BeforeTimeout(nil)
		}
		n, err := c.Write(make([]byte, 20_000)) // all of it fits the buffers of the connection
		if ended := errors.Is(err, os.ErrDeadlineExceeded); patient && (n != 20_000 || err != nil || asked < 10) ||
			!patient && (!ended || asked > 0) {
			t.Errorf("patient %v: wrote %d, %v, and asked %d times", patient, n, err, asked)
		}
		if !patient {
			continue
		}
		if _, err := io.ReadFull(out, make([]byte, 20_000)); err != nil {
			t.Errorf("the client reads: %v", err)
		}
	}
}

// chunks is a connection whose reads return as many bytes as it says.
type chunks struct {
	net.Conn
	data, sizes []byte
}

func (c *chunks) Read(p []byte) (int, error) {
	size := 1
	if len(c.sizes) > 0 {
		size, c.sizes = 1+int(c.sizes[0])*16, c.sizes[1:]
	}
	n := copy(p[:min(size, len(p))], c.data)
	if c.data = c.data[n:]; n == 0 {
		return 0, io.EOF
	}
	return n, nil
}

// FuzzGated: however the bytes of a client come, and however crypto/tls reads them, it gets all of them in order, and no
// read goes beyond a record. What it has not read is ahead.
func FuzzGated(f *testing.F) {
	record := append([]byte{22, 3, 1, 1, 0}, make([]byte, 256)...)
	f.Add(append(record, record...), []byte{0, 3, 255}, []byte{4, 255, 0, 9}, 0)
	f.Add([]byte{22, 3, 3, 0, 0, 23, 3, 3, 0, 1, 7}, []byte{}, []byte{}, 3)
	f.Fuzz(func(t *testing.T, data, arrive, ask []byte, ahead int) {
		data = data[:min(len(data), maxHandshake)]
		ahead = min(max(ahead, 0), len(data))
		g := &gated{
			Conn: &chunks{data: data[ahead:], sizes: arrive}, gate: &gate{free: 1}, turn: make(chan struct{}, 1),
			gone: make(chan struct{}), ahead: data[:ahead:ahead], record: true, buffers: new(buffers),
		}
		if err := g.enter(); err != nil {
			t.Fatal(err)
		}
		var got []byte
		left := 0 // bytes of the current record
		for turn := 0; ; turn++ {
			size := 1
			if len(ask) > 0 {
				size = 1 + int(ask[turn%len(ask)])*8
			}
			p := make([]byte, size)
			n, err := g.Read(p)
			if err != nil {
				break
			}
			if left == 0 {
				at := len(got)
				left = 5 + int(data[at+3])<<8 + int(data[at+4])
			}
			if n == 0 || n > left {
				t.Fatalf("got %d bytes of a record of which %d are left", n, left)
			}
			left -= n
			got = append(got, p[:n]...)
		}
		if rest := append(got, g.ahead...); !bytes.Equal(rest, data) {
			t.Fatalf("got %d bytes, and %d are ahead, of %d", len(got), len(g.ahead), len(data))
		}
	})
}
