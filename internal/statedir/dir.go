// Package statedir stores data that must survive a process in a directory of its own. The directory has one owner at a
// time. Its files are append-only logs whose records are synced to disk before they count.
package statedir

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
)

// The modes of the directory and of the files in it, which other users must not read.
const (
	dirMode  = 0o700
	fileMode = 0o600
)

// lockName is the file whose lock the owner holds. It contains the owner's process id.
const lockName = "lock"

// ErrInUse is returned if another process owns the directory.
var ErrInUse = errors.New("in use by another server")

// Dir is a directory that this process owns.
type Dir struct {
	Path string
	lock *os.File
}

// Open creates the directory if necessary, and locks it. If another process holds the lock, the error is ErrInUse,
// with the id of that process.
func Open(path string) (*Dir, error) {
	if err := os.MkdirAll(path, dirMode); err != nil {
		return nil, fmt.Errorf("statedir: %w", err)
	}
	info, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("statedir: %w", err)
	}
	if mode := info.Mode().Perm(); mode&0o022 != 0 && runtime.GOOS != "windows" {
		return nil, fmt.Errorf("statedir: %s: its mode is %#o: want a directory that only its owner can write to", path, mode)
	}
	f, err := os.OpenFile(filepath.Join(path, lockName), os.O_RDWR|os.O_CREATE, fileMode)
	if err != nil {
		return nil, fmt.Errorf("statedir: %w", err)
	}
	if err := tryLock(f); err != nil {
		defer f.Close()
		if !errors.Is(err, ErrInUse) {
			return nil, fmt.Errorf("statedir: %s: %w", path, err)
		}
		return nil, fmt.Errorf("statedir: %s: %w%s", path, ErrInUse, owner(f))
	}
	if err := f.Truncate(0); err == nil {
		_, err = f.WriteAt([]byte(strconv.Itoa(os.Getpid())+"\n"), 0)
		if err != nil && !errors.Is(err, io.ErrShortWrite) {
			_ = f.Close()
			return nil, fmt.Errorf("statedir: %w", err)
		}
	}
	return &Dir{path, f}, nil
}

// owner returns the id of the process that holds a lock as text for an error, if the file contains it.
func owner(lock *os.File) string {
	var b [32]byte
	n, _ := lock.ReadAt(b[:], 0) // a short file causes an error, but its content is valid
	pid, err := strconv.Atoi(strings.TrimSpace(string(b[:n])))
	if err != nil {
		return ""
	}
	return fmt.Sprintf(", process %d", pid)
}

// Inherit returns the directory whose lock this process has inherited from its previous program, where File returned
// it. It takes over the file.
func Inherit(path string, lock *os.File) *Dir { return &Dir{path, lock} }

// File returns a duplicate of the lock, for the program that replaces this one.
func (d *Dir) File() (*os.File, error) { return duplicate(d.lock) }

// Close releases the directory.
func (d *Dir) Close() error { return d.lock.Close() }

// Log opens a log in the directory, and creates it if necessary.
func (d *Dir) Log(name string) (*Log, Content, error) { return openLog(filepath.Join(d.Path, name)) }
