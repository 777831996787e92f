package cluster

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Supported reports whether this platform has worker processes.
const Supported = true

// processAttributes puts a worker into a process group of its own, so that signals from a terminal reach the primary
// only, which decides what the workers do.
func processAttributes(c *Credential) *syscall.SysProcAttr {
	a := &syscall.SysProcAttr{Setpgid: true}
	if c != nil {
		a.Credential = &syscall.Credential{Uid: c.UID, Gid: c.GID, Groups: c.Groups}
	}
	return a
}

// reusePort sets SO_REUSEPORT, so that several sockets can listen on one port.
func reusePort(_, _ string, c syscall.RawConn) error {
	var optErr error
	err := c.Control(func(fd uintptr) {
		optErr = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_REUSEPORT, 1)
	})
	return errors.Join(err, optErr)
}

// acceptBatch blocks until a connection can be accepted, and accepts up to max of them. The sockets are non-blocking
// and close-on-exec. It returns an error when the deadline of ln has passed or ln is closed.
func acceptBatch(ln *os.File, max int) (fds []int, err error) {
	raw, err := ln.SyscallConn()
	if err != nil {
		return nil, err
	}
	var acceptErr error
	err = raw.Read(func(s uintptr) bool {
		fds, acceptErr = acceptSome(int(s), max)
		return len(fds) > 0 || acceptErr != nil
	})
	return fds, errors.Join(err, acceptErr)
}

// acceptNow is acceptBatch without waiting.
func acceptNow(ln *os.File, max int) (fds []int, err error) {
	raw, err := ln.SyscallConn()
	if err != nil {
		return nil, err
	}
	var acceptErr error
	err = raw.Control(func(s uintptr) { fds, acceptErr = acceptSome(int(s), max) })
	return fds, errors.Join(err, acceptErr)
}

// acceptSome accepts the connections that wait, at most max.
func acceptSome(ln, max int) (fds []int, err error) {
	for len(fds) < max {
		fd, _, err := unix.Accept4(ln, unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC)
		switch {
		case err == nil:
			fds = append(fds, fd)
		case errors.Is(err, unix.EINTR), errors.Is(err, unix.ECONNABORTED):
		case errors.Is(err, unix.EAGAIN):
			return fds, nil
		default:
			return fds, err
		}
	}
	return fds, nil
}

// dupFD returns a duplicate of fd, close-on-exec.
func dupFD(fd int) (int, error) {
	n, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0)
	return n, os.NewSyscallError("fcntl", err)
}

func closeFD(fd int) { _ = unix.Close(fd) }

// areSockets reports whether all descriptors are sockets.
func areSockets(fds []int) bool {
	for _, fd := range fds {
		if _, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_TYPE); err != nil {
			return false
		}
	}
	return true
}

// rawHandle is a Handle for a descriptor, which duplicate can copy.
type rawHandle int

// Close does nothing.
func (rawHandle) Close() error { return nil }

// SyscallConn returns h, which implements syscall.RawConn as far as duplicate needs it.
func (h rawHandle) SyscallConn() (syscall.RawConn, error) { return h, nil }

// Control calls f with the descriptor.
func (h rawHandle) Control(f func(fd uintptr)) error { f(uintptr(h)); return nil }

// Read is not supported.
func (rawHandle) Read(func(fd uintptr) bool) error { return errors.ErrUnsupported }

// Write is not supported.
func (rawHandle) Write(func(fd uintptr) bool) error { return errors.ErrUnsupported }

