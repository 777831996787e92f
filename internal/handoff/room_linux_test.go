package handoff

import (
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// openFiles limits this process to n more descriptors until the returned function is called.
func openFiles(t *testing.T, n int) (restore func()) {
	t.Helper()
	var old unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &old); err != nil {
		t.Fatal(err)
	}
	top, err := unix.FcntlInt(0, unix.F_DUPFD_CLOEXEC, 0) // the lowest free one
	if err != nil {
		t.Fatal(err)
	}
	closeFD(top)
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: uint64(top + n), Max: old.Max}); err != nil {
		t.Fatal(err)
	}
	restore = func() {
		if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &old); err != nil {
			t.Error(err)
		}
	}
	t.Cleanup(restore) // even if the test fails, so that the others do not
	return restore
}

func TestDescriptorsThatTheKernelDropsAreRefused(t *testing.T) {
	w := newWorld(t, 2*batchSize)
	w.giver.fenced = true
	w.start()
	w.giver.await(t, "fences", func() bool { return len(w.giver.fences) == 2 })
	w.giver.do(t, func() { w.giver.fences[0]() })
	w.taker.await(t, "the first batch", func() bool { return len(w.taker.live) == batchSize })
	// Its descriptors must be closed before the room is counted.
	w.giver.await(t, "its release", func() bool { return w.giver.end.out.Moved == batchSize })
	// Both sides are in one process: the limit must be restored before anything comes back, which is after the thaw.
	w.giver.onThaw = openFiles(t, 10)
	w.giver.do(t, func() { w.giver.fences[1]() })
	o := w.given()
	wantErr(t, o.Err, errRefused)
	if !strings.Contains(o.Err.Error(), "of 64 descriptors could not be received: too many open files") || o.Moved != batchSize || o.Returned != batchSize {
		t.Errorf("given %+v", o)
	}
	w.taken()
	w.owned(2*batchSize, 0)
}
