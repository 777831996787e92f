//go:build unix

package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"syscall"
	"time"

	"github.com/expedite-go/expedite/session"
)

// Files is a session.Store in a directory: a JSON file for each session, in a directory for each user. All workers of a
// machine open the same directory. A lock on a file makes each method atomic, so that one method runs at a time; a
// store with many clients would use a database.
//
// Sessions and tickets that have expired are treated as gone, but their files are only removed when they are read.
type Files struct {
	dir string

	mu   sync.Mutex // for the goroutines of this process; lock is for the others
	lock *os.File
}

// ticket is the file of a ticket.
type ticket struct {
	Value   []byte
	Expires time.Time
}

// Open opens the store in a directory, and creates the directory if necessary.
func Open(dir string) (*Files, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	lock, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	return &Files{dir: dir, lock: lock}, nil
}

// Close implements session.Store.
func (f *Files) Close() error { return f.lock.Close() }

// Attach implements session.Store.
func (f *Files) Attach(_ context.Context, a session.Attach) (done session.Attached, err error) {
	if err := a.Validate(); err != nil {
		return done, err
	}
	err = f.locked(func(now time.Time) error {
		if s, err := f.read(a.ID, now); err == nil && s.User == a.User {
			if done.Resumed = true; !s.Place.IsZero() && s.Place != a.Place {
				done.Session, done.Pending = s.Session, true // it stays with its connection until Claim
				return nil
			}
			done.Session = resume(&s, a, now)
			return f.write(s)
		}
		victims, err := f.victims(a, now)
		if err != nil {
			return err
		}
		done.Session = session.Session{
			ID: session.NewID(a.User), User: a.User, Params: a.Params, Created: now, Seen: now,
			TTL: a.Policy.Lifetime(), Place: a.Place,
		}
		done.Pending = len(victims) > 0
		return f.write(session.Saved{Session: done.Session})
	})
	return done, err
}

// Claim implements session.Store.
func (f *Files) Claim(_ context.Context, a session.Attach) (done session.Attached, err error) {
	if err := a.Validate(); err != nil {
		return done, err
	}
	err = f.locked(func(now time.Time) error {
		s, err := f.read(a.ID, now)
		if err != nil {
			return err
		}
		if s.User != a.User {
			return session.ErrNotFound
		}
		if s.Place != a.Place {
			done.Replaced = s.Place
		}
		done.Session, done.Resumed = resume(&s, a, now), true
		if err := f.write(s); err != nil {
			return err
		}
		victims, _ := f.victims(a, now) // those that the policy protects stay
		done.Pending = len(victims) > session.MaxBatch
		done.Evicted = victims[:min(len(victims), session.MaxBatch)]
		for _, victim := range done.Evicted {
			if err := f.remove(victim.ID); err != nil {
				return err
			}
		}
		return nil
	})
	return done, err
}

// resume gives a session to a connection.
func resume(s *session.Saved, a session.Attach, now time.Time) session.Session {
	s.Place, s.Seen, s.TTL = a.Place, now, a.Policy.Lifetime()
	if a.Params != nil {
		s.Params = a.Params
	}
	return s.Session
}

// victims returns the sessions that make room for the one of a.
func (f *Files) victims(a session.Attach, now time.Time) ([]session.Session, error) {
	if a.User == "" || a.Policy.MaxPerUser == 0 {
		return nil, nil
	}
	list, err := f.ofUser(a.User, now)
	if err != nil {
		return nil, err
	}
	list = slices.DeleteFunc(list, func(s session.Session) bool { return s.ID == a.ID })
	return a.Policy.Victims(list, now)
}

// Detach implements session.Store.
func (f *Files) Detach(_ context.Context, refs []session.Ref) error { return f.end(refs, false) }

// Discard implements session.Store.
func (f *Files) Discard(_ context.Context, refs []session.Ref) error { return f.end(refs, true) }

