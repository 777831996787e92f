//go:build !unix

package loadtest

import (
	"syscall"
	"time"
)

func errnoName(e syscall.Errno) string { return e.Error() }

// openFiles is not known here.
func openFiles() int { return 0 }

// cpuTime is not known here.
func cpuTime() time.Duration { return 0 }
