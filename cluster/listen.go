package cluster

import (
	"encoding/binary"
	"fmt"
	"net"
	"os"
	"slices"
	"sync"
	"syscall"

	"github.com/expedite-go/expedite/internal/fdpass"
)

// requests tracks the sockets that a worker has asked its primary for and those that it has open. It is safe for
// concurrent use.
type requests struct {
	mu      sync.Mutex
	next    uint32
	waiting map[uint32]chan answer
	taken   map[string][]uint32 // indexes in use, by network and address
	open    map[*claim]struct{}
	closed  bool
}

// answer is a socket, or the reason that there is none.
type answer struct {
	fd  int
	err error
}

// claim is a worker's use of a shared socket.
type claim struct {
	self  *Self
	name  string // network, 0, address, as passed to Listen
	index uint32 // 0 for the first socket that this worker has open by that name, and so on
	once  sync.Once
	end   func() error // closes the worker's copy
}

// Listen returns a listening socket that the primary opens and that all workers share which ask for the same network
// (tcp, tcp4, tcp6 or unix) and address. The kernel gives each connection to one of the workers that accept. With
// port 0 they share the same random port. If a worker listens again on a name that it has open, it gets the second
// socket of that name: with port 0 that is another port; otherwise it is an error for which errors.Is(err,
// syscall.EADDRINUSE) is true.
//
// The primary opens the socket at the first request and keeps it open when a worker dies. It closes the socket when
// the last worker has closed its copy, and when it stops. Closing the listener closes this worker's copy.
// EventListening follows. Listen waits for the primary: Serve must have been called, and hooks must not call Listen.
// Config.Listen is for connections that the primary schedules; Worker.SendHandle passes a socket that the primary has
// opened itself.
func (s *Self) Listen(network, address string) (net.Listener, error) {
	c, file, err := s.claim(network, address)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	ln, err := net.FileListener(file)
	if err != nil {
		c.release()
		return nil, fmt.Errorf("cluster: %w", err)
	}
	if err := c.hold(ln.Close, ln.Addr()); err != nil {
		return nil, err
	}
	return &sharedListener{Listener: ln, claim: c}, nil
}

// ListenPacket is like Listen for datagrams (udp, udp4 or udp6). Each datagram goes to one of the workers that read.
func (s *Self) ListenPacket(network, address string) (net.PacketConn, error) {
	c, file, err := s.claim(network, address)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	pc, err := net.FilePacketConn(file)
	if err != nil {
		c.release()
		return nil, fmt.Errorf("cluster: %w", err)
	}
	uc, ok := pc.(*net.UDPConn)
	if !ok {
		_ = pc.Close()
		c.release()
		return nil, fmt.Errorf("%w: %T", ErrHandle, pc)
	}
	if err := c.hold(uc.Close, uc.LocalAddr()); err != nil {
		return nil, err
	}
	return &sharedPacketConn{UDPConn: uc, claim: c}, nil
}

// Listening tells the primary that this worker accepts at an address, which causes an EventListening.
func (s *Self) Listening(addr net.Addr) error {
	return s.link.send(kindListening, []byte(addr.Network()+"\x00"+addr.String()))
}

// sharedListener is this worker's copy of a shared listening socket.
type sharedListener struct {
	net.Listener
	claim *claim
}

// Close closes the worker's copy.
func (l *sharedListener) Close() error { return l.claim.close() }

// sharedPacketConn is this worker's copy of a shared datagram socket.
type sharedPacketConn struct {
	*net.UDPConn
	claim *claim
}

// Close closes the worker's copy.
func (c *sharedPacketConn) Close() error { return c.claim.close() }

// claim asks the primary for a socket.
func (s *Self) claim(network, address string) (*claim, *os.File, error) {
	if !s.serving.Load() {
		return nil, nil, ErrNotServing
	}
	c := &claim{self: s, name: network + "\x00" + address}
	number, reply, err := s.asked.ask(c)
	if err != nil {
		return nil, nil, err
	}
	if err := s.link.send(kindListen, append(binary.LittleEndian.AppendUint32(nil, number), c.key()...)); err != nil {
		s.asked.free(c)
		return nil, nil, err
	}
	var a answer
	select {
	case a = <-reply:
	case <-s.done: // the primary has ended
		if a = s.asked.last(number, reply); a.err == nil {
			closeFD(a.fd)
			a.err = ErrDisconnected
		}
	}
	if a.err != nil {
		s.asked.free(c)
		return nil, nil, a.err
	}
	return c, os.NewFile(uintptr(a.fd), "listener"), nil
}

