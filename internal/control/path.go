package control

import (
	"fmt"
	"os"
	"path/filepath"
)

// DefaultPath returns the path of the socket of servers and commands that were given none: expedite.sock in the user's
// runtime directory ($XDG_RUNTIME_DIR), or a file with the user's id in the directory for temporary files.
func DefaultPath() string {
	// The XDG specification says to ignore a relative directory.
	if dir := os.Getenv("XDG_RUNTIME_DIR"); filepath.IsAbs(dir) {
		return filepath.Join(dir, "expedite.sock")
	}
	return filepath.Join(os.TempDir(), fmt.Sprintf("expedite-%d.sock", os.Getuid()))
}
