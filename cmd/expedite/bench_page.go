package main

import (
	"errors"
	"fmt"
	"os"

	"github.com/expedite-go/expedite/internal/loadtest"
)

// benchPage is the file of --html. It is opened before the run, so that a path that cannot be written fails at once and
// not after an hour; what it holds is replaced at the end. Nil is no file.
type benchPage struct {
	file *os.File
	made bool // by this run, and empty until write
}

// createReport opens the file of a report. An empty path is none.
func createReport(path string) (*benchPage, error) {
	if path == "" {
		return nil, nil
	}
	_, err := os.Lstat(path)
	made := errors.Is(err, os.ErrNotExist)
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE, 0o644)
	if err != nil {
		return nil, usageError{fmt.Errorf("--html: %w", err)}
	}
	return &benchPage{file: f, made: made}, nil
}

// write replaces what the file holds by a report.
func (p *benchPage) write(r *loadtest.Report) error {
	if p == nil {
		return nil
	}
	if info, err := p.file.Stat(); err == nil && info.Mode().IsRegular() {
		if err := p.file.Truncate(0); err != nil {
			return fmt.Errorf("--html: %w", err)
		}
	}
	p.made = false
	if err := errors.Join(r.WriteHTML(p.file), p.file.Close()); err != nil {
		return fmt.Errorf("--html: the report is not written whole: %w", err)
	}
	return nil
}

// close closes the file, and removes one that this run has made for nothing.
func (p *benchPage) close() {
	if p == nil {
		return
	}
	_ = p.file.Close() // after write it is closed already
	if p.made {
		_ = os.Remove(p.file.Name())
	}
}
