//go:build unix

package handoff

import "syscall"

func closeFD(fd int) { _ = syscall.Close(fd) }
