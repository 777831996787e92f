package cluster

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"sync"
	"syscall"
)

// maxShared is the number of sockets that a primary opens on behalf of its workers.
const maxShared = 256

// shared holds the sockets that a primary has opened for Self.Listen and Self.ListenPacket of its workers. It is safe
// for concurrent use.
type shared struct {
	mu      sync.Mutex
	sockets map[string]*sharedSocket // by key: index (4), network, 0, address
	closed  bool
}

// sharedSocket is a socket that several workers may use.
type sharedSocket struct {
	handle Handle
	users  map[uint64]struct{} // ids of workers
}

// serve answers a worker's request for a socket. It runs on the goroutine that reads from that worker.
func (s *shared) serve(w *Worker, request []byte) {
	if len(request) < 4 {
		return
	}
	head := request[:4:4]
	fd, err := s.get(w.id, string(request[4:]))
	if err == nil {
		_ = w.link.sendHandle(kindSocket, append(head, 0, 0, 0, 0), fd) // fails if the worker has disconnected
		return
	}
	var errno syscall.Errno
	errors.As(err, &errno)
	_ = w.link.send(kindSocket, append(binary.LittleEndian.AppendUint32(head, uint32(errno)), err.Error()...))
}

// get returns a descriptor of the socket with a key, and opens the socket if necessary.
func (s *shared) get(user uint64, key string) (fd int, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return -1, ErrStopped
	}
	at := s.sockets[key]
	if at == nil {
		if len(s.sockets) >= maxShared {
			return -1, fmt.Errorf("the limit is %d shared sockets", maxShared)
		}
		h, err := open(key)
		if err != nil {
			return -1, err
		}
		if s.sockets == nil {
			s.sockets = make(map[string]*sharedSocket)
		}
		at = &sharedSocket{handle: h, users: make(map[uint64]struct{})}
		s.sockets[key] = at
	}
	if fd, err = duplicate(at.handle); err != nil {
		return -1, err
	}
	at.users[user] = struct{}{}
	return fd, nil
}

// open opens the socket of a key.
func open(key string) (Handle, error) {
	if len(key) < 4 {
		return nil, ErrHandle
	}
	network, address, _ := strings.Cut(key[4:], "\x00")
	var lc net.ListenConfig
	var v any
	var err error
	switch network {
	case "tcp", "tcp4", "tcp6", "unix":
		v, err = lc.Listen(context.Background(), network, address)
	case "udp", "udp4", "udp6":
		v, err = lc.ListenPacket(context.Background(), network, address)
	default:
		err = net.UnknownNetworkError(network)
	}
	if err != nil {
		return nil, err
	}
	return v.(Handle), nil // TCP, Unix and UDP sockets implement Handle
}

// leave records that a worker has closed its copy of a socket. The last one closes the socket.
func (s *shared) leave(user uint64, key string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	at := s.sockets[key]
	if at == nil {
		return
	}
	delete(at.users, user)
	if len(at.users) == 0 {
		_ = at.handle.Close()
		delete(s.sockets, key)
	}
}

// died removes a worker from the users. A socket that no other worker uses stays open for the one that replaces it.
func (s *shared) died(user uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, at := range s.sockets {
		delete(at.users, user)
	}
}

// close closes all sockets.
func (s *shared) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	for _, at := range s.sockets {
		_ = at.handle.Close()
	}
	s.sockets = nil
}

// address is a net.Addr of a network that this package does not know.
type address struct{ network, name string }

// Network returns the name of the network.
func (a address) Network() string { return a.network }

// String returns the address as the worker reported it.
func (a address) String() string { return a.name }

var _ net.Addr = address{}

// parseAddr parses an address that a worker reports.
func parseAddr(b []byte) (net.Addr, bool) {
	network, name, ok := strings.Cut(string(b), "\x00")
	if !ok || network == "" {
		return nil, false
	}
	ap, err := netip.ParseAddrPort(name)
	switch network {
	case "tcp":
		if err == nil {
			return net.TCPAddrFromAddrPort(ap), true
		}
	case "udp":
		if err == nil {
			return net.UDPAddrFromAddrPort(ap), true
		}
	case "unix", "unixgram", "unixpacket":
		return &net.UnixAddr{Name: name, Net: network}, true
	}
	return address{network, name}, true
}
