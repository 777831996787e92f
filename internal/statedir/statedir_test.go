package statedir

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
)

// openTest opens a log in a temporary directory of the test.
func openTest(t *testing.T, path string) (*Log, Content) {
	t.Helper()
	l, c, err := openLog(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	return l, c
}

func texts(c Content) string { return string(bytes.Join(c.Records, []byte(" "))) }

// TestLog: opening returns the records that were appended, and Rewrite replaces them.
func TestLog(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	l, c := openTest(t, path)
	if len(c.Records) != 0 || c.Torn || c.Damaged != 0 {
		t.Errorf("a new one: got %+v", c)
	}
	if err := errors.Join(l.Append([]byte("a")), l.Append([]byte("b"), []byte("c"))); err != nil {
		t.Fatal(err)
	}
	if _, c = openTest(t, path); texts(c) != "a b c" || c.Torn {
		t.Errorf("got %q, %+v", texts(c), c)
	}
	if err := l.Rewrite(slices.Values([][]byte{[]byte("b")})); err != nil {
		t.Fatal(err)
	}
	if err := l.Append([]byte("d")); err != nil || l.Records() != 2 {
		t.Errorf("after Rewrite: %v, %d records", err, l.Records())
	}
	if _, c = openTest(t, path); texts(c) != "b d" {
		t.Errorf("got %q", texts(c))
	}
	for _, bad := range [][]byte{nil, make([]byte, MaxRecord+1)} {
		if err := l.Append(bad); !errors.Is(err, ErrRecord) {
			t.Errorf("a record of %d bytes: got %v", len(bad), err)
		}
		if err := l.Rewrite(slices.Values([][]byte{bad})); !errors.Is(err, ErrRecord) {
			t.Errorf("Rewrite with a record of %d bytes: got %v", len(bad), err)
		}
	}
	if _, c = openTest(t, path); texts(c) != "b d" {
		t.Errorf("after what was refused: got %q", texts(c))
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != fileMode && runtime.GOOS != "windows" {
		t.Errorf("got mode %v, %v", info.Mode(), err)
	}
	if list, err := filepath.Glob(path + ".*"); err != nil || len(list) != 0 {
		t.Errorf("left behind: %v, %v", list, err)
	}
}

// TestLogDamage: a truncated file loses its last record only. A changed byte loses one record at most, and is detected.
func TestLogDamage(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	l, _ := openTest(t, path)
	var ends []int
	for i := range 5 {
		if err := l.Append([]byte(fmt.Sprint("record ", i))); err != nil {
			t.Fatal(err)
		}
		ends = append(ends, int(l.size))
	}
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for cut := range whole {
		if err := os.WriteFile(path, whole[:cut], fileMode); err != nil {
			t.Fatal(err)
		}
		want := 0
		for _, end := range ends {
			if end <= cut {
				want++
			}
		}
		l, c, err := openLog(path)
		if err != nil || len(c.Records) != want || c.Damaged != 0 {
			t.Fatalf("cut at %d: got %d records, %+v, %v, want %d", cut, len(c.Records), c, err, want)
		}
		if err := l.Append([]byte("next")); err != nil {
			t.Fatal(err)
		}
		_ = l.Close()
		if _, c := openTest(t, path); len(c.Records) != want+1 || c.Torn || c.Damaged != 0 {
			t.Errorf("cut at %d, and appended: got %q, %+v", cut, texts(c), c)
		}
	}
	for at := len(logHeader); at < len(whole); at++ {
		b := bytes.Clone(whole)
		b[at] ^= 0x10
		c, _, err := parseLog(b)
		if err != nil || len(c.Records) != len(ends)-1 || c.Damaged == 0 && !c.Torn {
			t.Errorf("byte %d changed: got %q, %+v, %v", at, texts(c), c, err)
		}
	}
	if err := os.WriteFile(path, []byte("something else, and long enough"), fileMode); err != nil {
		t.Fatal(err)
	}
	if _, _, err := openLog(path); !errors.Is(err, ErrFormat) {
		t.Errorf("another file: got %v", err)
	}
}

// TestGoldenLog: logs of the first version stay readable.
func TestGoldenLog(t *testing.T) {
	b, err := os.ReadFile(filepath.Join("testdata", "log.v1"))
	if err != nil {
		t.Fatal(err)
	}
	if c, end, err := parseLog(b); err != nil || texts(c) != "one two three" || end != len(b) {
		t.Errorf("got %q, %d, %v", texts(c), end, err)
	}
}

// TestDir: a directory has one owner, the error names it, and inherited descriptors hold the lock.
func TestDir(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("directories are not locked on Windows")
	}
	path := filepath.Join(t.TempDir(), "a", "b")
	cmd := holder(path)
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if _, err := out.Read(make([]byte, 5)); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(path); !errors.Is(err, ErrInUse) || !strings.Contains(err.Error(), fmt.Sprint("process ", cmd.Process.Pid)) {
		t.Errorf("a folder that is held: got %v, want the process %d in it", err, cmd.Process.Pid)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != dirMode {
		t.Errorf("got %v, %v", info.Mode(), err)
	}
	_ = in.Close()
	if err := cmd.Wait(); err != nil {
		t.Fatal(err)
	}
	d, err := Open(path)
	if err != nil {
		t.Fatalf("after its owner's end: %v", err)
	}
	defer d.Close()
	if l, _, err := d.Log("x"); err != nil || l.Append([]byte("y")) != nil || l.Close() != nil {
		t.Errorf("got %v", err)
	}
	open := filepath.Join(t.TempDir(), "open")
	if err := errors.Join(os.Mkdir(open, dirMode), os.Chmod(open, 0o777)); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(open); err == nil {
		t.Error("a folder that everybody can write to: got no error")
	}
}

// FuzzParseLog: parsing never panics, and the records before the damage are read.
func FuzzParseLog(f *testing.F) {
	good := []byte(logHeader)
	for _, p := range []string{"one", "two", "three"} {
		var err error
		if good, err = appendRecord(good, []byte(p)); err != nil {
			f.Fatal(err)
		}
	}
	f.Add(good)
	f.Add(good[:len(good)-1])
	f.Add(append(bytes.Clone(good), recordMark+"\xff\xff\xff\xff\x00\x00\x00\x00"...))
	f.Fuzz(func(t *testing.T, b []byte) {
		c, end, err := parseLog(b)
		if err != nil {
			return
		}
		if end > len(b) {
			t.Fatalf("end %d of %d", end, len(b))
		}
		again := []byte(logHeader)
		for _, p := range c.Records {
			if again, err = appendRecord(again, p); err != nil {
				t.Fatal(err)
			}
		}
		d, _, err := parseLog(again)
		if err != nil || texts(d) != texts(c) || d.Torn || d.Damaged != 0 {
			t.Errorf("written again: %+v, %v", d, err)
		}
		more, _, err := parseLog(append(bytes.Clone(good), b...))
		if err != nil || len(more.Records) < 3 {
			t.Errorf("behind three good ones: %d records, %v", len(more.Records), err)
		}
	})
}
