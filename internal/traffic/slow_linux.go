package traffic

import "syscall"

// narrow configures a socket before it connects to behave like a distant client: short segments and a small receive
// buffer. On loopback, segments of 64 KiB would let the server's send buffer take 2.5 MB at once, and the server would
// never queue anything itself.
func narrow(_, _ string, c syscall.RawConn) error {
	var err error
	if fault := c.Control(func(fd uintptr) {
		if err = syscall.SetsockoptInt(int(fd), syscall.IPPROTO_TCP, syscall.TCP_MAXSEG, slowSegment); err == nil {
			err = syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_RCVBUF, slowReceive)
		}
	}); fault != nil {
		return fault
	}
	return err
}
