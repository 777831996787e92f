package main

import (
	"bytes"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"golang.org/x/sys/unix"

	"github.com/expedite-go/expedite/ws"
)

// A message between machines has messageLen bytes: a mark, the topic, the number on that topic, filler and an end mark.
// None of them needs an escape in JSON.
const (
	messageLen = 256
	topicLen   = 8
	numberLen  = 10
	mark       = '#'
	endMark    = '$'
)

// patience is how long a crowd waits for anything.
const patience = 20 * time.Second

// topicName returns the name of a topic.
func topicName(n int) string { return fmt.Sprintf("%0*d", topicLen, n) }

// appendNumber appends n with leading zeros.
func appendNumber(b []byte, n uint64, digits int) []byte {
	for range digits {
		b = append(b, '0')
	}
	for i := len(b) - 1; n > 0; i-- {
		b[i] = byte('0' + n%10)
		n /= 10
	}
	return b
}

// parseNumber reads digits.
func parseNumber(b []byte) (n uint64) {
	for _, d := range b {
		n = n*10 + uint64(d-'0')
	}
	return n
}

// crowd is a set of publishers and subscribers on one event loop, which reads every message.
type crowd struct {
	dialect dialect
	epoll   int
	members []*member
	events  []unix.EpollEvent
	buf     []byte

	publishers  []*member
	topics      int // publisher p has the topics p, p+len(publishers) and so on
	subscribers int // of each topic
	sent        []uint64
	left        [][]uint16 // by topic, and by number modulo maxDepth: how many have not heard it. Nil if subscribers is 1

	paused                  bool
	deliveries, publication uint64
}

// member is a client.
type member struct {
	fd    int
	part  []byte   // of a frame
	first int      // of its topics
	heard []uint64 // the latest number on each
	next  int      // of a publisher: the topic of its next publication
	index int      // of a publisher
	due   int      // of a publisher: publications to send at the end of the turn
	out   []byte
}

func newCrowd(d dialect) (*crowd, error) {
	epoll, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	return &crowd{dialect: d, epoll: epoll, events: make([]unix.EpollEvent, 1024), buf: make([]byte, 512<<10)}, err
}

// dialers is the number of clients that connect at the same time.
const dialers = 8

// join connects n clients to a server. Client i subscribes to each topics from topic of(i) on, if each is not 0.
func (c *crowd) join(addr netip.AddrPort, n, each int, of func(i int) int) ([]*member, error) {
	list, failed := make([]*member, n), make(chan error, dialers)
	for first := range dialers {
		go func() { // ends when its clients have connected
			var err error
			for i := first; i < n && err == nil; i += dialers {
				list[i], err = c.connect(addr)
				if err == nil && each > 0 {
					err = c.subscribe(list[i], of(i), each)
				}
			}
			failed <- err
		}()
	}
	var errs []error
	for range dialers {
		errs = append(errs, <-failed)
	}
	for _, m := range list {
		if m != nil {
			c.members = append(c.members, m)
		}
	}
	return list, errors.Join(errs...)
}

func (c *crowd) connect(addr netip.AddrPort) (*member, error) {
	t, err := c.dialect.connect(addr)
	if err != nil {
		return nil, err
	}
	return &member{fd: t.fd, part: t.rest}, nil
}

// subscribe subscribes a client to topics, and waits for the answers.
func (c *crowd) subscribe(m *member, first, n int) error {
	m.first, m.heard = first, make([]uint64, n)
	t := &talk{fd: m.fd, rest: m.part}
	err := c.dialect.subscribe(t, first, n)
	m.part = t.rest
	return err
}

// start begins to read on the loop.
func (c *crowd) start(publishers []*member, topics, subscribers int) error {
	c.publishers, c.topics, c.subscribers = publishers, topics, subscribers
	c.sent = make([]uint64, topics)
	if subscribers > 1 {
		c.left = make([][]uint16, topics)
		for i := range c.left {
			c.left[i] = make([]uint16, maxDepth)
		}
	}
	for i, p := range publishers {
		p.index, p.next = i, i
	}
	for i, m := range c.members {
		if err := unix.SetNonblock(m.fd, true); err != nil {
			return err
		}
		ev := unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(i)}
		if err := unix.EpollCtl(c.epoll, unix.EPOLL_CTL_ADD, m.fd, &ev); err != nil {
			return err
		}
	}
	return nil
}

// begin makes each publisher publish, and once more whenever one of its publications has reached all subscribers.
func (c *crowd) begin(depth int) error {
	c.paused = false
	for _, p := range c.publishers {
		p.due += depth
	}
	return c.flush()
}

