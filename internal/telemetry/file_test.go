package telemetry

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"
)

// logFile is a File in a folder of its own, with the clock and the standard error of the test.
type logFile struct {
	*File
	t      *testing.T
	dir    string
	clock  time.Time
	stderr bytes.Buffer
}

func openLog(t *testing.T, o FileOptions) *logFile {
	t.Helper()
	l := &logFile{t: t, dir: filepath.Join(t.TempDir(), "logs"), clock: time.Date(2026, 1, 2, 15, 4, 5, 0, time.UTC)}
	if err := os.Mkdir(l.dir, 0o755); err != nil {
		t.Fatal(err)
	}
	l.open(o, "x.log")
	return l
}

func (l *logFile) open(o FileOptions, name string) {
	l.t.Helper()
	f, err := OpenFile(filepath.Join(l.dir, name), o)
	if err != nil {
		l.t.Fatal(err)
	}
	l.File = f
	f.stderr, f.now = &l.stderr, func() time.Time { return l.clock }
	f.looked = l.clock
	l.t.Cleanup(func() { _ = f.Close() })
}

// write writes a line, which must succeed.
func (l *logFile) write(line string) {
	l.t.Helper()
	if n, err := l.Write([]byte(line + "\n")); err != nil || n != len(line)+1 {
		l.t.Errorf("write of %q: got %d, %v", line, n, err)
	}
}

// want compares the names and contents of the files.
func (l *logFile) want(files map[string]string) {
	l.t.Helper()
	entries, err := os.ReadDir(l.dir)
	if err != nil {
		l.t.Fatal(err)
	}
	got := make(map[string]string)
	for _, e := range entries {
		b, err := os.ReadFile(filepath.Join(l.dir, e.Name()))
		if err != nil {
			l.t.Fatal(err)
		}
		got[e.Name()] = string(b)
	}
	if fmt.Sprint(got) != fmt.Sprint(files) {
		l.t.Errorf("files: got %q, want %q", got, files)
	}
}

func TestFileAppends(t *testing.T) {
	l := openLog(t, FileOptions{})
	l.write("a")
	info, err := os.Stat(l.path)
	if err != nil {
		t.Fatal(err)
	}
	if got := info.Mode().Perm(); got != 0o600 && runtime.GOOS != "windows" {
		t.Errorf("mode: got %o, want 600", got)
	}
	if err := errors.Join(l.Close(), l.Close()); err != nil {
		t.Error(err)
	}
	if _, err := l.Write([]byte("late\n")); !errors.Is(err, fs.ErrClosed) {
		t.Errorf("write after close: got %v, want fs.ErrClosed", err)
	}
	if err := l.Reopen(); !errors.Is(err, fs.ErrClosed) {
		t.Errorf("reopen after close: got %v, want fs.ErrClosed", err)
	}
	l.File.closed = true
	l.open(FileOptions{}, "x.log")
	l.write("b")
	l.want(map[string]string{"x.log": "a\nb\n"})
}

func TestFileRefuses(t *testing.T) {
	dir := t.TempDir()
	for _, path := range []string{"", dir, filepath.Join(dir, "no", "x.log")} {
		if f, err := OpenFile(path, FileOptions{}); err == nil || !strings.HasPrefix(err.Error(), "telemetry: log file: ") {
			t.Errorf("%q: got %v, %v, want an error", path, f, err)
		}
	}
}

