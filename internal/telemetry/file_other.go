//go:build !unix

package telemetry

import "os"

// isDeleted reports whether an open file has been deleted. On this system that is impossible.
func isDeleted(*os.File) bool { return false }

// lock does nothing: on this system only one process writes to the file.
func lock(*os.File) (unlock func()) { return func() {} }
