//go:build !linux

package redistest

import (
	"net"
	"testing"
)

// reservePort returns a port of 127.0.0.1 that is free at present.
func reservePort(t testing.TB) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}
