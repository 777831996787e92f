//go:build !linux

package control

import "context"

// exit tells when a process ends; here it does not know, and the socket's end must do.
type exit struct{}

func watchExit(int) exit { return exit{} }

func (exit) wait(context.Context) {}

func (exit) close() {}
