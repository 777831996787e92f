//go:build !unix

package loadtest

import (
	"syscall"
	"time"
)

func errnoName(e syscall.Errno) string { return e.Error() }

// openFiles returns 0: the limit is unknown on this platform.
func openFiles() int { return 0 }

// cpuTime returns 0: it is unknown on this platform.
func cpuTime() time.Duration { return 0 }
