package tlsrecord

import (
	"bytes"
	"crypto/tls"
	"encoding/hex"
	"errors"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/expedite-go/expedite/internal/certtest"
)

// wire is one end of a connection in memory. What the other end has written is in its buffer.
type wire struct {
	mu   sync.Mutex
	more *sync.Cond
	in   bytes.Buffer
	to   *wire
	end  bool
}

func wires() (a, b *wire) {
	a, b = new(wire), new(wire)
	a.more, b.more = sync.NewCond(&a.mu), sync.NewCond(&b.mu)
	a.to, b.to = b, a
	return a, b
}

// Read returns the bytes of one record at most, so that crypto/tls holds back none of a later one.
func (w *wire) Read(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for w.in.Len() == 0 && !w.end {
		w.more.Wait()
	}
	if w.in.Len() == 0 {
		return 0, io.EOF
	}
	return w.in.Read(p[:1]) // slow, and never too much
}

func (w *wire) Write(p []byte) (int, error) {
	w.to.mu.Lock()
	defer w.to.mu.Unlock()
	w.to.in.Write(p)
	w.to.more.Broadcast()
	return len(p), nil
}

// take returns what waits.
func (w *wire) take() []byte {
	w.mu.Lock()
	defer w.mu.Unlock()
	return bytes.Clone(w.in.Next(w.in.Len()))
}

func (*wire) Close() error                     { return nil }
func (*wire) LocalAddr() net.Addr              { return &net.TCPAddr{} }
func (*wire) RemoteAddr() net.Addr             { return &net.TCPAddr{} }
func (*wire) SetDeadline(time.Time) error      { return nil }
func (*wire) SetReadDeadline(time.Time) error  { return nil }
func (*wire) SetWriteDeadline(time.Time) error { return nil }

// peers shakes hands with a client of crypto/tls. It returns that, the server's end of the wire, and what continues
// there.
func peers(t *testing.T) (*tls.Conn, *wire, *Reader, *Writer) {
	t.Helper()
	a, b := wires()
	var lines bytes.Buffer
	server := tls.Server(b, &tls.Config{
		Certificates: []tls.Certificate{certtest.New(t).Issue("server", "localhost").TLS},
		KeyLogWriter: &lines, SessionTicketsDisabled: true,
	})
	client := tls.Client(a, &tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS13})
	failed := make(chan error, 1)
	go func() { failed <- server.Handshake() }()
	if err := errors.Join(client.Handshake(), <-failed); err != nil {
		t.Fatal(err)
	}
	secrets := map[string][]byte{}
	for line := range strings.Lines(lines.String()) {
		f := strings.Fields(line)
		secret, err := hex.DecodeString(f[2])
		if err != nil {
			t.Fatal(err)
		}
		secrets[f[0]] = secret
	}
	suite := server.ConnectionState().CipherSuite
	r, errR := NewReader(suite, secrets["CLIENT_TRAFFIC_SECRET_0"])
	w, errW := NewWriter(suite, secrets["SERVER_TRAFFIC_SECRET_0"], 0)
	if err := errors.Join(errR, errW); err != nil {
		t.Fatal(err)
	}
	return client, b, r, w
}

// openAll opens the whole records of a stream, and returns what is left.
func openAll(t *testing.T, r *Reader, stream []byte, got *[]byte, kinds *[]Kind) (rest []byte) {
	t.Helper()
	for {
		n, err := Length(stream)
		if err != nil {
			t.Fatal(err)
		}
		if n == 0 || n > len(stream) {
			return stream
		}
		var kind Kind
		if *got, kind, err = r.Open(*got, stream[:n]); err != nil {
			t.Fatal(err)
		}
		*kinds, stream = append(*kinds, kind), stream[n:]
	}
}

// TestAgainstCryptoTLS: a client of crypto/tls is understood with its stream cut at every byte, and understands what is
// sealed: data of many sizes, changes of keys in both directions, and the end.
func TestAgainstCryptoTLS(t *testing.T) {
	client, server, r, w := peers(t)
	var want []byte
	send := func(b []byte) {
		if _, err := client.Write(b); err != nil {
			t.Fatal(err)
		}
		want = append(want, b...)
	}
	for _, size := range []int{1, 2, 100, 1000} {
		send(bytes.Repeat([]byte{byte(size)}, size))
	}
	stream := server.take()
	state := r.AppendState(nil)
	for cut := range stream {
		again, err := ParseReader(state)
		if err != nil {
			t.Fatal(err)
		}
		var got []byte
		var kinds []Kind
		rest := openAll(t, again, stream[:cut], &got, &kinds)
		rest = openAll(t, again, append(bytes.Clone(rest), stream[cut:]...), &got, &kinds)
		if len(rest) > 0 || !bytes.Equal(got, want) {
			t.Fatalf("cut at %d: other bytes", cut)
		}
	}
	var got []byte
	var kinds []Kind
	openAll(t, r, stream, &got, &kinds)

	for _, size := range []int{1, 100, maxPlain, 3*maxPlain + 1} {
		b, n, err := w.Append(nil, [][]byte{bytes.Repeat([]byte{1}, size/2), bytes.Repeat([]byte{2}, size-size/2)}, size)
		if err == nil && n == size {
			b, err = w.AppendKeyUpdate(b, true)
		}
		if err != nil || n != size {
			t.Fatalf("%d of %d, %v", n, size, err)
		}
		_, _ = server.Write(b)
		answer := make([]byte, size)
		if _, err := io.ReadFull(client, answer); err != nil || answer[0] != byte(2-min(size/2, 1)) || answer[size-1] != 2 {
			t.Fatalf("crypto/tls reads %d bytes: %v", size, err)
		}
	}
	b, err := w.AppendAlert(nil, CloseNotify)
	if err != nil {
		t.Fatal(err)
	}
	_, _ = server.Write(b)
	if _, err := client.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
		t.Errorf("after close_notify: %v", err)
	}
	if err := client.Close(); err != nil {
		t.Fatal(err)
	}
	got, kinds = nil, nil
	openAll(t, r, server.take(), &got, &kinds) // the answers to the requests, and the end
	if len(got) > 0 || len(kinds) != 5 || kinds[0] != Updated || kinds[3] != Updated || kinds[4] != Closed {
		t.Errorf("got %d bytes, %v", len(got), kinds)
	}
}

// TestWrongKeys is the negative control of the test above: with a wrong number or an earlier secret, nothing is
// understood.
func TestWrongKeys(t *testing.T) {
	client, server, r, w := peers(t)
	if _, err := client.Write([]byte("hello")); err != nil {
		t.Fatal(err)
	}
	stream := server.take()
	for what, spoil := range map[string]func(*half){
		"number": func(h *half) { h.seq++ },
		"secret": func(h *half) { _ = h.next() },
	} {
		other, err := ParseReader(r.AppendState(nil))
		if err != nil {
			t.Fatal(err)
		}
		spoil(&other.half)
		if _, _, err := other.Open(nil, stream); err == nil {
			t.Errorf("a wrong %s opens a record", what)
		}
	}
	w.seq++
	b, _, err := w.Append(nil, [][]byte{[]byte("hello")}, 5)
	if err != nil {
		t.Fatal(err)
	}
	_, _ = server.Write(b)
	if _, err := client.Read(make([]byte, 5)); err == nil {
		t.Error("crypto/tls accepts a wrong number")
	}
}
