//go:build unix

package command

import (
	"os"
	"os/signal"
	"syscall"
)

// notifyReopen relays the signal to reopen the log files.
func notifyReopen(c chan os.Signal) { signal.Notify(c, syscall.SIGUSR1) }
