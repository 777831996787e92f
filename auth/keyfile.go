package auth

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

// fileInterval is the minimum time between two checks for changes.
const fileInterval = time.Second

// File is a KeySource that reads keys from a file; KeyFile and SecretFile open one. When it is used, but at most once a
// second, it checks the file and reads it again if its modification time, size or inode has changed. Replace the file
// by renaming another one over it. If the new content cannot be read, the old keys stay in use.
type File struct {
	path  string
	parse func([]byte) (KeySet, error)

	keys    atomic.Pointer[KeySet]
	next    atomic.Int64 // time of the next check, in nanoseconds since 1970
	reloads atomic.Uint64
	failed  atomic.Uint64

	mu     sync.Mutex // held during a check
	info   os.FileInfo
	fault  string // latest error, which is reported once
	report func(error)
}

// KeyFile opens a file in one of the formats of ParseKeys.
func KeyFile(path string) (*File, error) { return openFile(path, ParseKeys) }

// SecretFile opens a file in one of the formats of ParseSecret.
func SecretFile(path string) (*File, error) { return openFile(path, ParseSecret) }

// ParseSecret parses a secret for HS256, HS384 or HS512: text of at least 32 bytes, without the line ends after it, or
// the output of GenerateKey, which is a JWK of kty oct or a set of them.
func ParseSecret(b []byte) (KeySet, error) {
	set := Secret(trimSecret(b))
	if bytes.HasPrefix(bytes.TrimSpace(b), []byte("{")) {
		var err error
		if set, err = ParseKeys(b); err != nil {
			return nil, err
		}
	}
	for _, k := range set {
		if _, ok := k.Public.([]byte); !ok {
			return nil, errors.New("auth: secret: a key that is not a secret")
		}
	}
	if err := set.check(); err != nil {
		return nil, fmt.Errorf("auth: secret: %w", err)
	}
	return set, nil
}

func trimSecret(b []byte) []byte { return bytes.TrimRight(b, "\r\n") }

func openFile(path string, parse func([]byte) (KeySet, error)) (*File, error) {
	f := &File{path: path, parse: parse}
	if err := f.load(); err != nil {
		return nil, err
	}
	f.next.Store(time.Now().Add(fileInterval).UnixNano())
	return f, nil
}

// OnError sets the function that is called when new content cannot be read, once per error. It is called on a goroutine
// that asks for keys.
func (f *File) OnError(report func(error)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.report = report
}

// Reloads returns how often the file was read again, and how often that failed.
func (f *File) Reloads() (done, failed uint64) { return f.reloads.Load(), f.failed.Load() }

// Keys implements KeySource. It never fails.
func (f *File) Keys(ctx context.Context, kid string) ([]Key, error) {
	if now := time.Now(); now.UnixNano() >= f.next.Load() && f.mu.TryLock() {
		f.next.Store(now.Add(fileInterval).UnixNano())
		f.look()
		f.mu.Unlock()
	}
	return f.keys.Load().Keys(ctx, kid)
}

// look reads the file again if it has changed. f.mu must be held.
func (f *File) look() {
	info, err := os.Stat(f.path)
	if err == nil {
		if os.SameFile(info, f.info) && info.ModTime().Equal(f.info.ModTime()) && info.Size() == f.info.Size() {
			return
		}
		err = f.load()
		f.info = info // do not read bad content again before it changes
	}
	if err == nil {
		f.reloads.Add(1)
		f.fault = ""
		return
	}
	if err.Error() == f.fault {
		return
	}
	f.failed.Add(1)
	f.fault = err.Error()
	if f.report != nil {
		f.report(err)
	}
}

// load reads the file. f.mu must be held unless f is new.
func (f *File) load() error {
	file, err := os.Open(f.path)
	if err != nil {
		return fmt.Errorf("auth: %w", err)
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return fmt.Errorf("auth: %w", err)
	}
	b, err := io.ReadAll(io.LimitReader(file, maxKeyFile+1))
	if err != nil {
		return fmt.Errorf("auth: %w", err)
	}
	keys, err := f.parse(b)
	if err != nil {
		return fmt.Errorf("%w (%s)", err, f.path)
	}
	f.keys.Store(&keys)
	f.info = info
	return nil
}

var _ KeySource = (*File)(nil)
