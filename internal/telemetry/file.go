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

	backupTime = "2006-01-02T15-04-05.000" // in the names of backups, in UTC; sorts by time
	lookEvery  = time.Second               // at most, between checks that the file still exists
)

// FileOptions limits the size and number of log files. The zero value has defaults.
type FileOptions struct {
	MaxBytes int64 // at which a file becomes a backup; 0 is 100 MiB, negative is no limit
	Backups  int   // to keep; 0 is 5, negative is all
}

// File is a log file. When it becomes too large, or on [File.Reopen], it is renamed to a backup beside it, and a new
// file begins: expedite.log becomes expedite-2006-01-02T15-04-05.000.log. Create one with [OpenFile]. It is safe for
// concurrent use. On Unix several processes may write to the same path, as a worker and its successor do.
//
// If the file cannot be written, lines go to standard error, after one message with the reason, and the next Write
// tries the file again. If the file was deleted, File notices that within a second and creates a new one. If a backup
// cannot be made, the file continues to grow.
type File struct {
	path    string
	options FileOptions
	stderr  io.Writer
	now     func() time.Time

	mu      sync.Mutex
	f       *os.File // nil if it could not be opened, or is closed
	regular bool     // f is a regular file, as opposed to a terminal, a pipe or a device
	size    int64    // of f
	limit   int64    // of size
	looked  time.Time
	torn    bool // the last line in f is incomplete
	closed  bool
	trouble error // reported on standard error, and not solved yet; or nil
}

// OpenFile opens the file at path for appending, or creates it with mode 0600. It does not change the mode of an
// existing file.
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

// Write appends b, which should consist of whole lines, or writes it to standard error. It fails after Close, and if
// standard error fails, too.
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
			f.limit = max(f.limit, f.size+f.options.MaxBytes/16+1) // do not retry for every line
		}
	}
	if f.torn { // the next line must not become part of it
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

// Reopen continues with the file that is at the path now, if another program has renamed the old one. Otherwise it
// makes a backup itself. After an error, lines are still written to the old file or to standard error.
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

// Err returns the reason that lines do not reach the file, or that there are no backups, or nil.
func (f *File) Err() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.trouble
}

// Close closes the file. Later writes fail. Further calls do nothing.
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

// open opens the path and replaces f.f. If it fails, f.f stays.
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

// look checks from time to time whether the file was deleted: lines written to it would be lost.
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

// isThere reports whether the path leads to f.f.
func (f *File) isThere() bool {
	there, err := os.Stat(f.path)
	if err != nil {
		return false
	}
	mine, err := f.f.Stat()
	return err == nil && os.SameFile(there, mine)
}

// renew continues with the file at the path if that is not f.f any more, and otherwise makes a backup and begins a new
// file.
func (f *File) renew() error {
	defer lock(f.f)() // two processes must not both rename: the second would rename the new file
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
	case isDeleted(old): // lines written to it are lost
		f.f = nil
		return errors.Join(err, old.Close())
	}
	return err
}

// rotate makes a backup and begins a new file. If it fails, nothing changes.
func (f *File) rotate() error {
	path, err := filepath.EvalSymlinks(f.path) // rename the file, not a symbolic link to it
	if err != nil {
		return err
	}
	olds, err := backups(path)
	if err != nil {
		return err
	}
	at := f.now().UTC()
	if n := len(olds); n > 0 && !olds[n-1].at.Before(at.Truncate(time.Millisecond)) {
		at = olds[n-1].at.Add(time.Millisecond) // within the same millisecond, or the clock was set back
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
			if gone := os.Remove(b.path); !errors.Is(gone, fs.ErrNotExist) { // another process may remove them, too
				err = errors.Join(err, gone)
			}
		}
	}
	if err != nil {
		return fmt.Errorf("there is a new one, but: %w", err)
	}
	return nil
}

// backup is a former log file.
type backup struct {
	path string
	at   time.Time
}

// backups returns the backups of the file at path, the oldest first.
func backups(path string) (list []backup, err error) {
	entries, err := os.ReadDir(filepath.Dir(path)) // sorted by name, and thus by time
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

// tell reports a problem on standard error, once until it is solved.
func (f *File) tell(err error) {
	if f.trouble == nil {
		fmt.Fprintf(f.stderr, "expedite: log file %s: %v; lines that it does not take appear here\n", f.path, err)
	}
	f.trouble = err
}

var _ io.WriteCloser = (*File)(nil)
