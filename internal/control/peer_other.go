//go:build !linux

package control

import "net"

// peerOf does not know: the socket's mode protects it.
func peerOf(net.Conn) (peer, error) { return peer{}, errNoPeers }
