//go:build !unix

package command

import "os"

// notifyReopen does nothing: this system has no such signal.
func notifyReopen(chan os.Signal) {}