// sealed returns a memory file with the content b that cannot be changed any more.
func sealed(b []byte) (*os.File, error) {
	fd, err := unix.MemfdCreate("expedite", unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING)
	if err != nil {
		return nil, os.NewSyscallError("memfd_create", err)
	}
	f := os.NewFile(uintptr(fd), "memfd")
	_, err = f.Write(b)
	if err == nil {
		_, err = unix.FcntlInt(uintptr(fd), unix.F_ADD_SEALS,
			unix.F_SEAL_SHRINK|unix.F_SEAL_GROW|unix.F_SEAL_WRITE|unix.F_SEAL_SEAL)
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// readSealed reads a file made by sealed, and closes it. It returns an error if the file could have been changed.
func readSealed(fd int) ([]byte, error) {
	f := os.NewFile(uintptr(fd), "memfd")
	if f == nil {
		return nil, os.ErrInvalid
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	seals, err := unix.FcntlInt(uintptr(fd), unix.F_GET_SEALS, 0)
	if err != nil || seals&unix.F_SEAL_WRITE == 0 {
		return nil, errors.Join(errors.New("not sealed"), err)
	}
	b := make([]byte, info.Size())
	if _, err := f.ReadAt(b, 0); err != nil {
		return nil, err
	}
	return b, nil
}

func closeOnExec(fd int) { unix.CloseOnExec(fd) }

// handledSignals returns the signals that programs handle. They must stay pending while one program replaces another.
func handledSignals() *unix.Sigset_t {
	var set unix.Sigset_t
	for _, sig := range []syscall.Signal{
		unix.SIGHUP, unix.SIGINT, unix.SIGTERM, unix.SIGUSR1, unix.SIGUSR2, unix.SIGCHLD,
	} {
		set.Val[(sig-1)/64] |= 1 << ((sig - 1) % 64)
	}
	return &set
}

// replaceProgram runs another program in this process, with fds open. It returns only if that fails.
func replaceProgram(path string, args, env []string, fds []int) error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	// A signal that arrives before the next program handles it would kill the process, so signals are blocked: the
	// threads of the next program inherit this thread's mask until allowSignals. But Go's runtime unblocks HUP, INT and
	// TERM before the program can call signal.Notify. HUP is therefore ignored until then: losing it is better than
	// dying of it. INT and TERM end this process at once, and its workers drain by themselves.
	var before unix.Sigset_t
	if err := unix.PthreadSigmask(unix.SIG_BLOCK, handledSignals(), &before); err != nil {
		return os.NewSyscallError("sigprocmask", err)
	}
	defer func() { _ = unix.PthreadSigmask(unix.SIG_SETMASK, &before, nil) }()
	syscall.ForkLock.Lock() // a child that started now would inherit all descriptors
	defer syscall.ForkLock.Unlock()
	for _, fd := range fds {
		if _, err := unix.FcntlInt(uintptr(fd), unix.F_SETFD, 0); err != nil {
			return os.NewSyscallError("fcntl", err)
		}
	}
	restore, err := ignoreHangup()
	if err != nil {
		return err
	}
	err = syscall.Exec(path, args, env)
	restore()
	for _, fd := range fds {
		unix.CloseOnExec(fd)
	}
	return &os.PathError{Op: "exec", Path: path, Err: err}
}

// ignoreHangup makes the kernel ignore HUP, and restore undoes that. It bypasses Go's runtime, which has no way to
// restore the previous action.
func ignoreHangup() (restore func(), err error) {
	const maskSize = 8
	ignore := [64]byte{1} // SIG_IGN and no flags, on all processors whose struct sigaction begins with the handler
	var before [64]byte
	set := func(to, old *[64]byte) error {
		_, _, errno := syscall.RawSyscall6(unix.SYS_RT_SIGACTION, uintptr(unix.SIGHUP),
			uintptr(unsafe.Pointer(to)), uintptr(unsafe.Pointer(old)), maskSize, 0, 0)
		if errno != 0 {
			return os.NewSyscallError("rt_sigaction", errno)
		}
		return nil
	}
	if err := set(&ignore, &before); err != nil {
		return nil, err
	}
	return func() { _ = set(&before, nil) }, nil
}

// allowSignals unblocks, on this thread, the signals that replaceProgram has blocked. One thread is enough.
func allowSignals() { _ = unix.PthreadSigmask(unix.SIG_UNBLOCK, handledSignals(), nil) }

// openProgram opens a file for execution. It returns nil without an error if there is no /proc to execute it from.
func openProgram(path string) (*os.File, error) {
	fd, err := unix.Open(path, unix.O_PATH|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: path, Err: err}
	}
	if _, err := os.Lstat(fmt.Sprintf("/proc/self/fd/%d", fd)); err != nil {
		return nil, errors.Join(unix.Close(fd))
	}
	return os.NewFile(uintptr(fd), path), nil
}

// nameProcess sets the name of this process to that of its program. A process that was started from a descriptor has
// the descriptor's number as its name.
func nameProcess() {
	// This fails without /proc, where nothing would show the name.
	_ = os.WriteFile("/proc/self/comm", []byte(filepath.Base(os.Args[0])), 0)
}

// writeFD writes to a non-blocking socket once.
func writeFD(fd int, b []byte) (int, error) { return unix.Write(fd, b) }

// shutdownWrite shuts down the sending direction of a socket.
func shutdownWrite(f *os.File) {
	if raw, err := f.SyscallConn(); err == nil {
		_ = raw.Control(func(fd uintptr) { _ = unix.Shutdown(int(fd), unix.SHUT_WR) }) // fails if the client has closed
	}
}

// memoryFile returns a memory file that another process may write to.
func memoryFile(name string) (*os.File, error) {
	fd, err := unix.MemfdCreate(name, unix.MFD_CLOEXEC)
	if err != nil {
		return nil, os.NewSyscallError("memfd_create", err)
	}
	return os.NewFile(uintptr(fd), name), nil
}
