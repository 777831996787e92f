package cluster

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"os"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/expedite-go/expedite/internal/fdpass"
)

// piece is what one system call writes.
type piece struct {
	b   []byte
	fds []int
}

// stream returns the bytes of some frames, with and without descriptors. A frame with descriptors begins a system call.
func stream(t *testing.T) (want []fdpass.Frame, pieces []piece) {
	t.Helper()
	for i, n := range []int{0, 1, 2, 0, 3, 1} {
		payload := bytes.Repeat([]byte{byte('a' + i)}, i*3%8)
		p := piece{b: fdpass.AppendFrame(nil, byte(i+1), n, payload)}
		for range n {
			fd, err := unix.Eventfd(0, unix.EFD_CLOEXEC)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { closeFD(fd) })
			p.fds = append(p.fds, fd)
		}
		want = append(want, fdpass.Frame{Kind: byte(i + 1), Payload: payload, FDs: p.fds})
		pieces = append(pieces, p)
	}
	return want, pieces
}

// inodeOf identifies the file of a descriptor.
func inodeOf(fd int) string {
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return err.Error()
	}
	name, _ := os.Readlink(fmt.Sprintf("/proc/self/fd/%d", fd))
	return fmt.Sprint(st.Dev, " ", st.Ino, " ", name)
}

