package main

import (
	"bytes"
	"crypto/sha1"
	"encoding/base64"
	"fmt"
	"net/netip"
	"runtime"
	"strconv"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/expedite-go/expedite/ws"
)

// bare is the least that such a server can be: one loop that makes system calls. It checks nothing, handles no error
// and closes nothing. A turn has one write to Redis, and one to each subscriber.
type bare struct {
	epoll, publish, listen int // descriptors; the latter two are connections to Redis
	commands, wants        []byte
	unparsed               []byte
	topics                 map[string][]*bareConn
	conns                  map[int32]*bareConn
	arrivals               chan int
	dirty                  []*bareConn
	buf                    []byte
}

// bareConn is a client.
type bareConn struct {
	fd  int
	out []byte
}

func rawRead(fd int, b []byte) int {
	n, _, errno := unix.RawSyscall6(unix.SYS_RECVFROM, uintptr(fd), uintptr(unsafe.Pointer(&b[0])), uintptr(len(b)),
		unix.MSG_DONTWAIT, 0, 0)
	if errno != 0 {
		return -1
	}
	return int(n)
}

func rawWrite(fd int, b []byte) {
	for len(b) > 0 {
		n, _, errno := unix.RawSyscall6(unix.SYS_SENDTO, uintptr(fd), uintptr(unsafe.Pointer(&b[0])), uintptr(len(b)),
			unix.MSG_NOSIGNAL, 0, 0)
		if errno != 0 {
			return
		}
		b = b[n:]
	}
}

func acceptKey(key string) string {
	sum := sha1.Sum([]byte(key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"))
	return base64.StdEncoding.EncodeToString(sum[:])
}

func dialRaw(addr string) (int, error) {
	to, err := netip.ParseAddrPort(addr)
	if err != nil {
		return 0, err
	}
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return 0, err
	}
	_ = unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1)
	return fd, unix.Connect(fd, &unix.SockaddrInet4{Port: int(to.Port()), Addr: to.Addr().As4()})
}

// serveBare runs a bare server.
func serveBare(url string) (err error) {
	runtime.GOMAXPROCS(2) // the loop never tells the scheduler that it waits
	s := &bare{topics: make(map[string][]*bareConn), conns: make(map[int32]*bareConn), buf: make([]byte, 512<<10)}
	if s.epoll, err = unix.EpollCreate1(unix.EPOLL_CLOEXEC); err != nil {
		return err
	}
	addr := strings.TrimPrefix(url, "redis://")
	if s.publish, err = dialRaw(addr); err != nil {
		return err
	}
	if s.listen, err = dialRaw(addr); err != nil {
		return err
	}
	s.add(s.publish)
	s.add(s.listen)
	ln, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	if err := unix.Bind(ln, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		return err
	}
	if err := unix.Listen(ln, 1024); err != nil {
		return err
	}
	name, err := unix.Getsockname(ln)
	if err != nil {
		return err
	}
	fmt.Printf("127.0.0.1:%d\n", name.(*unix.SockaddrInet4).Port)
	go s.accept(ln) // ends with the process
	ended := make(chan struct{})
	untilInputEnds(func() { close(ended) })
	go func() { // ends with the process
		runtime.LockOSThread()
		for {
			s.turn()
		}
	}()
	<-ended
	return nil
}

func (s *bare) add(fd int) {
	ev := unix.EpollEvent{Events: unix.EPOLLIN | unix.EPOLLET, Fd: int32(fd)}
	_ = unix.EpollCtl(s.epoll, unix.EPOLL_CTL_ADD, fd, &ev)
}

func (s *bare) accept(ln int) {
	for {
		fd, _, err := unix.Accept4(ln, unix.SOCK_CLOEXEC)
		if err != nil {
			continue
		}
		_ = unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1)
		var head []byte
		b := make([]byte, 4096)
		for !bytes.HasSuffix(head, []byte("\r\n\r\n")) {
			n, err := unix.Read(fd, b)
			if err != nil || n == 0 {
				break
			}
			head = append(head, b[:n]...)
		}
		key := ""
		for line := range strings.Lines(string(head)) {
			if k, v, ok := strings.Cut(line, ":"); ok && strings.EqualFold(k, "sec-websocket-key") {
				key = strings.TrimSpace(v)
			}
		}
		answer := "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: " +
			acceptKey(key) + "\r\n\r\n"
		_, _ = unix.Write(fd, []byte(answer))
		s.add(fd)
	}
}