// flush sends what is due.
func (c *crowd) flush() error {
	for _, p := range c.publishers {
		if p.due == 0 {
			continue
		}
		p.out = p.out[:0]
		for ; p.due > 0; p.due-- {
			topic := p.next
			if p.next += len(c.publishers); p.next >= c.topics {
				p.next = p.index
			}
			c.sent[topic]++
			c.publication++
			if c.left != nil {
				c.left[topic][c.sent[topic]%maxDepth] = uint16(c.subscribers)
			}
			p.out = c.dialect.publish(p.out, topic, c.sent[topic])
		}
		if n, err := unix.Write(p.fd, p.out); err != nil || n != len(p.out) {
			return fmt.Errorf("publisher: wrote %d of %d: %w", n, len(p.out), err)
		}
	}
	return nil
}

// run reads for some time, or until done reports true.
func (c *crowd) run(length time.Duration, done func() bool) error {
	for end := time.Now().Add(length); time.Now().Before(end) && (done == nil || !done()); {
		n, err := unix.EpollWait(c.epoll, c.events, int(patience.Milliseconds()))
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil || n == 0 {
			return fmt.Errorf("nothing came for %v, after %d deliveries: %w", patience, c.deliveries, err)
		}
		for _, ev := range c.events[:n] {
			if err := c.read(c.members[ev.Fd]); err != nil {
				return err
			}
		}
		if err := c.flush(); err != nil {
			return err
		}
	}
	return nil
}

// settle stops publishing, waits for what is on its way, and checks that every subscriber has heard everything.
func (c *crowd) settle() error {
	c.paused = true
	all := func() bool { return c.deliveries == c.publication*uint64(c.subscribers) }
	if err := c.run(patience, all); err != nil {
		return err
	}
	for _, m := range c.members {
		for i, heard := range m.heard {
			if sent := c.sent[m.first+i]; heard != sent {
				return fmt.Errorf("topic %d: a subscriber has heard %d of %d", m.first+i, heard, sent)
			}
		}
	}
	if !all() {
		return fmt.Errorf("%d deliveries of %d publications to %d", c.deliveries, c.publication, c.subscribers)
	}
	return nil
}

// read takes what has come for a client.
func (c *crowd) read(m *member) error {
	k := copy(c.buf, m.part)
	n, err := unix.Read(m.fd, c.buf[k:])
	if err != nil || n <= 0 {
		return fmt.Errorf("a connection ended: %d, %w", n, err)
	}
	b := c.buf[:k+n]
	for {
		op, payload, size := cutFrame(b)
		if size == 0 {
			break
		}
		if err := c.take(m, op, payload); err != nil {
			return err
		}
		b = b[size:]
	}
	m.part = append(m.part[:0], b...)
	return nil
}

// cutFrame returns the first frame of a server. size is 0 if it is not complete.
func cutFrame(b []byte) (op ws.Opcode, payload []byte, size int) {
	if len(b) < 2 {
		return 0, nil, 0
	}
	head, n := 2, int(b[1])
	switch {
	case n == 126 && len(b) >= 4:
		head, n = 4, int(b[2])<<8|int(b[3])
	case n == 127 && len(b) >= 10:
		head, n = 10, int(b[6])<<24|int(b[7])<<16|int(b[8])<<8|int(b[9])
	case n >= 126:
		return 0, nil, 0
	}
	if len(b) < head+n {
		return 0, nil, 0
	}
	return ws.Opcode(b[0] & 0xf), b[head : head+n], head + n
}

// take takes a frame: messages, one or several, or something of the protocol.
func (c *crowd) take(m *member, op ws.Opcode, payload []byte) error {
	at := bytes.IndexByte(payload, mark)
	if at < 0 {
		answer, err := c.dialect.other(op, payload)
		if err == nil && answer != nil {
			_, err = unix.Write(m.fd, ws.AppendMaskedFrame(nil, ws.OpText, 1, answer))
		}
		return err
	}
	for ; at >= 0; at = bytes.IndexByte(payload, mark) {
		if len(payload) < at+messageLen || payload[at+messageLen-1] != endMark {
			return fmt.Errorf("not a whole message: %.300q", payload)
		}
		if err := c.deliver(m, payload[at+1:at+1+topicLen+numberLen]); err != nil {
			return err
		}
		payload = payload[at+messageLen:]
	}
	return nil
}

// deliver counts and checks one message.
func (c *crowd) deliver(m *member, head []byte) error {
	topic, number := int(parseNumber(head[:topicLen])), parseNumber(head[topicLen:])
	i := topic - m.first
	if i < 0 || i >= len(m.heard) {
		return fmt.Errorf("topic %d came to the subscriber of %d to %d", topic, m.first, m.first+len(m.heard))
	}
	if m.heard[i]++; m.heard[i] != number {
		return fmt.Errorf("topic %d: number %d came instead of %d", topic, number, m.heard[i])
	}
	c.deliveries++
	if c.left != nil {
		left := &c.left[topic][number%maxDepth]
		if *left--; *left > 0 {
			return nil
		}
	}
	if !c.paused {
		c.publishers[topic%len(c.publishers)].due++
	}
	return nil
}

func (c *crowd) close() {
	for _, m := range c.members {
		_ = unix.Close(m.fd)
	}
	_ = unix.Close(c.epoll)
}
