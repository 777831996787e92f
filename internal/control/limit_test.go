package control

import (
	"errors"
	"io"
	"net"
	"runtime"
	"testing"
	"time"
)

// TestTooManyConnections checks that connections beyond 256 are closed and counted, and that there is room again when
// one has ended.
func TestTooManyConnections(t *testing.T) {
	path := socket(t)
	s := start(t, path, newFake())
	conns := make([]net.Conn, maxConns)
	open := func() net.Conn {
		c, err := net.Dial("unix", path)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = c.Close() })
		return c
	}
	for i := range conns {
		conns[i] = open()
	}
	if _, err := open().Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
		t.Errorf("connection %d: got %v, want the end", maxConns+1, err)
	}
	if n := s.Refused(); n != 1 {
		t.Errorf("refused: got %d, want 1", n)
	}
	for _, c := range conns {
		_ = c.Close()
	}
	for limit := time.Now().Add(time.Minute); s.conns.Load() > 0; runtime.Gosched() {
		if time.Now().After(limit) {
			t.Fatalf("%d connections are counted after the end of all", s.conns.Load())
		}
	}
	if _, err := dial(t, path).Status(t.Context()); err != nil {
		t.Error(err)
	}
}
