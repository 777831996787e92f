package telemetry

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"
)

const (
	defaultMaxBytes = 100 << 20
	defaultBackups  = 5

	backupTime = "2006-01-02T15-04-05.000" // in the name of a backup, in UTC; in the order of names
	lookEvery  = time.Second               // whether the file is still there
)

// FileOptions say how large log files become, and how many are kept. The zero value has defaults.
type FileOptions struct {
	MaxBytes int64 // of a file before it becomes a backup; 0 is 100 MiB, below 0 without end
	Backups  int   // that are kept; 0 is 5, below 0 all
}

// File is a log file. When it becomes too large, or on [File.Reopen], it is renamed to a backup beside it, and a new
// one begins: expedite.log becomes expedite-2006-01-02T15-04-05.000.log. Make one with [OpenFile]. Any goroutine, and
// on Unix several processes may write to the same path: a worker and its successor do.
//
// What cannot be written to the file goes to standard error, with one message that says why; the next Write tries the
// file again. A file that was deleted is noticed within a second, and begun anew. A backup that cannot be made is no
// reason to stop: the file grows on.
type File struct {
	path    string
	options FileOptions
	stderr  io.Writer
	now     func() time.Time

	mu      sync.Mutex
	f       *os.File // nil: it could not be opened, or is closed
	regular bool     // f is a file, and not a terminal, a pipe or a device
	size    int64    // of f
	limit   int64    // of size
	looked  time.Time
	torn    bool // the last line in f has no end
	closed  bool
	trouble error // since when standard error was told; nil: there is none
}

// OpenFile opens the file at path for appending, or makes one with mode 0600. The mode of one that is there stays.
func OpenFile(path string, o FileOptions) (*File, error) {
	if o.MaxBytes == 0 {
		o.MaxBytes = defaultMaxBytes
	}
	if o.Backups == 0 {
		o.Backups = defaultBackups
	}
	f := &File{path: path, options: o, stderr: os.Stderr, now: time.Now}
	if err := f.open(); err != nil {
		return nil, fmt.Errorf("telemetry: log file: %w", err)
	}
	return f, nil
}

// Write appends b, which should be whole lines, or writes it to standard error. It fails after Close, or if standard
// error, too, takes nothing.
func (f *File) Write(b []byte) (int, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed {
		return 0, fmt.Errorf("telemetry: log file %s: %w", f.path, fs.ErrClosed)
	}
	f.look()
	if f.f == nil {
		if err := f.open(); err != nil {
			return f.divert(b, err)
		}
	}
	if f.regular && f.size > 0 && f.size+int64(len(b)) > f.limit {
		if err := f.renew(); err != nil {
			if f.f == nil {
				return f.divert(b, err)
			}
			f.tell(err)
			f.limit = max(f.limit, f.size+f.options.MaxBytes/16+1) // not again at each line
		}
	}
	if f.torn { // what follows must not become part of it
		n, err := f.f.Write([]byte("\n"))
		f.size += int64(n)
		if err != nil {
			return f.divert(b, err)
		}
		f.torn = false
	}
	n, err := f.f.Write(b)
	f.size += int64(n)
	if err != nil {
		f.torn = n > 0
		return f.divert(b, err)
	}
	if f.size <= f.options.MaxBytes || f.options.MaxBytes < 0 {
		f.trouble = nil
	}
	return n, nil
}

// Reopen goes on with the file that is at the path now: a rotation from outside has renamed the old one. If nothing was
// renamed, it makes a backup itself. After an error, what is written still goes where it can be found.
func (f *File) Reopen() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	var err error
	switch {
	case f.closed:
		err = fs.ErrClosed
	case f.f == nil:
		err = f.open()
	default:
		err = f.renew()
	}
	if err != nil {
		return fmt.Errorf("telemetry: log file %s: reopen: %w", f.path, err)
	}
	f.trouble = nil
	return nil
}

// Err is why lines do not go to the file, or why it has no backups, at present. Nil: all is well.
func (f *File) Err() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.trouble
}

// Close closes the file. A Write after it fails. Further calls change nothing.
func (f *File) Close() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.closed = true
	if f.f == nil {
		return nil
	}
	err := f.f.Close()
	f.f = nil
	if err != nil {
		return fmt.Errorf("telemetry: log file: %w", err)
	}
	return nil
}

