//go:build !linux

package reactor

import "net"

// newAcceptor chooses how to accept from ln.
func newAcceptor(li *Listener, ln net.Listener) (acceptor, error) {
	return newConnAcceptor(li, ln), nil
}
