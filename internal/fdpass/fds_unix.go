//go:build unix

package fdpass

import (
	"fmt"
	"io"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// oobSpace returns the size of the buffer for the descriptors of one system call.
func oobSpace() int { return unix.CmsgSpace(MaxFDs * 4) }

// Pair returns the two ends of a new socketpair, one for each of two Conns. One of them may be passed to a child
// process.
func Pair() (a, b *os.File, err error) {
	// A child that is forked between the two calls would inherit an end. The other end would then not see an EOF when
	// its owner dies.
	syscall.ForkLock.RLock()
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM, 0)
	if err == nil {
		unix.CloseOnExec(fds[0])
		unix.CloseOnExec(fds[1])
	}
	syscall.ForkLock.RUnlock()
	if err != nil {
		return nil, nil, fmt.Errorf("fdpass: %w", os.NewSyscallError("socketpair", err))
	}
	for _, fd := range fds {
		if err := unix.SetNonblock(fd, true); err != nil {
			_ = unix.Close(fds[0])
			_ = unix.Close(fds[1])
			return nil, nil, fmt.Errorf("fdpass: %w", err)
		}
	}
	return os.NewFile(uintptr(fds[0]), "socketpair"), os.NewFile(uintptr(fds[1]), "socketpair"), nil
}

// receive reads bytes and the descriptors sent with them, which package net makes close-on-exec. lost is set if the
// kernel has dropped some.
func (c *Conn) receive(b []byte) (n int, fds []int, lost bool, err error) {
	n, oobn, flags, _, err := c.uc.ReadMsgUnix(b, c.oob)
	if oobn > 0 {
		msgs, perr := unix.ParseSocketControlMessage(c.oob[:oobn])
		if perr != nil {
			return n, nil, false, fmt.Errorf("fdpass: %w", perr)
		}
		for i := range msgs {
			got, perr := unix.ParseUnixRights(&msgs[i])
			if perr != nil {
				continue // not descriptors but credentials
			}
			fds = append(fds, got...)
		}
	}
	lost = flags&unix.MSG_CTRUNC != 0
	switch {
	case err != nil:
		return n, fds, lost, err
	case n == 0:
		return 0, fds, lost, io.EOF
	default:
		return n, fds, lost, nil
	}
}

func (c *Conn) send(b []byte, fds []int) (int, error) {
	n, _, err := c.uc.WriteMsgUnix(b, unix.UnixRights(fds...), nil)
	return n, err
}

func closeAll(fds []int) {
	for _, fd := range fds {
		_ = unix.Close(fd)
	}
}
