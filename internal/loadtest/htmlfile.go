package loadtest

import (
	"errors"
	"fmt"
	"os"
)

// HTMLFile is a file for a report in HTML. It is opened before the run, so that a path that cannot be written fails at
// once and not after an hour. Its content is replaced at the end of the run. Methods of a nil HTMLFile do nothing.
type HTMLFile struct {
	file  *os.File
	empty bool // created by OpenHTML, and not yet written
}

// OpenHTML opens a file for writing and creates it if necessary. It returns nil for an empty path.
func OpenHTML(path string) (*HTMLFile, error) {
	if path == "" {
		return nil, nil
	}
	_, err := os.Lstat(path)
	empty := errors.Is(err, os.ErrNotExist)
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE, 0o644)
	if err != nil {
		return nil, err
	}
	return &HTMLFile{file: f, empty: empty}, nil
}

// Write replaces the content of the file with a report and closes the file.
func (f *HTMLFile) Write(r *Report) error {
	if f == nil {
		return nil
	}
	if info, err := f.file.Stat(); err == nil && info.Mode().IsRegular() {
		if err := f.file.Truncate(0); err != nil {
			return err
		}
	}
	f.empty = false
	if err := errors.Join(r.WriteHTML(f.file), f.file.Close()); err != nil {
		return fmt.Errorf("the report is incomplete: %w", err)
	}
	return nil
}

// Close closes the file. It removes a file that OpenHTML created and to which nothing was written.
func (f *HTMLFile) Close() {
	if f == nil {
		return
	}
	_ = f.file.Close() // fails if Write has closed it
	if f.empty {
		_ = os.Remove(f.file.Name())
	}
}
