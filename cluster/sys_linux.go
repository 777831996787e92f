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

// Supported says whether this platform has worker processes.
const Supported = true

// processAttributes gives a worker a process group of its own: what a terminal sends, the primary gets, and decides.
func processAttributes(c *Credential) *syscall.SysProcAttr {
	a := &syscall.SysProcAttr{Setpgid: true}
	if c != nil {
		a.Credential = &syscall.Credential{Uid: c.UID, Gid: c.GID, Groups: c.Groups}
	}
	return a
}

// reusePort lets several sockets listen on one port.
func reusePort(_, _ string, c syscall.RawConn) error {
	var optErr error
	err := c.Control(func(fd uintptr) {
		optErr = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_REUSEPORT, 1)
	})
	return errors.Join(err, optErr)
}

// acceptBatch waits until there is something to accept and takes up to max sockets, non-blocking and close-on-exec. It
// ends early with an error when the deadline of ln has passed or ln is closed.
func acceptBatch(ln *os.File, max int) (fds []int, err error) {
	raw, err := ln.SyscallConn()
	if err != nil {
		return nil, err
	}
	var acceptErr error
	err = raw.Read(func(s uintptr) bool {
		for len(fds) < max {
			fd, _, err := unix.Accept4(int(s), unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC)
			switch {
			case err == nil:
				fds = append(fds, fd)
			case errors.Is(err, unix.EINTR), errors.Is(err, unix.ECONNABORTED):
			case errors.Is(err, unix.EAGAIN):
				return len(fds) > 0
			default:
				acceptErr = err
				return true
			}
		}
		return true
	})
	return fds, errors.Join(err, acceptErr)
}

// dupFD is a second descriptor, close-on-exec, of what fd is one of.
func dupFD(fd int) (int, error) {
	n, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0)
	return n, os.NewSyscallError("fcntl", err)
}

func closeFD(fd int) { _ = unix.Close(fd) }

// areSockets says whether all descriptors are sockets.
func areSockets(fds []int) bool {
	for _, fd := range fds {
		if _, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_TYPE); err != nil {
			return false
		}
	}
	return true
}

// rawHandle is a descriptor as something that can be copied.
type rawHandle int

// Close does nothing.
func (rawHandle) Close() error { return nil }

// SyscallConn is the descriptor itself.
func (h rawHandle) SyscallConn() (syscall.RawConn, error) { return h, nil }

// Control calls f with the descriptor.
func (h rawHandle) Control(f func(fd uintptr)) error { f(uintptr(h)); return nil }

// Read is of no use here.
func (rawHandle) Read(func(fd uintptr) bool) error { return errors.ErrUnsupported }

// Write is of no use here.
func (rawHandle) Write(func(fd uintptr) bool) error { return errors.ErrUnsupported }

// sealed is a file in memory that nobody can change any more.
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

// readSealed reads what sealed has written, and closes it.
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

// taken are the signals that programs wait for: while a program replaces another, they must wait themselves.
func taken() *unix.Sigset_t {
	var set unix.Sigset_t
	for _, sig := range []syscall.Signal{
		unix.SIGHUP, unix.SIGINT, unix.SIGTERM, unix.SIGUSR1, unix.SIGUSR2, unix.SIGCHLD,
	} {
		set.Val[(sig-1)/64] |= 1 << ((sig - 1) % 64)
	}
	return &set
}

// replaceProgram runs another program in this process, which keeps fds open. It returns if that has failed.
func replaceProgram(path string, args, env []string, fds []int) error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	// A signal that comes before the next program is ready for it would kill the process: it has to wait. The mask of
	// this thread is that of the next program's threads, until allowSignals. But Go's runtime lets HUP, INT and TERM
	// through before anybody can have asked for them. HUP is ignored until then: better lost than deadly. The other two
	// end this process at once, and its workers drain by themselves.
	var before unix.Sigset_t
	if err := unix.PthreadSigmask(unix.SIG_BLOCK, taken(), &before); err != nil {
		return os.NewSyscallError("sigprocmask", err)
	}
	defer func() { _ = unix.PthreadSigmask(unix.SIG_SETMASK, &before, nil) }()
	syscall.ForkLock.Lock() // a child that is started now would inherit everything
	defer syscall.ForkLock.Unlock()
	for _, fd := range fds {
		if _, err := unix.FcntlInt(uintptr(fd), unix.F_SETFD, 0); err != nil {
			return os.NewSyscallError("fcntl", err)
		}
	}
	heed, err := ignoreHangup()
	if err != nil {
		return err
	}
	err = syscall.Exec(path, args, env)
	heed()
	for _, fd := range fds {
		unix.CloseOnExec(fd)
	}
	return &os.PathError{Op: "exec", Path: path, Err: err}
}

// ignoreHangup makes the kernel ignore HUP, behind the back of Go's runtime, which could not undo it. heed does.
func ignoreHangup() (heed func(), err error) {
	const maskSize = 8
	ignore := [64]byte{1} // SIG_IGN, no flags, on every processor that begins the structure with the handler
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

// allowSignals lets this thread, if no other does, take the signals that replaceProgram has made wait.
func allowSignals() { _ = unix.PthreadSigmask(unix.SIG_UNBLOCK, taken(), nil) }

// openProgram opens a file to be executed. Nil without an error: there is no /proc to execute it from.
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

// nameProcess gives this process the name of its program: one that was started from a descriptor is called by its
// number.
func nameProcess() {
	_ = os.WriteFile("/proc/self/comm", []byte(filepath.Base(os.Args[0])), 0) // without /proc it has no name to be seen
}

// writeFD writes what a socket takes at once.
func writeFD(fd int, b []byte) (int, error) { return unix.Write(fd, b) }

// shutdownWrite tells the other side of a socket that nothing follows.
func shutdownWrite(f *os.File) {
	if raw, err := f.SyscallConn(); err == nil {
		_ = raw.Control(func(fd uintptr) { _ = unix.Shutdown(int(fd), unix.SHUT_WR) }) // the client may be gone
	}
}

// memoryFile is a file in memory that another process may write, too.
func memoryFile(name string) (*os.File, error) {
	fd, err := unix.MemfdCreate(name, unix.MFD_CLOEXEC)
	if err != nil {
		return nil, os.NewSyscallError("memfd_create", err)
	}
	return os.NewFile(uintptr(fd), name), nil
}
