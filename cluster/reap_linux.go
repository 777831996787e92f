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

// reapDelay is how long a dead process that may be a child of this program is left to whoever waits for it.
const reapDelay = time.Second

// startReaper makes the first process of a container, which inherits every process whose parent has ended, wait for
// those: else they stay in the table of processes for ever.
func (p *Primary) startReaper() {
	if os.Getpid() == 1 {
		go p.reap() // ends when all workers have ended
	}
}

func (p *Primary) reap() {
	died := make(chan os.Signal, 1)
	signal.Notify(died, syscall.SIGCHLD)
	defer signal.Stop(died)
	again := time.NewTimer(0) // what the program before has left
	defer again.Stop()
	seen := 0
	for {
		select {
		case <-died:
		case <-again.C:
		case <-p.ended:
			return
		}
		if seen = reapOrphans(seen); seen != 0 {
			again.Reset(reapDelay)
		}
	}
}

// reapOrphans waits for dead processes that this program has not started. It stops at one of which that is not known,
// and returns its number; seen is the one where it stopped before, which is nobody's if it is still there.
func reapOrphans(seen int) int {
	for {
		pid := firstDead()
		if pid == 0 {
			return 0
		}
		group, err := unix.Getpgid(pid)
		own := err == nil && (group == pid || group == unix.Getpgrp()) // as of a worker, and of what this process runs
		if own && pid != seen {
			return pid
		}
		if _, err := unix.Wait4(pid, nil, unix.WNOHANG, nil); err != nil && !errors.Is(err, unix.EINTR) {
			return 0 // somebody has waited for it meanwhile
		}
	}
}

// firstDead is a child that has ended and that nobody has waited for; 0 is none.
func firstDead() int {
	var info unix.Siginfo
	if err := unix.Waitid(unix.P_ALL, 0, &info, unix.WEXITED|unix.WNOHANG|unix.WNOWAIT, nil); err != nil {
		return 0
	}
	// Behind three numbers comes a union, aligned as a pointer is; si_pid is the first of it.
	const word = unsafe.Sizeof(uintptr(0))
	at := (unsafe.Offsetof(info.Code) + unsafe.Sizeof(info.Code) + word - 1) &^ (word - 1)
	return int(*(*int32)(unsafe.Add(unsafe.Pointer(&info), at)))
}