func (f *Files) end(refs []session.Ref, discard bool) error {
	return f.locked(func(now time.Time) error {
		for _, ref := range refs {
			s, err := f.read(ref.ID, now)
			switch {
			case errors.Is(err, session.ErrNotFound), err == nil && s.Place.Conn != ref.Conn:
				continue // it has another connection by now
			case err == nil && discard && len(s.Values) == 0:
				err = f.remove(ref.ID)
			case err == nil:
				s.Place, s.Seen = session.Place{}, now
				err = f.write(s)
			}
			if err != nil {
				return err
			}
		}
		return nil
	})
}

// Touch implements session.Store.
func (f *Files) Touch(_ context.Context, refs []session.Ref) (lost []session.Ref, err error) {
	err = f.locked(func(now time.Time) error {
		for _, ref := range refs {
			s, err := f.read(ref.ID, now)
			if errors.Is(err, session.ErrNotFound) {
				lost = append(lost, ref)
				continue
			}
			if s.Seen = now; err == nil {
				err = f.write(s)
			}
			if err != nil {
				return err
			}
		}
		return nil
	})
	return lost, err
}

// Restore implements session.Store.
func (f *Files) Restore(_ context.Context, list []session.Saved) (superseded []session.ID, err error) {
	err = f.locked(func(now time.Time) error {
		for _, one := range list {
			if err := one.Validate(); err != nil {
				return err
			}
			s, err := f.read(one.ID, now)
			switch {
			case errors.Is(err, session.ErrNotFound):
				s = session.Saved{Session: one.Session}
			case err != nil:
				return err
			case s.User != one.User || !s.Place.IsZero() && s.Place != one.Place:
				superseded = append(superseded, one.ID)
				continue
			}
			if s.Values, err = session.Changes(one.Values).Apply(s.Values); err != nil {
				return err
			}
			s.Place, s.Seen, s.TTL = one.Place, now, session.ClampTTL(one.TTL)
			if err := f.write(s); err != nil {
				return err
			}
		}
		return nil
	})
	return superseded, err
}

// Load implements session.Store.
func (f *Files) Load(_ context.Context, id session.ID, keys ...string) (values map[string][]byte, err error) {
	err = f.locked(func(now time.Time) error {
		s, err := f.read(id, now)
		values = make(map[string][]byte)
		for key, v := range s.Values {
			if len(keys) == 0 || slices.Contains(keys, key) {
				values[key] = v
			}
		}
		return err
	})
	return values, err
}

// Save implements session.Store.
func (f *Files) Save(_ context.Context, id session.ID, changes session.Changes) error {
	return f.locked(func(now time.Time) error {
		s, err := f.read(id, now)
		if err == nil {
			s.Values, err = changes.Apply(s.Values)
		}
		if err == nil {
			err = f.write(s)
		}
		return err
	})
}

// Find implements session.Store.
func (f *Files) Find(_ context.Context, ids ...session.ID) (found []session.Session, err error) {
	err = f.locked(func(now time.Time) error {
		found, err = f.existing(ids, now)
		return err
	})
	return found, err
}

// List implements session.Store.
func (f *Files) List(_ context.Context, user string, page session.Page) (list []session.Session, err error) {
	if user == "" {
		return nil, nil
	}
	err = f.locked(func(now time.Time) error {
		list, err = f.ofUser(user, now)
		return err
	})
	newer := func(a, b session.Session) int {
		return cmp.Or(b.Created.Compare(a.Created), bytes.Compare(b.ID[:], a.ID[:]))
	}
	last := session.Session{ID: page.ID, Created: page.Created}
	list = slices.DeleteFunc(list, func(s session.Session) bool { return !page.IsFirst() && newer(last, s) >= 0 })
	slices.SortFunc(list, newer)
	return list[:min(len(list), page.Limit())], err
}

// Drop implements session.Store.
func (f *Files) Drop(_ context.Context, ids ...session.ID) (dropped []session.Session, err error) {
	err = f.locked(func(now time.Time) error {
		if dropped, err = f.existing(ids, now); err != nil {
			return err
		}
		for _, s := range dropped {
			if err := f.remove(s.ID); err != nil {
				return err
			}
		}
		return nil
	})
	return dropped, err
}

