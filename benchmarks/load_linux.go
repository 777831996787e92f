package main

import (
	"bytes"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/expedite-go/expedite/ws"
)

const (
	payloadLen = 20
	replyLen   = 2 + payloadLen // length of the server's frame with such a payload
	maxDepth   = 64
)

// load is the client side: one event loop. To cost little, it relies on the known length of each reply and does not
// parse it.
type load struct {
	epoll  int
	conns  []loadConn
	events []unix.EpollEvent
	buf    []byte
	batch  []byte // maxDepth masked frames in a row
	frame  int    // length of one frame of batch
	answer int    // length of one reply
	sealed []byte // room for records

	script   [][]byte // if set, these are sent instead of batch, and replies are parsed
	received int      // bytes
}

type loadConn struct {
	wire
	begun int  // bytes received of an incomplete reply
	talks bool // answers each reply with the next message
	next  int  // index in load.script
	reply reply
}

// newLoad opens n connections, for messages of 20 bytes.
func newLoad(addr netip.AddrPort, path string, n int) (*load, error) {
	return newShaped(addr, path, n, shape{size: payloadLen})
}

// shape is what a load sends, and how.
type shape struct {
	size int // bytes of a message
	tls  bool
}

func newShaped(addr netip.AddrPort, path string, n int, s shape) (*load, error) {
	epoll, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, err
	}
	l := &load{epoll: epoll, events: make([]unix.EpollEvent, 1024), buf: make([]byte, 256<<10)}
	message := bytes.Repeat([]byte("x"), s.size)
	for range maxDepth {
		l.batch = ws.AppendMaskedFrame(l.batch, ws.OpText, 0x12345678, message)
	}
	l.frame = len(l.batch) / maxDepth
	l.answer = l.frame - 4 // without the key of the mask
	l.sealed = make([]byte, 0, 2*len(l.batch))
	for i := range n {
		w, err := dialWire(netip.IPv4Unspecified(), addr, path, s.tls)
		if err != nil {
			l.close()
			return nil, fmt.Errorf("connection %d: %w", i, err)
		}
		l.conns = append(l.conns, loadConn{wire: w})
		ev := unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(i)}
		if err := unix.EpollCtl(epoll, unix.EPOLL_CTL_ADD, w.fd, &ev); err != nil {
			l.close()
			return nil, err
		}
	}
	return l, nil
}

// dialFrom opens a connection from a source address and performs the opening handshake. An offer of extensions may
// follow the path, after a zero byte.
func dialFrom(source netip.Addr, addr netip.AddrPort, path string) (fd int, err error) {
	if fd, err = connect(source, addr); err != nil {
		return -1, err
	}
	rest, err := upgrade(&wire{fd: fd}, addr, path)
	if err == nil && len(rest) > 0 {
		err = fmt.Errorf("%q after the handshake", rest)
	}
	if err == nil {
		err = unix.SetNonblock(fd, true)
	}
	if err != nil {
		_ = unix.Close(fd)
		return -1, err
	}
	return fd, nil
}

// connect opens a TCP connection, whose descriptor blocks.
func connect(source netip.Addr, addr netip.AddrPort) (fd int, err error) {
	fd, err = unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, err
	}
	defer func() {
		if err != nil {
			_ = unix.Close(fd)
		}
	}()
	// With this option the kernel picks the port at connect, when both addresses are known, so ports are unique only
	// per pair of addresses.
	if err := unix.SetsockoptInt(fd, unix.SOL_IP, unix.IP_BIND_ADDRESS_NO_PORT, 1); err != nil {
		return -1, err
	}
	if err := unix.Bind(fd, &unix.SockaddrInet4{Addr: source.As4()}); err != nil {
		return -1, err
	}
	if err := unix.Connect(fd, &unix.SockaddrInet4{Addr: addr.Addr().As4(), Port: int(addr.Port())}); err != nil {
		return -1, err
	}
	_ = unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1)
	return fd, nil
}

// upgrade performs the opening handshake, and returns what the server has sent after its response.
func upgrade(w *wire, addr netip.AddrPort, path string) (rest []byte, err error) {
	path, offer, compressed := strings.Cut(path, "\x00")
	if compressed {
		offer = "Sec-WebSocket-Extensions: " + offer + "\r\n"
	}
	request := "GET " + path + " HTTP/1.1\r\nHost: " + addr.String() + "\r\nUpgrade: websocket\r\n" +
		"Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n" + offer + "\r\n"
	buf := make([]byte, 4096)
	if err := w.write([]byte(request), buf); err != nil {
		return nil, err
	}
	var answer []byte
	for whole := false; !whole; {
		b, err := w.read(buf)
		if errors.Is(err, unix.EINTR) { // a limit of time ends restarts by the kernel
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("handshake: %q, %w", answer, err)
		}
		answer = append(answer, b...)
		_, rest, whole = bytes.Cut(answer, []byte("\r\n\r\n"))
	}
	if !bytes.HasPrefix(answer, []byte("HTTP/1.1 101 ")) {
		return nil, fmt.Errorf("handshake: %q", answer)
	}
	if compressed && !bytes.Contains(answer, []byte("permessage-deflate")) {
		return nil, fmt.Errorf("handshake without compression: %q", answer)
	}
	return rest, nil
}

// begin sends the first depth messages on each of the first n connections.
func (l *load) begin(n, depth int) error {
	for i := range n {
		l.conns[i].talks = true
		if err := l.send(&l.conns[i], depth); err != nil {
			return err
		}
	}
	return nil
}

func (l *load) send(c *loadConn, n int) error {
	for ; n > 0 && l.script != nil; n-- {
		frame := l.script[c.next%len(l.script)]
		c.next++
		if err := c.write(frame, l.sealed); err != nil {
			return err
		}
	}
	for n > 0 {
		k := min(n, maxDepth)
		if err := c.write(l.batch[:k*l.frame], l.sealed); err != nil {
			return err
		}
		n -= k
	}
	return nil
}

// run answers each reply with the next message for the given time, and returns the number of replies.
func (l *load) run(length time.Duration) (replies int, err error) {
	for end := time.Now().Add(length); time.Now().Before(end); {
		n, err := unix.EpollWait(l.epoll, l.events, 1000)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil || n == 0 {
			return replies, fmt.Errorf("no reply for a second: %w", err)
		}
		for _, ev := range l.events[:n] {
			c := &l.conns[ev.Fd]
			got, err := c.read(l.buf)
			if err != nil {
				return replies, fmt.Errorf("connection %d ended: %w", ev.Fd, err)
			}
			whole := (c.begun + len(got)) / l.answer
			c.begun = (c.begun + len(got)) % l.answer
			if l.received += len(got); l.script != nil {
				whole = c.reply.count(got)
			}
			replies += whole
			if c.talks {
				if err := l.send(c, whole); err != nil {
					return replies, err
				}
			}
		}
	}
	return replies, nil
}

func (l *load) close() {
	for _, c := range l.conns {
		c.close()
	}
	_ = unix.Close(l.epoll)
}
