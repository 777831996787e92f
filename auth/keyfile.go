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

// fileInterval is how often a file of keys is looked at, at most.
const fileInterval = time.Second

// File is a KeySource that follows a file. Make one with KeyFile or SecretFile. It is looked at when it is used, at
// most once a second, and read again when its time, its size or its place on the disk has changed: replace it by
// renaming another over it. While the new content cannot be read, the old keys stay.
type File struct {
	path  string
	parse func([]byte) (KeySet, error)

	keys    atomic.Pointer[KeySet]
	next    atomic.Int64 // when to look again, in nanoseconds since 1970
	reloads atomic.Uint64
	failed  atomic.Uint64

	mu     sync.Mutex // held while somebody looks
	info   os.FileInfo
	fault  string // the latest error: one is reported once
	report func(error)
}

// KeyFile reads a file in one of the forms of ParseKeys, and follows it.
func KeyFile(path string) (*File, error) { return openFile(path, ParseKeys) }

// SecretFile reads a file that holds what ParseSecret reads, and follows it.
func SecretFile(path string) (*File, error) { return openFile(path, ParseSecret) }

// ParseSecret reads a secret for HS256, HS384 or HS512: a text of at least 32 bytes, without the line ends behind it,
// or what GenerateKey makes of one, a JWK of kty oct or a set of them.
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
			return nil, errors.New("auth: secret: a key that is none")
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

// OnError sets who hears of a new content that cannot be read: once for each error, on a goroutine that asks for keys.
func (f *File) OnError(report func(error)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.report = report
}

// Reloads counts how often the file was read again, and how often that failed.
func (f *File) Reloads() (done, failed uint64) { return f.reloads.Load(), f.failed.Load() }

// Keys is part of KeySource. It never fails.
func (f *File) Keys(ctx context.Context, kid string) ([]Key, error) {
	if now := time.Now(); now.UnixNano() >= f.next.Load() && f.mu.TryLock() {
		f.next.Store(now.Add(fileInterval).UnixNano())
		f.look()
		f.mu.Unlock()
	}
	return f.keys.Load().Keys(ctx, kid)
}

// look reads the file again if it has changed. With f.mu held.
func (f *File) look() {
	info, err := os.Stat(f.path)
	if err == nil {
		if os.SameFile(info, f.info) && info.ModTime().Equal(f.info.ModTime()) && info.Size() == f.info.Size() {
			return
		}
		err = f.load()
		f.info = info // broken content is not read again before it changes
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

// load reads the file. With f.mu held, or before anybody else knows f.
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
