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

// requests are what a worker has asked its primary for, and has got.
type requests struct {
	mu      sync.Mutex
	next    uint32
	waiting map[uint32]chan answer
	taken   map[string][]uint32 // indexes in use, by network and address
	open    map[*claim]struct{}
	closed  bool
}

// answer is a socket, or why there is none.
type answer struct {
	fd  int
	err error
}

// claim is a worker's share of a socket.
type claim struct {
	self  *Self
	name  string // network and address, as they were asked for
	index uint32 // 0 for the first that this worker has open by that name, and so on
	once  sync.Once
	end   func() error // closes the worker's copy
}

// Listen asks the primary for a listening socket, which all workers share that ask for the same network (tcp, tcp4,
// tcp6 or unix) and address: the kernel gives each connection to one of those that accept. With port 0 they share the
// same random port. A worker that listens a second time by the same name, while the first is open, gets the second
// socket of that name: with port 0 another port, else an error, of which errors.Is finds syscall.EADDRINUSE.
//
// The primary opens the socket with the first request, and keeps it when a worker dies; it closes it when the last of
// its workers has closed its own, and at its end. Close of the listener closes this worker's copy. EventListening
// follows. Listen waits for the primary: it needs Serve, and must not be called by a hook. For connections that the
// primary schedules see Config.Listen; to pass on one that the primary has opened itself, Worker.SendHandle.
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

// ListenPacket is Listen for datagrams (udp, udp4 or udp6): each goes to one of the workers that read.
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

// Listening tells the primary that this worker accepts at an address: EventListening.
func (s *Self) Listening(addr net.Addr) error {
	return s.link.send(kindListening, []byte(addr.Network()+"\x00"+addr.String()))
}

// sharedListener is this worker's copy of a listening socket.
type sharedListener struct {
	net.Listener
	claim *claim
}

// Close closes the worker's copy.
func (l *sharedListener) Close() error { return l.claim.close() }

// sharedPacketConn is this worker's copy of a socket for datagrams.
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
	case <-s.done: // no answer comes any more
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

// key is what the primary knows the socket by.
func (c *claim) key() []byte {
	return append(binary.LittleEndian.AppendUint32(nil, c.index), c.name...)
}

// hold notes that the worker's copy is open; or closes it if the worker has left by now.
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
	_ = c.self.Listening(addr) // without a primary there is nobody to tell
	return nil
}

// close closes the worker's copy, once.
func (c *claim) close() error {
	err := net.ErrClosed
	c.once.Do(func() {
		err = c.end()
		c.release()
	})
	return err
}

// release tells the primary that this worker does not use the socket any more.
func (c *claim) release() {
	c.self.asked.free(c)
	_ = c.self.link.send(kindUnlisten, c.key()) // without a primary there is nobody to tell
}

// ask makes a request, and gives the claim the lowest index that is free.
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

// free gives the index of a claim back.
func (r *requests) free(c *claim) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.open, c)
	list := slices.DeleteFunc(r.taken[c.name], func(i uint32) bool { return i == c.index })
	if r.taken[c.name] = list; len(list) == 0 {
		delete(r.taken, c.name)
	}
}

// answer hands over what the primary has answered.
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
		ch <- answer{err: fmt.Errorf("cluster: listening socket: %w", syscall.EMFILE)} // the kernel has dropped it
	default:
		ch <- answer{fd: f.FDs[0]}
	}
}

// last is the answer to a request for which none comes any more.
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

// close closes all copies.
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

// listenError is why the primary could not open a socket.
type listenError struct {
	text  string
	errno syscall.Errno
}

// Error is the primary's own words.
func (e *listenError) Error() string { return "cluster: " + e.text }

// Unwrap is the number of the error, for errors.Is.
func (e *listenError) Unwrap() error {
	if e.errno == 0 {
		return nil
	}
	return e.errno
}
