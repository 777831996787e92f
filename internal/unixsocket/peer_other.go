//go:build !linux

package unixsocket

import "net"

// PeerOf returns [ErrNoPeer].
func PeerOf(net.Conn) (Peer, error) { return Peer{}, ErrNoPeer }