// open opens what is at the path, in the place of f.f, which stays if it fails.
func (f *File) open() error {
	file, err := os.OpenFile(f.path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	info, err := file.Stat()
	if err != nil {
		return errors.Join(err, file.Close())
	}
	f.f, f.regular, f.size, f.torn = file, info.Mode().IsRegular(), info.Size(), false
	f.limit = f.options.MaxBytes
	if f.limit < 0 {
		f.limit = 1<<63 - 1
	}
	f.looked = f.now()
	return nil
}

// look notices, once in a while, that somebody has deleted the file: what is written to it would be lost.
func (f *File) look() {
	now := f.now()
	if f.f == nil || now.Sub(f.looked) < lookEvery {
		return
	}
	f.looked = now
	if f.regular && isDeleted(f.f) {
		_ = f.f.Close()
		f.f = nil
	}
}

// isThere says whether f.f is what the path leads to.
func (f *File) isThere() bool {
	there, err := os.Stat(f.path)
	if err != nil {
		return false
	}
	mine, err := f.f.Stat()
	return err == nil && os.SameFile(there, mine)
}

// renew goes on with what is at the path, if that is another file by now, and with a new one after a backup else.
func (f *File) renew() error {
	defer lock(f.f)() // that two processes do not both rename it, the second of them the new one
	if f.isThere() {
		if !f.regular || f.size == 0 {
			return nil
		}
		return f.rotate()
	}
	old := f.f
	err := f.open()
	switch {
	case err == nil:
		return old.Close()
	case isDeleted(old): // what is written there is lost
		f.f = nil
		return errors.Join(err, old.Close())
	}
	return err
}

// rotate makes a backup of the file and begins a new one. If that fails all is as before.
func (f *File) rotate() error {
	path, err := filepath.EvalSymlinks(f.path) // the file is renamed and not a link to it
	if err != nil {
		return err
	}
	olds, err := backups(path)
	if err != nil {
		return err
	}
	at := f.now().UTC()
	if n := len(olds); n > 0 && !olds[n-1].at.Before(at.Truncate(time.Millisecond)) {
		at = olds[n-1].at.Add(time.Millisecond) // of the same millisecond, or before the clock was set back
	}
	ext := filepath.Ext(path)
	backup := strings.TrimSuffix(path, ext) + "-" + at.Format(backupTime) + ext
	if err := os.Rename(path, backup); err != nil {
		return err
	}
	old := f.f
	if err := f.open(); err != nil {
		return errors.Join(err, os.Rename(backup, path))
	}
	err = old.Close()
	if keep := f.options.Backups; keep > 0 {
		for _, b := range olds[:max(0, len(olds)+1-keep)] {
			if gone := os.Remove(b.path); !errors.Is(gone, fs.ErrNotExist) { // another process removes them, too
				err = errors.Join(err, gone)
			}
		}
	}
	if err != nil {
		return fmt.Errorf("there is a new one, but: %w", err)
	}
	return nil
}

// backup is a file that was the log once.
type backup struct {
	path string
	at   time.Time
}

// backups lists those of the file at path, the oldest first.
func backups(path string) (list []backup, err error) {
	entries, err := os.ReadDir(filepath.Dir(path)) // in the order of names, which is that of time
	if err != nil {
		return nil, err
	}
	ext := filepath.Ext(path)
	head := strings.TrimSuffix(filepath.Base(path), ext) + "-"
	for _, e := range entries {
		name, ok := strings.CutPrefix(e.Name(), head)
		name, ok2 := strings.CutSuffix(name, ext)
		at, err := time.Parse(backupTime, name)
		if ok && ok2 && err == nil && e.Type().IsRegular() {
			list = append(list, backup{filepath.Join(filepath.Dir(path), e.Name()), at})
		}
	}
	return list, nil
}

// divert writes to standard error instead.
func (f *File) divert(b []byte, why error) (int, error) {
	f.tell(why)
	n, err := f.stderr.Write(b)
	if err != nil {
		return n, errors.Join(fmt.Errorf("telemetry: log file: %w", why), err)
	}
	return n, nil
}

// tell says on standard error what is wrong, once until it is well again.
func (f *File) tell(err error) {
	if f.trouble == nil {
		fmt.Fprintf(f.stderr, "expedite: log file %s: %v; lines that it does not take appear here\n", f.path, err)
	}
	f.trouble = err
}

var _ io.WriteCloser = (*File)(nil)
