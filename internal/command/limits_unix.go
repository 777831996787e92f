//go:build unix

package command

import "syscall"

// openFiles returns the number of descriptors that this process may have, or 0 if that is unknown or not limited.
func openFiles() int {
	var lim syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &lim); err != nil || lim.Cur > 1<<31 {
		return 0
	}
	return int(lim.Cur)
}
