package main

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// perSource is the number of connections per source address. A machine has some 28,000 ports for each pair of
// addresses.
const perSource = 5000

// clients holds idle connections and watches them. It is the state of a client process.
type clients struct {
	epoll int
	got   []int // bytes received per connection; -1 means lost
	buf   []byte
	any   bool // whatever comes is a message, and is counted once
}

// clientCount is a client process's answer: got counts the connections that received exactly one message, lost those
// that ended or received anything else. Of clients that were given a path, got counts those that received anything
// since the count before, and lost those that ended.
type clientCount struct{ got, lost int }

// runClients opens idle connections. args holds the server's address, the number of connections and the number of the
// first one, which determines the source addresses, and maybe a path. Each line on standard input requests the count.
func runClients(args []string) error {
	if len(args) != 3 && len(args) != 4 {
		return fmt.Errorf("handoff-clients %q: want an address, two numbers, and maybe a path", args)
	}
	path := append(args, "/idle")[3]
	addr, err := netip.ParseAddrPort(args[0])
	if err != nil {
		return err
	}
	n, err1 := strconv.Atoi(args[1])
	first, err2 := strconv.Atoi(args[2])
	if err := errors.Join(err1, err2); err != nil {
		return err
	}
	c := &clients{got: make([]int, n), buf: make([]byte, 64<<10), any: len(args) == 4}
	if c.epoll, err = unix.EpollCreate1(unix.EPOLL_CLOEXEC); err != nil {
		return err
	}
	if err := c.watch(int(os.Stdin.Fd()), -1); err != nil {
		return err
	}
	wires, secure := make([]wire, n), handoffTLS().Cert != nil
	for i := range n {
		source := netip.AddrFrom4([4]byte{127, 0, 0, byte(2 + (first+i)/perSource)})
		if wires[i], err = dialWire(source, addr, path, secure); err != nil {
			return fmt.Errorf("idle connection %d: %w", first+i, err)
		}
		if err := c.watch(wires[i].fd, i); err != nil {
			return err
		}
	}
	fmt.Println("open")
	return c.run(wires)
}

func (c *clients) watch(fd, number int) error {
	return unix.EpollCtl(c.epoll, unix.EPOLL_CTL_ADD, fd, &unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(number)})
}

// run counts received bytes until standard input ends.
func (c *clients) run(wires []wire) error {
	events := make([]unix.EpollEvent, 1024)
	for {
		n, err := unix.EpollWait(c.epoll, events, -1)
		if err != nil && !errors.Is(err, unix.EINTR) {
			return err
		}
		for _, ev := range events[:max(n, 0)] {
			if ev.Fd >= 0 {
				c.read(&wires[ev.Fd], int(ev.Fd))
				continue
			}
			if n, err := unix.Read(int(os.Stdin.Fd()), c.buf); err != nil || n == 0 {
				return err
			}
			count := c.count()
			fmt.Println(count.got, count.lost)
		}
	}
}

func (c *clients) read(w *wire, number int) {
	b, err := w.read(c.buf)
	if err == nil {
		c.got[number] += len(b)
		return
	}
	if !errors.Is(err, unix.EAGAIN) {
		c.got[number] = -1
		w.close()
	}
}

func (c *clients) count() (n clientCount) {
	for i, got := range c.got {
		if c.any && got > 0 {
			c.got[i], got = 0, replyLen
		}
		switch got {
		case replyLen:
			n.got++
		case 0:
		default:
			n.lost++
		}
	}
	return n
}

// ask requests the count of a client process.
func (c *child) ask() (n clientCount, err error) {
	if _, err := c.in.Write([]byte("count\n")); err != nil {
		return n, err
	}
	line, err := c.out.ReadString('\n')
	if err != nil {
		return n, err
	}
	_, err = fmt.Sscan(strings.TrimSpace(line), &n.got, &n.lost)
	return n, err
}