// sendPart writes a range of the bytes, with the descriptors of frames that begin in it.
func sendPart(t *testing.T, c *fdpass.Conn, pieces []piece, from, to int) {
	t.Helper()
	at := 0
	for _, p := range pieces {
		begin, end := max(from-at, 0), min(to-at, len(p.b))
		at += len(p.b)
		if begin >= end {
			continue
		}
		var err error
		if begin == 0 && p.fds != nil {
			err = c.WriteFDs(p.b[:end], p.fds)
		} else {
			err = c.Write(p.b[begin:end])
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

// readSome reads frames until there are no more, or the connection is paused.
func readSome(t *testing.T, c *fdpass.Conn, most int) (list []fdpass.Frame) {
	t.Helper()
	for len(list) < most {
		f, err := c.Read()
		if errors.Is(err, os.ErrDeadlineExceeded) {
			return list
		}
		if err != nil {
			t.Fatalf("after %d frames: %v", len(list), err)
		}
		f.Payload = bytes.Clone(f.Payload)
		list = append(list, f)
	}
	return list
}

// successor returns a connection that continues where c, which is paused, has stopped, as another program would.
func successor(t *testing.T, c *fdpass.Conn) *fdpass.Conn {
	t.Helper()
	fd, err := duplicate(linkHandle{&link{conn: c}})
	if err != nil {
		t.Fatal(err)
	}
	rest, lists := c.Rest()
	var copies [][]int
	for _, list := range lists {
		var c []int
		for _, fd := range list {
			n, err := dupFD(fd)
			if err != nil {
				t.Fatal(err)
			}
			closeFD(fd) // the previous program ends
			c = append(c, n)
		}
		copies = append(copies, c)
	}
	next, err := fdpass.NewConn(os.NewFile(uintptr(fd), "next"), maxFrame)
	if err != nil {
		t.Fatal(err)
	}
	next.Restore(bytes.Clone(rest), copies)
	_ = c.Close()
	return next
}

// A connection that is paused after any number of bytes and continued by another one loses nothing.
func TestRestAtEveryByte(t *testing.T) {
	want, pieces := stream(t)
	length := 0
	for _, p := range pieces {
		length += len(p.b)
	}
	for cut := range length + 1 {
		for _, resume := range []bool{false, true} {
			judgeRest(t, want, pieces, cut, resume)
		}
	}
}

func judgeRest(t *testing.T, want []fdpass.Frame, pieces []piece, cut int, resume bool) {
	t.Helper()
	before := openFDs(t, os.Getpid())
	fa, fb, err := fdpass.Pair()
	if err != nil {
		t.Fatal(err)
	}
	a, err := fdpass.NewConn(fa, maxFrame)
	if err != nil {
		t.Fatal(err)
	}
	b, err := fdpass.NewConn(fb, maxFrame)
	if err != nil {
		t.Fatal(err)
	}
	sendPart(t, a, pieces, 0, cut)
	// A deadline that has passed ends a Read before it reads: first read what has arrived, as under load.
	raw, _ := b.SyscallConn()
	got := make(chan []fdpass.Frame, 1)
	go func() { got <- readSome(t, b, len(want)) }() // ends with Pause, or when everything is read
	waitEmpty(t, raw)
	if err := b.Pause(); err != nil {
		t.Fatal(err)
	}
	list := <-got
	if resume { // the exec has failed
		if err := b.Resume(); err != nil {
			t.Fatal(err)
		}
	} else {
		b = successor(t, b)
	}
	sendPart(t, a, pieces, cut, math.MaxInt)
	list = append(list, readSome(t, b, len(want)-len(list))...)
	for i, f := range list {
		w := want[i]
		if f.Kind != w.Kind || !bytes.Equal(f.Payload, w.Payload) || len(f.FDs) != len(w.FDs) || f.Lost != 0 {
			t.Fatalf("cut at %d, resume %t: frame %d is %+v, want %+v", cut, resume, i, f, w)
		}
		for j, fd := range f.FDs {
			if inodeOf(fd) != inodeOf(w.FDs[j]) {
				t.Errorf("cut at %d: descriptor %d of frame %d is another", cut, j, i)
			}
		}
		closeFDs(f.FDs)
	}
	_, _ = a.Close(), b.Close()
	if after := openFDs(t, os.Getpid()); after > before { // less if a test before ends late
		t.Errorf("cut at %d, resume %t: %d descriptors are open, %d were", cut, resume, after, before)
	}
}

// waitEmpty waits until everything that was sent to a socket is read.
func waitEmpty(t *testing.T, raw interface{ Control(func(uintptr)) error }) {
	t.Helper()
	limit := time.After(patience)
	for {
		n := -1
		_ = raw.Control(func(fd uintptr) { n, _ = unix.IoctlGetInt(int(fd), unix.TIOCINQ) })
		if n == 0 {
			return
		}
		select {
		case <-limit:
			t.Fatal("what was sent is not read")
		default:
		}
	}
}

// A link can pause between two frames and continue with the next, any number of times.
func TestLinkPauses(t *testing.T) {
	fa, fb, err := fdpass.Pair()
	if err != nil {
		t.Fatal(err)
	}
	links := make([]*link, 2)
	for i, f := range []*os.File{fa, fb} {
		c, err := fdpass.NewConn(f, maxFrame)
		if err != nil {
			t.Fatal(err)
		}
		links[i] = newLink(c, defaultQueueLimit)
		defer links[i].close()
	}
	a, b := links[0], links[1]
	got := make(chan string, 1000)
	end := make(chan error, 1)
	go func() { // ends with finish
		end <- b.read(func(f fdpass.Frame) { got <- string(f.Payload) })
	}()
	for i := range 50 {
		if err := a.send(kindMessage, fmt.Append(nil, 2*i)); err != nil {
			t.Fatal(err)
		}
		if !b.pause() {
			t.Fatal("it does not pause")
		}
		before := len(got)
		if err := a.send(kindMessage, fmt.Append(nil, 2*i+1)); err != nil {
			t.Fatal(err)
		}
		eventually(t, "the frame has left", a.idle)
		if after := len(got); after != before {
			t.Fatalf("%d frames were read while the link rested", after-before)
		}
		b.resume()
	}
	a.finish()
	if err := <-end; err != nil {
		t.Error(err)
	}
	for i := range 100 {
		if s := <-got; s != fmt.Sprint(i) {
			t.Fatalf("frame %d is %s", i, s)
		}
	}
	if b.pause() {
		t.Error("a link that has ended pauses")
	}
}