// TestFileRotates checks that a file rotates before a line that would make it too large, that backups are named after
// the time, and that the oldest are removed.
func TestFileRotates(t *testing.T) {
	l := openLog(t, FileOptions{MaxBytes: 4, Backups: 2})
	for name, content := range map[string]string{"x-notes.log": "mine", "x-2026-01-02T15-04-05.000.txt": "mine", "y.log": "mine"} {
		if err := os.WriteFile(filepath.Join(l.dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for i := range 9 {
		l.write(fmt.Sprint(i))
		if i == 5 {
			l.clock = l.clock.Add(time.Minute)
		}
	}
	l.write("a line that is longer than a file")
	l.write("z")
	l.want(map[string]string{
		"x.log": "z\n", "x-2026-01-02T15-05-05.003.log": "a line that is longer than a file\n",
		"x-2026-01-02T15-05-05.002.log": "8\n",
		"x-notes.log":                   "mine", "x-2026-01-02T15-04-05.000.txt": "mine", "y.log": "mine",
	})
	if l.Err() != nil || l.stderr.Len() > 0 {
		t.Errorf("got %v, %q, want no trouble", l.Err(), &l.stderr)
	}
}

// TestClockSetBack checks that backups are removed in the order in which they were made.
func TestClockSetBack(t *testing.T) {
	l := openLog(t, FileOptions{MaxBytes: 4, Backups: 1})
	for _, line := range []string{"abc", "def", "ghi"} {
		l.write(line)
		l.clock = l.clock.Add(-time.Hour)
	}
	l.want(map[string]string{"x.log": "ghi\n", "x-2026-01-02T14-04-05.001.log": "def\n"})
}

// TestFileRotatesWhatItFinds checks that the size of an existing file counts.
func TestFileRotatesWhatItFinds(t *testing.T) {
	l := openLog(t, FileOptions{MaxBytes: 4, Backups: -1})
	l.write("abc")
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	l.open(FileOptions{MaxBytes: 4, Backups: -1}, "x.log")
	l.write("d")
	l.want(map[string]string{"x.log": "d\n", "x-2026-01-02T15-04-05.000.log": "abc\n"})
}

func TestFileWithoutEnd(t *testing.T) {
	l := openLog(t, FileOptions{MaxBytes: -1})
	for range 100 {
		l.write(strings.Repeat("x", 1<<10))
	}
	if entries, err := os.ReadDir(l.dir); err != nil || len(entries) != 1 {
		t.Errorf("got %v, %v, want one file", entries, err)
	}
}

// TestReopen checks that a renamed file is left alone, that one that was not renamed is rotated, and that an empty one
// stays.
func TestReopen(t *testing.T) {
	l := openLog(t, FileOptions{})
	reopen := func() {
		t.Helper()
		if err := l.Reopen(); err != nil {
			t.Error(err)
		}
	}
	reopen()
	l.write("a")
	reopen()
	reopen()
	l.write("b")
	l.want(map[string]string{"x.log": "b\n", "x-2026-01-02T15-04-05.000.log": "a\n"})

	move := func(to string) {
		t.Helper()
		if err := os.Rename(l.path, filepath.Join(l.dir, to)); err != nil {
			t.Fatal(err)
		}
	}
	move("x.log.1")
	l.write("c") // goes where the file went
	reopen()
	l.write("d")
	move("x.log.2")
	if err := os.WriteFile(l.path, []byte("new\n"), 0o640); err != nil { // like logrotate with create
		t.Fatal(err)
	}
	reopen()
	l.write("e")
	l.want(map[string]string{
		"x.log": "new\ne\n", "x.log.1": "b\nc\n", "x.log.2": "d\n", "x-2026-01-02T15-04-05.000.log": "a\n",
	})
	if l.stderr.Len() > 0 {
		t.Errorf("got %q, want no trouble", &l.stderr)
	}
}

// TestRotationOfARenamedFile checks that rotation leaves a renamed file and the file that replaced it alone.
func TestRotationOfARenamedFile(t *testing.T) {
	l := openLog(t, FileOptions{MaxBytes: 4})
	l.write("abc")
	if err := os.Rename(l.path, l.path+".1"); err != nil {
		t.Fatal(err)
	}
	l.write("d")
	l.want(map[string]string{"x.log": "d\n", "x.log.1": "abc\n"})
}

func TestRotationRenamesTheFileAndNotALinkToIt(t *testing.T) {
	l := openLog(t, FileOptions{MaxBytes: 4})
	if err := os.Symlink("x.log", filepath.Join(l.dir, "link")); err != nil {
		t.Skip("no right to make symbolic links: ", err)
	}
	l.open(FileOptions{MaxBytes: 4}, "link")
	l.write("abc")
	l.write("d")
	l.want(map[string]string{"x.log": "d\n", "link": "d\n", "x-2026-01-02T15-04-05.000.log": "abc\n"})
}

// TestNoBackup checks that a file of which no backup can be made continues to grow, with one message.
func TestNoBackup(t *testing.T) {
	l := openLog(t, FileOptions{MaxBytes: 4})
	name := strings.Repeat("x", 250) // the name of a backup is too long for the system
	l.open(FileOptions{MaxBytes: 160}, name)
	if err := os.Remove(filepath.Join(l.dir, "x.log")); err != nil {
		t.Fatal(err)
	}
	for range 41 {
		l.write("abc")
	}
	l.want(map[string]string{name: strings.Repeat("abc\n", 41)})
	if l.limit <= l.size {
		t.Errorf("limit %d of %d bytes: a backup is tried at each line", l.limit, l.size)
	}
	if got := l.stderr.String(); strings.Count(got, "\n") != 1 || !strings.Contains(got, "too long") || l.Err() == nil {
		t.Errorf("got %q, %v, want one message", got, l.Err())
	}
	if err := l.Reopen(); err == nil {
		t.Error("reopen: got no error, want one")
	}
	l.write("abc")
	l.want(map[string]string{name: strings.Repeat("abc\n", 42)})
}

// TestFolderRemoved checks that lines go to standard error until the folder exists again.
func TestFolderRemoved(t *testing.T) {
	l := openLog(t, FileOptions{})
	l.write("a")
	if err := os.RemoveAll(l.dir); err != nil {
		t.Skip("this system does not remove open files: ", err)
	}
	if err := l.Reopen(); !errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), "reopen") {
		t.Errorf("reopen: got %v, want fs.ErrNotExist", err)
	}
	l.write("b")
	l.write("c")
	if err := l.Err(); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("trouble: got %v, want fs.ErrNotExist", err)
	}
	told, rest, _ := strings.Cut(l.stderr.String(), "\n")
	if !strings.Contains(told, l.path) || !strings.Contains(told, "no such file") || rest != "b\nc\n" {
		t.Errorf("standard error: got %q, want a message and the lines", &l.stderr)
	}
	if err := os.Mkdir(l.dir, 0o755); err != nil {
		t.Fatal(err)
	}
	l.write("d")
	l.want(map[string]string{"x.log": "d\n"})
	if err := l.Err(); err != nil {
		t.Errorf("trouble afterwards: got %v, want none", err)
	}
}

