//go:build !linux

package reactor

import (
	"fmt"
	"net"
	"net/netip"
)

// AddFD works on Linux only. Here it fails, and the descriptor still belongs to the caller.
func (l *Loop) AddFD(fd int) (Key, Socket, netip.AddrPort, error) {
	return Key{}, Socket{}, netip.AddrPort{}, fmt.Errorf("reactor: descriptor %d: %w", fd, errNoPoller)
}

// Attach works on Linux only, like AddFD.
func (l *Loop) Attach(fd int) (Key, Socket, error) {
	return Key{}, Socket{}, fmt.Errorf("reactor: descriptor %d: %w", fd, errNoPoller)
}

// Reattach works on Linux only. Here it does nothing.
func (l *Loop) Reattach(net.Conn) (Key, Socket, bool) { return Key{}, Socket{}, false }

func takeFD(net.Conn) (int, error) { return -1, errNoPoller }

// No Socket has a descriptor here.
func fdRead(int, []byte) (int, error)     { return 0, errNoPoller }
func fdWrite(int, []byte) (int, error)    { return 0, errNoPoller }
func fdWritev(int, [][]byte) (int, error) { return 0, errNoPoller }
func fdCloseWrite(int) error              { return errNoPoller }
func fdClose(int) error                   { return errNoPoller }
func fdUnacknowledged(int) int            { return 0 }
func connUnacknowledged(net.Conn) int     { return 0 }
func fdAbandon(int)                       {}
func fdAddr(int, bool) net.Addr           { return nil }
func fdConn(int) (net.Conn, error)        { return nil, errNoPoller }
