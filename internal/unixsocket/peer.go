package unixsocket

import "errors"

// Peer is the process at the other end of a connection.
type Peer struct{ PID, UID int }

// ErrNoPeer is returned by [PeerOf] on systems that do not identify peers.
var ErrNoPeer = errors.New("unixsocket: peers are not known on this system")
