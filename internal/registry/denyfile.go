package registry

import (
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"os"
	"sync"
	"time"

	"github.com/expedite-go/expedite/internal/denylist"
	"github.com/expedite-go/expedite/internal/statedir"
)

// denyFile keeps the deny list on disk, for a primary that begins after this one was killed. A nil denyFile keeps
// nothing.
type denyFile struct {
	dir  *statedir.Dir
	deny *denylist.List
	log  *slog.Logger

	mu    sync.Mutex
	file  *statedir.Log
	stale bool      // the file lacks entries
	next  time.Time // earliest time to rewrite a stale file
}

const (
	denyFileName = "revocations"
	// denyFileSlack is the number of records beyond twice the entries in force at which the file is rewritten.
	denyFileSlack = 1000
	// denyFileRetry is the time between attempts to write a stale file.
	denyFileRetry = 5 * time.Second
)

// openDenyFile locks the folder, or takes over its lock, and adds the entries of the file to the deny list.
func openDenyFile(path string, lock *os.File, deny *denylist.List, log *slog.Logger) (*denyFile, error) {
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
		d, _, err := denylist.Parse(record)
		if err == nil {
			err = deny.Add(d, time.Now())
		}
		if errors.Is(err, denylist.ErrFull) { // it stays in force, whatever the limit of this program
			deny.Max = deny.Len() + 1
			err = deny.Add(d, time.Now())
		}
		if err != nil {
			damaged++
		}
	}
	if content.Torn {
		log.Warn("the last revocation in the file is incomplete: the program before never confirmed it", "file", denyFileName)
	}
	if damaged > 0 {
		log.Error("some revocations cannot be read: they are no longer in force", "folder", path, "places", damaged)
	}
	f.stale = damaged > 0
	if f.stale || file.Records() != deny.Len() { // the program before may have had revocations and no file
		switch err := f.rewrite(time.Now()); {
		case err != nil && lock != nil: // tend tries again
			log.Error("revocations are not kept on disk", "error", err)
		case err != nil:
			return nil, errors.Join(err, f.close())
		}
	}
	return f, nil
}

// add appends entries of the deny list. When it returns nil they are on disk.
func (f *denyFile) add(list ...denylist.Entry) error {
	if f == nil || len(list) == 0 {
		return nil
	}
	records := make([][]byte, len(list))
	for i, d := range list {
		records[i] = denylist.Append(nil, d)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.file.Append(records...); err != nil {
		f.stale = true
		return fmt.Errorf("expedite: the revocation ends with this server: %w", err)
	}
	return nil
}

// tend rewrites the file if it lacks entries, or has too many that have expired.
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
		f.log.Error("revocations are not kept on disk", "error", err)
	}
}

// rewrite writes what is in force. The caller holds f.mu, or is the only one that knows f.
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
			if !yield(denylist.Append(nil, d)) {
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

// OpenStateDir keeps the deny list in a folder from now on, and adds to it what the folder knows. Lock is the folder's
// lock if the program before this one held it, else nil; OpenStateDir takes it over. An empty path keeps nothing.
func (s *Server) OpenStateDir(path string, lock *os.File) error {
	if path == "" {
		return nil
	}
	f, err := openDenyFile(path, lock, s.deny, s.log)
	if err != nil {
		return err
	}
	s.file = f
	return nil
}

// StateDir returns the folder that is in use and a copy of its lock; an empty path if there is none.
func (s *Server) StateDir() (path string, lock *os.File, err error) {
	if s.file == nil {
		return "", nil, nil
	}
	lock, err = s.file.dir.File()
	return s.file.dir.Path, lock, err
}
