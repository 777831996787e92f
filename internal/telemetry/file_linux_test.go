package telemetry

import (
	"os/signal"
	"strings"
	"syscall"
	"testing"
)

// TestTornLine checks that a line of which only a part was written is written whole elsewhere, and that the next one is
// a line of its own. A limit on the size of files simulates a full disk.
func TestTornLine(t *testing.T) {
	l := openLog(t, FileOptions{})
	l.write("abc")
	var was syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_FSIZE, &was); err != nil {
		t.Fatal(err)
	}
	signal.Ignore(syscall.SIGXFSZ)
	defer signal.Reset(syscall.SIGXFSZ)
	limit := func(n uint64) {
		t.Helper()
		if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &syscall.Rlimit{Cur: n, Max: was.Max}); err != nil {
			t.Fatal(err)
		}
	}
	defer limit(was.Cur)
	limit(6)
	l.write("defgh") // two bytes of it fit
	l.write("i")
	limit(was.Cur)
	l.write("jkl")
	l.write("mno")
	l.want(map[string]string{"x.log": "abc\nde\njkl\nmno\n"})
	if l.Err() != nil {
		t.Errorf("trouble afterwards: got %v, want none", l.Err())
	}
	told, rest, _ := strings.Cut(l.stderr.String(), "\n")
	if told == "" || rest != "defgh\ni\n" {
		t.Errorf("standard error: got %q, want a message and the lines", &l.stderr)
	}
}