// PutTicket implements session.Store.
func (f *Files) PutTicket(_ context.Context, key [32]byte, value []byte, ttl time.Duration) error {
	if err := session.ValidateTicket(value); err != nil {
		return err
	}
	return f.locked(func(now time.Time) error {
		return writeJSON(f.ticketPath(key), ticket{value, now.Add(session.ClampTTL(ttl))})
	})
}

// TakeTicket implements session.Store.
func (f *Files) TakeTicket(_ context.Context, key [32]byte) ([]byte, error) {
	var t ticket
	err := f.locked(func(now time.Time) error {
		err := readJSON(f.ticketPath(key), &t)
		if err == nil {
			err = os.Remove(f.ticketPath(key))
		}
		if err == nil && !now.Before(t.Expires) {
			err = session.ErrNotFound
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	return t.Value, nil
}

// locked calls do while no other method runs, in any process. Errors of the file system mean that the store cannot be
// used at present.
func (f *Files) locked(do func(now time.Time) error) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := syscall.Flock(int(f.lock.Fd()), syscall.LOCK_EX); err != nil {
		return session.Unavailable(fmt.Errorf("store: %w", err))
	}
	defer func() { _ = syscall.Flock(int(f.lock.Fd()), syscall.LOCK_UN) }()
	err := do(time.Now())
	if _, isFile := errors.AsType[*os.PathError](err); isFile {
		return session.Unavailable(fmt.Errorf("store: %w", err))
	}
	return err
}

// userDir returns the directory of the sessions of a user. Each anonymous session has one of its own.
func (f *Files) userDir(t session.Tag) string { return filepath.Join(f.dir, hex.EncodeToString(t[:])) }

func (f *Files) path(id session.ID) string { return filepath.Join(f.userDir(id.Tag()), id.String()) }

func (f *Files) ticketPath(key [32]byte) string {
	return filepath.Join(f.dir, "tickets", hex.EncodeToString(key[:]))
}

// existing returns those of the sessions that exist.
func (f *Files) existing(ids []session.ID, now time.Time) (list []session.Session, err error) {
	for _, id := range ids {
		switch s, err := f.read(id, now); {
		case err == nil:
			list = append(list, s.Session)
		case !errors.Is(err, session.ErrNotFound):
			return list, err
		}
	}
	return list, nil
}

// ofUser returns the sessions of a named user, sorted by Created.
func (f *Files) ofUser(user string, now time.Time) ([]session.Session, error) {
	entries, err := os.ReadDir(f.userDir(session.TagOf(user)))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	var ids []session.ID
	for _, entry := range entries {
		if id, err := session.ParseID(entry.Name()); err == nil { // otherwise it is a file that was not completed
			ids = append(ids, id)
		}
	}
	list, err := f.existing(ids, now)
	slices.SortStableFunc(list, func(a, b session.Session) int { return a.Created.Compare(b.Created) })
	return list, err
}

// read returns a session. It removes one that has expired.
func (f *Files) read(id session.ID, now time.Time) (s session.Saved, err error) {
	if err := readJSON(f.path(id), &s); err != nil {
		return session.Saved{}, err
	}
	if !now.Before(s.Seen.Add(s.TTL)) {
		return session.Saved{}, cmp.Or(f.remove(id), session.ErrNotFound)
	}
	return s, nil
}

func (f *Files) write(s session.Saved) error { return writeJSON(f.path(s.ID), s) }

func (f *Files) remove(id session.ID) error { return os.Remove(f.path(id)) }

// readJSON returns session.ErrNotFound if there is no such file.
func readJSON(path string, v any) error {
	b, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		return session.ErrNotFound
	}
	if err != nil {
		return err
	}
	return json.Unmarshal(b, v)
}

// writeJSON replaces a file. A crash leaves either the old file or the new one.
func writeJSON(path string, v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	if err := os.WriteFile(path+".new", b, 0o600); err != nil {
		return err
	}
	return os.Rename(path+".new", path)
}

var _ session.Store = (*Files)(nil)
