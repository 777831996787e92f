//go:build !linux

package control

import "context"

// exit cannot wait for the end of a process on this system: callers rely on the end of the socket.
type exit struct{}

func watchExit(int) exit { return exit{} }

func (exit) wait(context.Context) {}

func (exit) close() {}
