//go:build !unix

package telemetry

import "os"

// isDeleted says whether an open file has no name any more. Systems that keep a file's name while it is open cannot
// have one.
func isDeleted(*os.File) bool { return false }

// lock does nothing: there is one process only.
func lock(*os.File) (unlock func()) { return func() {} }
