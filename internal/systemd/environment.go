package systemd

import (
	"os"
	"strconv"
	"time"
)

// Environment is what the service manager has asked this process for. It is written as JSON; fields may be added.
type Environment struct {
	// Socket is the address that notifications go to; empty is none. One that begins with @ is abstract.
	Socket string `json:"socket,omitempty"`
	// Watchdog is the time within which the service manager expects a sign of life. 0 is never.
	Watchdog time.Duration `json:"watchdog,omitzero"`
}

// The variables of sd_notify(3) and sd_watchdog_enabled(3).
const (
	variableSocket   = "NOTIFY_SOCKET"
	variableWatchdog = "WATCHDOG_USEC"
	variablePID      = "WATCHDOG_PID"
)

// TakeEnvironment returns what the environment of this process asks for, and removes it there: the processes that this
// one starts are not the service.
func TakeEnvironment() Environment {
	e := Environment{Socket: os.Getenv(variableSocket), Watchdog: watchdog(os.Getpid())}
	for _, name := range []string{variableSocket, variableWatchdog, variablePID} {
		_ = os.Unsetenv(name) // fails only for an invalid name
	}
	return e
}

// watchdog returns the time of the watchdog, if that is meant for the process.
func watchdog(pid int) time.Duration {
	if of := os.Getenv(variablePID); of != "" && of != strconv.Itoa(pid) {
		return 0
	}
	const most = uint64(time.Duration(1<<63-1) / time.Microsecond)
	usec, err := strconv.ParseUint(os.Getenv(variableWatchdog), 10, 64)
	if err != nil || usec > most {
		return 0
	}
	return time.Duration(usec) * time.Microsecond
}
