package engine

import (
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"testing"
	"time"

	"github.com/expedite-go/expedite/internal/reactor"
)

// fullConn is a connection whose socket takes nothing for a while, although the client reads.
type fullConn struct {
	net.Conn
	late     int // so many writes reach their deadline
	meantime func()
}

func (c *fullConn) SetWriteDeadline(time.Time) error { return nil }

func (c *fullConn) NetConn() net.Conn { return c.Conn }

func (c *fullConn) Write(b []byte) (int, error) {
	if c.late == 0 {
		return c.Conn.Write(b)
	}
	c.late--
	c.meantime()
	return 0, os.ErrDeadlineExceeded
}

// TestReaderOfAFullBuffer: the system takes no more before a good part of its buffer is empty, which a client with a
// slow line may need more than ResponseTimeout for. It is not cut off as long as it reads anything.
func TestReaderOfAFullBuffer(t *testing.T) {
	e := &Engine{cfg: Config{}.withDefaults()}
	client, server := tcpEnds(t)
	fillSocket(t, server)
	slow := &fullConn{Conn: server, late: 3}
	rest := make(chan []byte, 1)
	slow.meantime = func() {
		before := reactor.Unacknowledged(server)
		until(t, "the client has read a part", func() bool {
			if _, err := io.ReadFull(client, make([]byte, 4<<10)); err != nil {
				t.Fatal(err)
			}
			return reactor.Unacknowledged(server) < before
		})
		if slow.late == 0 {
			go func() { // ends with the connection
				b, _ := io.ReadAll(client)
				rest <- b
			}()
		}
	}
	h := &httpConn{Conn: slow, eng: e}
	n, err := h.Write([]byte("the last bytes"))
	_ = server.Close()
	if n != 14 || err != nil || slow.late != 0 {
		t.Fatalf("got %d, %v", n, err)
	}
	if got := <-rest; !bytes.HasSuffix(got, []byte("the last bytes")) {
		t.Errorf("the client has read %.20q", got)
	}
	if n := e.count.limits[limitResponseTime].Load(); n != 0 {
		t.Errorf("%d hits of the limit, want 0", n)
	}
}

// TestReaderOfNothing: a client that reads nothing is cut off, however much waits for it.
func TestReaderOfNothing(t *testing.T) {
	e := &Engine{cfg: Config{}.withDefaults()}
	_, server := tcpEnds(t)
	fillSocket(t, server)
	h := &httpConn{Conn: &fullConn{Conn: server, late: 1, meantime: func() {}}, eng: e}
	if n, err := h.Write([]byte("x")); n != 0 || !errors.Is(err, os.ErrDeadlineExceeded) ||
		e.count.limits[limitResponseTime].Load() != 1 {
		t.Errorf("got %d, %v; want the deadline, counted once", n, err)
	}
}

func tcpEnds(t *testing.T) (client, server net.Conn) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	if client, err = net.Dial("tcp", ln.Addr().String()); err != nil {
		t.Fatal(err)
	}
	if server, err = ln.Accept(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _, _ = client.Close(), server.Close() })
	if err := client.SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	return client, server
}

// fillSocket writes until nothing moves any more.
func fillSocket(t *testing.T, conn net.Conn) {
	t.Helper()
	for errs := 0; errs < 3; {
		if err := conn.SetWriteDeadline(time.Now().Add(50 * time.Millisecond)); err != nil {
			t.Fatal(err)
		}
		switch n, err := conn.Write(make([]byte, 64<<10)); {
		case n > 0:
			errs = 0
		case errors.Is(err, os.ErrDeadlineExceeded):
			errs++
		default:
			t.Fatal(err)
		}
	}
	if err := conn.SetWriteDeadline(time.Time{}); err != nil {
		t.Fatal(err)
	}
}
