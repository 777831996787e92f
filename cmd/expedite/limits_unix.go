//go:build unix

package main

import "syscall"

// openFiles is the number of descriptors that a process here may hold.
func openFiles() int {
	var lim syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &lim); err != nil || lim.Cur > 1<<31 {
		return 0
	}
	return int(lim.Cur)
}