func (s *bare) turn() {
	var events [1024]unix.EpollEvent
	n, _, errno := unix.RawSyscall6(unix.SYS_EPOLL_PWAIT, uintptr(s.epoll), uintptr(unsafe.Pointer(&events[0])),
		uintptr(len(events)), ^uintptr(0), 0, 0)
	if errno != 0 {
		return
	}
	for _, ev := range events[:n] {
		switch fd := int(ev.Fd); fd {
		case s.publish:
			for rawRead(fd, s.buf) == len(s.buf) {
			}
		case s.listen:
			for {
				n := rawRead(fd, s.buf)
				if n > 0 {
					s.hear(s.buf[:n])
				}
				if n < len(s.buf) {
					break
				}
			}
		default:
			s.read(fd)
		}
	}
	rawWrite(s.publish, s.commands)
	rawWrite(s.listen, s.wants)
	s.commands, s.wants = s.commands[:0], s.wants[:0]
	for _, c := range s.dirty {
		rawWrite(c.fd, c.out)
		c.out = c.out[:0]
	}
	s.dirty = s.dirty[:0]
}

func (s *bare) send(c *bareConn, frame []byte) {
	if len(c.out) == 0 {
		s.dirty = append(s.dirty, c)
	}
	c.out = append(c.out, frame...)
}

func (s *bare) read(fd int) {
	c := s.conns[int32(fd)]
	if c == nil {
		c = &bareConn{fd: fd}
		s.conns[int32(fd)] = c
	}
	n := rawRead(fd, s.buf)
	for b := s.buf[:max(n, 0)]; len(b) > 0; {
		head, size := 2, int(b[1]&0x7f)
		if size == 126 {
			head, size = 4, int(b[2])<<8|int(b[3])
		}
		key, payload := b[head:head+4], b[head+4:head+4+size]
		for i := range payload {
			payload[i] ^= key[i&3]
		}
		b = b[head+4+size:]
		if payload[0] != '+' {
			s.commands = append(s.commands, "*3\r\n$7\r\nPUBLISH\r\n$8\r\n"...)
			s.commands = append(s.commands, payload[1:1+topicLen]...)
			s.commands = append(s.commands, "\r\n$"...)
			s.commands = strconv.AppendInt(s.commands, int64(len(payload)), 10)
			s.commands = append(s.commands, "\r\n"...)
			s.commands = append(s.commands, payload...)
			s.commands = append(s.commands, "\r\n"...)
			continue
		}
		first, n := parseTopics(string(payload[1:]))
		for i := range n {
			name := topicName(first + i)
			if s.topics[name] == nil {
				s.wants = append(s.wants, resp("SUBSCRIBE", name)...)
			}
			s.topics[name] = append(s.topics[name], c)
		}
		s.send(c, ws.AppendFrame(nil, ws.OpText, []byte("ok")))
	}
}

// hear takes what came from Redis.
func (s *bare) hear(b []byte) {
	if len(s.unparsed) > 0 {
		b = append(s.unparsed, b...)
	}
	var frame []byte
	for {
		kind, rest, ok := bareItem(b)
		topic, rest, ok1 := bareItem(rest)
		payload, rest, ok2 := bareItem(rest)
		if !ok || !ok1 || !ok2 {
			break
		}
		b = rest
		if string(kind) != "message" {
			continue
		}
		frame = ws.AppendFrame(frame[:0], ws.OpText, payload)
		for _, c := range s.topics[string(topic)] {
			s.send(c, frame)
		}
	}
	s.unparsed = append(s.unparsed[:0:0], b...)
}

// bareItem returns the first string or number, after the beginning of a list if there is one.
func bareItem(b []byte) (item, rest []byte, ok bool) {
	if len(b) > 0 && b[0] == '*' {
		i := bytes.IndexByte(b, '\n')
		if i < 0 {
			return nil, nil, false
		}
		b = b[i+1:]
	}
	i := bytes.IndexByte(b, '\n')
	if i < 0 {
		return nil, nil, false
	}
	if b[0] == ':' {
		return nil, b[i+1:], true
	}
	n := int(parseNumber(b[1 : i-1]))
	if len(b) < i+1+n+2 {
		return nil, nil, false
	}
	return b[i+1 : i+1+n], b[i+1+n+2:], true
}
