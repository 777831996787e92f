package control

import (
	"fmt"
	"os"
	"path/filepath"
)

// DefaultPath is where a server listens and the command looks when nobody names a socket: expedite.sock in the user's
// runtime directory ($XDG_RUNTIME_DIR), else a file with the user's id in the directory for temporary files.
func DefaultPath() string {
	// A relative directory is to be ignored, says the XDG specification: it would depend on where one stands.
	if dir := os.Getenv("XDG_RUNTIME_DIR"); filepath.IsAbs(dir) {
		return filepath.Join(dir, "expedite.sock")
	}
	return filepath.Join(os.TempDir(), fmt.Sprintf("expedite-%d.sock", os.Getuid()))
}
