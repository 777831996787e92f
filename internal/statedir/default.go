package statedir

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"os"
	"path/filepath"
	"strings"
)

// Default returns the path of the default state directory, and creates it if necessary. It is the directory that
// systemd has created, or one in the user's state directory that is named after the path of the control socket.
// Default returns an error if the directory is not writable.
func Default(control string) (string, error) {
	dir, err := defaultPath(control)
	if err != nil {
		return "", err
	}
	return dir, writable(dir)
}

func defaultPath(control string) (string, error) {
	if first, _, _ := strings.Cut(os.Getenv("STATE_DIRECTORY"), ":"); first != "" {
		return first, nil
	}
	control, err := filepath.Abs(control)
	if err != nil {
		return "", err
	}
	base := os.Getenv("XDG_STATE_HOME")
	if !filepath.IsAbs(base) { // the XDG specification says to ignore relative paths
		home, err := os.UserHomeDir()
		if err != nil {
			return "", err
		}
		base = filepath.Join(home, ".local", "state")
	}
	sum := sha256.Sum256([]byte(control)) // sockets in different directories may have the same name
	return filepath.Join(base, "expedite", filepath.Base(control)+"-"+hex.EncodeToString(sum[:4])), nil
}

// writable creates a directory and checks that files can be created in it.
func writable(dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	f, err := os.CreateTemp(dir, "try")
	if err != nil {
		return err
	}
	return errors.Join(f.Close(), os.Remove(f.Name()))
}
