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

	script   [][]byte // if set, these are sent instead of batch, and replies are parsed
	received int      // bytes
}

type loadConn struct {
	fd    int
	part  int  // bytes received of an incomplete reply
	talks bool // answers each reply with the next message
	next  int  // index in load.script
	reply reply
}

// newLoad opens n connections.
func newLoad(addr netip.AddrPort, path string, n int) (*load, error) {
	epoll, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, err
	}
	l := &load{epoll: epoll, events: make([]unix.EpollEvent, 1024), buf: make([]byte, 256<<10)}
	message := bytes.Repeat([]byte("x"), payloadLen)
	for range maxDepth {
		l.batch = ws.AppendMaskedFrame(l.batch, ws.OpText, 0x12345678, message)
	}
	l.frame = len(l.batch) / maxDepth
	for i := range n {
		fd, err := dial(addr, path)
		if err != nil {
			l.close()
			return nil, fmt.Errorf("connection %d: %w", i, err)
		}
		l.conns = append(l.conns, loadConn{fd: fd})
		ev := unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(i)}
		if err := unix.EpollCtl(epoll, unix.EPOLL_CTL_ADD, fd, &ev); err != nil {
			l.close()
			return nil, err
		}
	}
	return l, nil
}

// dial opens a connection and performs the opening handshake.
func dial(addr netip.AddrPort, path string) (fd int, err error) {
	return dialFrom(netip.IPv4Unspecified(), addr, path)
}

// dialFrom is like dial with a given source address. An offer of extensions may follow the path, after a zero byte.
func dialFrom(source netip.Addr, addr netip.AddrPort, path string) (fd int, err error) {
	if fd, err = connect(source, addr); err != nil {
		return -1, err
	}
	rest, err := upgrade(fd, addr, path)
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
func upgrade(fd int, addr netip.AddrPort, path string) (rest []byte, err error) {
	path, offer, compressed := strings.Cut(path, "\x00")
	if compressed {
		offer = "Sec-WebSocket-Extensions: " + offer + "\r\n"
	}
	request := "GET " + path + " HTTP/1.1\r\nHost: " + addr.String() + "\r\nUpgrade: websocket\r\n" +
		"Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n" + offer + "\r\n"
	if _, err := unix.Write(fd, []byte(request)); err != nil {
		return nil, err
	}
	answer, whole := make([]byte, 0, 4096), false
	for !whole {
		n, err := unix.Read(fd, answer[len(answer):cap(answer)])
		if errors.Is(err, unix.EINTR) { // a limit of time ends restarts by the kernel
			continue
		}
		if err != nil || n <= 0 {
			return nil, fmt.Errorf("handshake: %q, %w", answer, err)
		}
		answer = answer[:len(answer)+n]
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
		if w, err := unix.Write(c.fd, frame); err != nil || w != len(frame) {
			return fmt.Errorf("wrote %d of %d: %w", w, len(frame), err)
		}
	}
	for n > 0 {
		k := min(n, maxDepth)
		if w, err := unix.Write(c.fd, l.batch[:k*l.frame]); err != nil || w != k*l.frame {
			return fmt.Errorf("wrote %d of %d: %w", w, k*l.frame, err)
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
			got, err := unix.Read(c.fd, l.buf)
			if err != nil || got == 0 {
				return replies, fmt.Errorf("connection %d ended: %w", ev.Fd, err)
			}
			whole := (c.part + got) / replyLen
			c.part = (c.part + got) % replyLen
			if l.received += got; l.script != nil {
				whole = c.reply.count(l.buf[:got])
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
		_ = unix.Close(c.fd)
	}
	_ = unix.Close(l.epoll)
}
