package redistest

import (
	"errors"
	"net"
	"strconv"
	"syscall"
	"testing"
)

// TestReservePort: nobody else gets a reserved port, and a server that asks for it does, again and again.
func TestReservePort(t *testing.T) {
	port := reservePort(t)
	target, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer target.Close()
	for range 3 {
		out := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: port}} // does not reuse addresses
		if c, err := out.Dial("tcp", target.Addr().String()); !errors.Is(err, syscall.EADDRINUSE) {
			t.Errorf("an outgoing connection of that port: got %v, %v; want that it is in use", c, err)
		}
		ln, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
		if err != nil {
			t.Fatalf("a server that asks for it: %v", err)
		}
		c, err := net.Dial("tcp", ln.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		_, _ = c.Close(), ln.Close()
	}
}
