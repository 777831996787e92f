//go:build !unix

package main

import "os"

// notifyReopen tells of nothing: there is no such signal.
func notifyReopen(chan os.Signal) {}
