// Package statedir keeps what must survive a process in a folder of its own: the folder has one owner at a time, and
// its files are append-only logs whose records are synced before they count.
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

// Modes of the folder and of the files in it: what they hold is nobody else's business.
const (
	dirMode  = 0o700
	fileMode = 0o600
)

// lockName is the file whose lock the owner holds. It contains the owner's process id.
const lockName = "lock"

// ErrInUse says that another process owns the folder.
var ErrInUse = errors.New("in use by another server")

// Dir is a folder that this process owns.
type Dir struct {
	Path string
	lock *os.File
}

// Open makes the folder if there is none, and takes its lock. If another process holds it, the error is ErrInUse and
// names that process.
func Open(path string) (*Dir, error) {
	if err := os.MkdirAll(path, dirMode); err != nil {
		return nil, fmt.Errorf("statedir: %w", err)
	}
	info, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("statedir: %w", err)
	}
	if mode := info.Mode().Perm(); mode&0o022 != 0 && runtime.GOOS != "windows" {
		return nil, fmt.Errorf("statedir: %s: its mode is %#o: want a folder that nobody else can write to", path, mode)
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

// owner names the process that holds a lock, as far as it has said so.
func owner(lock *os.File) string {
	var b [32]byte
	n, _ := lock.ReadAt(b[:], 0) // a short file is an error, and as good
	pid, err := strconv.Atoi(strings.TrimSpace(string(b[:n])))
	if err != nil {
		return ""
	}
	return fmt.Sprintf(", process %d", pid)
}

// Inherit goes on with the folder whose lock the program before has left, which File has returned over there. It takes
// the file.
func Inherit(path string, lock *os.File) *Dir { return &Dir{path, lock} }

// File is a duplicate of the lock, for the program that replaces this one.
func (d *Dir) File() (*os.File, error) { return duplicate(d.lock) }

// Close gives the folder up.
func (d *Dir) Close() error { return d.lock.Close() }

// Log opens a log in the folder, or makes it.
func (d *Dir) Log(name string) (*Log, Content, error) { return openLog(filepath.Join(d.Path, name)) }