// TestFileRemoved checks that a removed file is created again without Reopen.
func TestFileRemoved(t *testing.T) {
	l := openLog(t, FileOptions{})
	if err := os.Remove(l.path); err != nil {
		t.Skip("this system does not remove open files: ", err)
	}
	l.clock = l.clock.Add(lookEvery)
	l.write("a")
	l.want(map[string]string{"x.log": "a\n"})
}

// TestFullDisk checks that lines go to standard error, and that none is lost.
func TestFullDisk(t *testing.T) {
	if _, err := os.Stat("/dev/full"); err != nil {
		t.Skip("this system has no /dev/full")
	}
	l := openLog(t, FileOptions{MaxBytes: 4})
	if err := os.Symlink("/dev/full", filepath.Join(l.dir, "full")); err != nil {
		t.Fatal(err)
	}
	l.open(FileOptions{MaxBytes: 4}, "full")
	l.write("abc")
	l.write("def")
	told, rest, _ := strings.Cut(l.stderr.String(), "\n")
	if !strings.Contains(told, "no space left") || rest != "abc\ndef\n" {
		t.Errorf("standard error: got %q, want a message and the lines", &l.stderr)
	}
	if err := l.Reopen(); err != nil {
		t.Errorf("reopen of a device: %v", err)
	}
	l.stderr = bytes.Buffer{}
	l.File.stderr = broken{}
	if n, err := l.Write([]byte("x\n")); err == nil || n != 0 {
		t.Errorf("no standard error either: got %d, %v, want an error", n, err)
	}
}

type broken struct{}

func (broken) Write([]byte) (int, error) { return 0, io.ErrClosedPipe }

// TestFileConcurrently checks that lines stay whole and none is lost during rotations from inside and outside, while
// two Files write to the same path, as those of a worker and its successor do.
func TestFileConcurrently(t *testing.T) {
	l := openLog(t, FileOptions{MaxBytes: 2000, Backups: -1})
	other := &logFile{t: t, dir: l.dir, clock: l.clock}
	other.open(FileOptions{MaxBytes: 2000, Backups: -1}, "x.log")
	const writers, lines = 4, 300
	var wg sync.WaitGroup
	for g := range writers {
		wg.Go(func() {
			for i := range lines {
				[]*logFile{l, other}[g%2].write(fmt.Sprintf("line %d %d end", g, i))
			}
		})
	}
	for _, f := range []*logFile{l, other} {
		wg.Go(func() {
			for range 50 {
				if err := f.Reopen(); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	entries, err := os.ReadDir(l.dir)
	if err != nil {
		t.Fatal(err)
	}
	seen := make(map[string]int)
	for _, e := range entries {
		b, err := os.ReadFile(filepath.Join(l.dir, e.Name()))
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(b)) {
			seen[line]++
		}
	}
	for g := range writers {
		for i := range lines {
			if line := fmt.Sprintf("line %d %d end\n", g, i); seen[line] != 1 {
				t.Errorf("%q: got it %d times, want once", line, seen[line])
			}
		}
	}
	if len(seen) != writers*lines || l.stderr.Len()+other.stderr.Len() > 0 {
		t.Errorf("got %d lines, standard error %q and %q", len(seen), &l.stderr, &other.stderr)
	}
}
