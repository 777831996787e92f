package expedite

import (
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"os"
	"sync"
	"time"

	"github.com/expedite-go/expedite/auth"
	"github.com/expedite-go/expedite/internal/statedir"
)

// denyFile keeps the deny list in Config.StateDir, for a primary that begins after this one was killed.
type denyFile struct {
	dir  *statedir.Dir
	deny *auth.DenyList
	log  *slog.Logger

	mu    sync.Mutex
	file  *statedir.Log
	stale bool      // the file lacks entries
	next  time.Time // when to write it anew, if it is stale
}

const (
	denyFileName = "revocations"
	// denyFileSlack is how many records a file may have beyond twice the entries in force, before it is written anew.
	denyFileSlack = 1000
	// denyFileRetry is the time between attempts to write a stale file.
	denyFileRetry = 5 * time.Second
)

// openDenyFile takes the folder, or goes on with that whose lock the program before has left, and adds to the deny list
// what the file knows.
func openDenyFile(path string, lock *os.File, deny *auth.DenyList, log *slog.Logger) (*denyFile, error) {
	f := &denyFile{deny: deny, log: log}
	if lock != nil {
		f.dir = statedir.Inherit(path, lock)
	} else {
		var err error
		if f.dir, err = statedir.Open(path); err != nil {
			return nil, err
		}
	}
	file, content, err := f.dir.Log(denyFileName)
	if err != nil {
		return nil, errors.Join(err, f.dir.Close())
	}
	f.file = file
	damaged := content.Damaged
	for _, record := range content.Records {
		d, _, err := auth.ParseDenial(record)
		if err == nil {
			err = deny.Add(d, time.Now())
		}
		if errors.Is(err, auth.ErrDenyListFull) { // it is in force, whatever this program's limit is
			deny.Max = deny.Len() + 1
			err = deny.Add(d, time.Now())
		}
		if err != nil {
			damaged++
		}
	}
	if content.Torn {
		log.Warn("the last revocation of the program before was not complete: it never held", "file", denyFileName)
	}
	if damaged > 0 {
		log.Error("some revocations cannot be read: they no longer hold", "folder", path, "places", damaged)
	}
	if f.stale = damaged > 0; f.stale || file.Records() != deny.Len() { // also with what a program without a file has left
		switch err := f.rewrite(time.Now()); {
		case err != nil && lock != nil: // tend tries again
			log.Error("revocations are not kept on the disk", "error", err)
		case err != nil:
			return nil, errors.Join(err, f.close())
		}
	}
	return f, nil
}

// add writes entries that are on the deny list. When it returns nil they are on the disk.
func (f *denyFile) add(list ...auth.Denial) error {
	if f == nil || len(list) == 0 {
		return nil
	}
	records := make([][]byte, len(list))
	for i, d := range list {
		records[i] = auth.AppendDenial(nil, d)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.file.Append(records...); err != nil {
		f.stale = true
		return fmt.Errorf("expedite: it will not survive this server's end: %w", err)
	}
	return nil
}

// tend writes the file anew if it lacks entries, or has too many whose time is over.
func (f *denyFile) tend(now time.Time) {
	if f == nil {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.stale && f.file.Records() <= 2*f.deny.Len()+denyFileSlack || now.Before(f.next) {
		return
	}
	if err := f.rewrite(now); err != nil {
		f.log.Error("revocations are not kept on the disk", "error", err)
	}
}

// rewrite writes what is in force. With f.mu held, or before others know f.
func (f *denyFile) rewrite(now time.Time) error {
	f.stale, f.next = true, now.Add(denyFileRetry)
	if err := f.file.Rewrite(f.records(now)); err != nil {
		return err
	}
	f.stale = false
	return nil
}

func (f *denyFile) records(now time.Time) iter.Seq[[]byte] {
	return func(yield func([]byte) bool) {
		for _, d := range f.deny.All(now) {
			if !yield(auth.AppendDenial(nil, d)) {
				return
			}
		}
	}
}

func (f *denyFile) close() error {
	if f == nil {
		return nil
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	return errors.Join(f.file.Close(), f.dir.Close())
}

// openState opens Config.StateDir, if there is one. A program that replaces another cannot do without its clients: what
// fails then is logged, and the trial before should have found it.
func (r *registry) openState(path string, est *estate) error {
	var lock *os.File
	if est != nil {
		lock = est.left.File(fileState)
	}
	if lock != nil && est.StateDir != path {
		_ = lock.Close()
		lock = nil
	}
	if path == "" {
		return nil
	}
	f, err := openDenyFile(path, lock, r.deny, r.log)
	switch {
	case err == nil:
		r.file = f
	case est != nil:
		r.log.Error("revocations are not kept on the disk", "error", err)
	default:
		return fmt.Errorf("expedite: Config.StateDir: %w", err)
	}
	return nil
}

// tryState reports, in a trial, whether a folder that the running program does not have can be used. The lock of the
// one that it has stays where it is.
func (e *estate) tryState(path string) error {
	if path == "" || path == e.StateDir {
		return nil
	}
	d, err := statedir.Open(path)
	if err != nil {
		return fmt.Errorf("expedite: Config.StateDir: %w", err)
	}
	return d.Close()
}
