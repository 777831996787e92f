package cluster

import (
	"errors"
	"os"
	"os/signal"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// reapDelay is how long a dead process that may be a child of this program is left to the goroutine that waits for it.
const reapDelay = time.Second

// startReaper waits for orphaned processes if this process is the first one of a container: the kernel makes it their
// parent, and they would stay in the process table as zombies. It stops when done is closed.
func startReaper(done <-chan struct{}) {
	if os.Getpid() == 1 {
		go reap(done) // ends when all workers have ended
	}
}

func reap(done <-chan struct{}) {
	died := make(chan os.Signal, 1)
	signal.Notify(died, syscall.SIGCHLD)
	defer signal.Stop(died)
	again := time.NewTimer(0) // at once, for processes from before an Exec
	defer again.Stop()
	seen := 0
	for {
		select {
		case <-died:
		case <-again.C:
		case <-done:
			return
		}
		if seen = reapOrphans(seen); seen != 0 {
			again.Reset(reapDelay)
		}
	}
}

// reapOrphans waits for dead processes that this program has not started. When it meets one that this program may
// have started, it stops and returns its id, or 0. seen is the result of the call before: a process that is still
// dead then is an orphan, too.
func reapOrphans(seen int) int {
	for {
		pid := firstDead()
		if pid == 0 {
			return 0
		}
		group, err := unix.Getpgid(pid)
		own := err == nil && (group == pid || group == unix.Getpgrp()) // a worker, or a command of this process
		if own && pid != seen {
			return pid
		}
		if _, err := unix.Wait4(pid, nil, unix.WNOHANG, nil); err != nil && !errors.Is(err, unix.EINTR) {
			return 0 // another goroutine has waited for it meanwhile
		}
	}
}

// firstDead returns a child that has ended and was not waited for; 0 if there is none.
func firstDead() int {
	var info unix.Siginfo
	if err := unix.Waitid(unix.P_ALL, 0, &info, unix.WEXITED|unix.WNOHANG|unix.WNOWAIT, nil); err != nil {
		return 0
	}
	// siginfo_t has three integers and then a union with the alignment of a pointer, which begins with si_pid.
	const word = unsafe.Sizeof(uintptr(0))
	at := (unsafe.Offsetof(info.Code) + unsafe.Sizeof(info.Code) + word - 1) &^ (word - 1)
	return int(*(*int32)(unsafe.Add(unsafe.Pointer(&info), at)))
}
