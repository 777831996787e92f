package main

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"strings"

	"github.com/expedite-go/expedite/cluster"
)

// stateDir is the folder for what must survive the server. Nobody has to choose one: without a default that can be
// written to there is a warning, and none.
func (s *serveCmd) stateDir(log *slog.Logger) string {
	switch {
	case s.StateDir == "off", cluster.IsWorker(): // it is the primary's
		return ""
	case s.StateDir != "":
		return s.StateDir
	}
	control := controlPath(s.Control)
	if control == "" || runtime.GOOS == "windows" {
		return ""
	}
	dir, err := defaultStateDir(control)
	if err == nil {
		err = writable(dir)
	}
	if err != nil {
		log.Warn("revocations do not survive this server: name a folder with --state-dir, or off", "error", err)
		return ""
	}
	return dir
}

// defaultStateDir is the folder that systemd has made, or one among the user's that is named after the control socket.
func defaultStateDir(control string) (string, error) {
	if first, _, _ := strings.Cut(os.Getenv("STATE_DIRECTORY"), ":"); first != "" {
		return first, nil
	}
	control, err := filepath.Abs(control)
	if err != nil {
		return "", err
	}
	base := os.Getenv("XDG_STATE_HOME")
	if !filepath.IsAbs(base) { // the specification wants relative ones ignored
		home, err := os.UserHomeDir()
		if err != nil {
			return "", err
		}
		base = filepath.Join(home, ".local", "state")
	}
	sum := sha256.Sum256([]byte(control)) // sockets in different folders may have one name
	return filepath.Join(base, "expedite", filepath.Base(control)+"-"+hex.EncodeToString(sum[:4])), nil
}

// writable makes a folder, and tries to write to it.
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
