//go:build unix

package main

import (
	"os"
	"os/signal"
	"syscall"
)

// notifyReopen tells of the signal that asks for new log files.
func notifyReopen(c chan os.Signal) { signal.Notify(c, syscall.SIGUSR1) }