// key returns the primary's key of the socket.
func (c *claim) key() []byte {
	return append(binary.LittleEndian.AppendUint32(nil, c.index), c.name...)
}

// hold records that the worker's copy is open. If the worker has disconnected meanwhile, hold closes the copy.
func (c *claim) hold(end func() error, addr net.Addr) error {
	c.end = end
	r := &c.self.asked
	r.mu.Lock()
	closed := r.closed
	if !closed {
		if r.open == nil {
			r.open = make(map[*claim]struct{})
		}
		r.open[c] = struct{}{}
	}
	r.mu.Unlock()
	if closed {
		_ = end()
		return ErrDisconnected
	}
	_ = c.self.Listening(addr) // fails if the primary has ended
	return nil
}

// close closes the worker's copy. Later calls return net.ErrClosed.
func (c *claim) close() error {
	err := net.ErrClosed
	c.once.Do(func() {
		err = c.end()
		c.release()
	})
	return err
}

// release tells the primary that this worker no longer uses the socket.
func (c *claim) release() {
	c.self.asked.free(c)
	_ = c.self.link.send(kindUnlisten, c.key()) // fails if the primary has ended
}

// ask registers a request and gives the claim the lowest free index.
func (r *requests) ask(c *claim) (number uint32, reply <-chan answer, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return 0, nil, ErrDisconnected
	}
	if r.waiting == nil {
		r.waiting = make(map[uint32]chan answer)
		r.taken = make(map[string][]uint32)
	}
	list := r.taken[c.name]
	for slices.Contains(list, c.index) {
		c.index++
	}
	r.taken[c.name] = append(list, c.index)
	r.next++
	ch := make(chan answer, 1)
	r.waiting[r.next] = ch
	return r.next, ch, nil
}

// free releases the index of a claim.
func (r *requests) free(c *claim) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.open, c)
	list := slices.DeleteFunc(r.taken[c.name], func(i uint32) bool { return i == c.index })
	if r.taken[c.name] = list; len(list) == 0 {
		delete(r.taken, c.name)
	}
}

// answer delivers the primary's answer to a request.
func (r *requests) answer(f fdpass.Frame) {
	if len(f.Payload) < 8 {
		closeFDs(f.FDs)
		return
	}
	number := binary.LittleEndian.Uint32(f.Payload)
	r.mu.Lock()
	ch := r.waiting[number]
	delete(r.waiting, number)
	r.mu.Unlock()
	if ch == nil {
		closeFDs(f.FDs)
		return
	}
	switch errno := syscall.Errno(binary.LittleEndian.Uint32(f.Payload[4:])); {
	case len(f.Payload) > 8:
		ch <- answer{err: &listenError{text: string(f.Payload[8:]), errno: errno}}
	case len(f.FDs) != 1:
		closeFDs(f.FDs)
		ch <- answer{err: fmt.Errorf("cluster: listening socket: %w", syscall.EMFILE)} // the kernel dropped it
	default:
		ch <- answer{fd: f.FDs[0]}
	}
}

// last returns the answer to a request if it has arrived; otherwise no answer will come, and the error is
// ErrDisconnected.
func (r *requests) last(number uint32, reply <-chan answer) answer {
	r.mu.Lock()
	delete(r.waiting, number)
	r.mu.Unlock()
	select {
	case a := <-reply:
		return a
	default:
		return answer{err: ErrDisconnected}
	}
}

// close closes all copies and refuses later requests.
func (r *requests) close() {
	r.mu.Lock()
	r.closed = true
	open := r.open
	r.open = nil
	r.mu.Unlock()
	for c := range open {
		c.once.Do(func() { _ = c.end() })
	}
}

// listenError is the reason that the primary could not open a socket.
type listenError struct {
	text  string
	errno syscall.Errno
}

// Error returns the primary's error message.
func (e *listenError) Error() string { return "cluster: " + e.text }

// Unwrap returns the error number, for errors.Is.
func (e *listenError) Unwrap() error {
	if e.errno == 0 {
		return nil
	}
	return e.errno
}
