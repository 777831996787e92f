package reactor_test

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/expedite-go/expedite/internal/reactor"
)

func openFDs(t *testing.T) int {
	t.Helper()
	list, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(list)
}

func TestALoopGivesItsDescriptorsBack(t *testing.T) {
	ln := listen(t, "tcp", "127.0.0.1:0")
	before := openFDs(t)
	for range 3 {
		r := newRig(t, kind{add: addFD}, &script{})
		if _, err := r.loop.Listen(ln, greet(r)); err != nil {
			t.Fatal(err)
		}
		ended := make(chan error, 1)
		go func() { ended <- r.loop.Run() }()
		visit(t, ln)
		end := r.connect()
		r.loop.Stop()
		if err := await(t, ended, "Run to end"); err != nil {
			t.Errorf("Run: %v", err)
		}
		r.loop.Close(end.key, end.sock)
		_ = end.client.Close()
	}
	// There may be fewer: pumps of earlier tests close theirs when their goroutines end.
	if got := openFDs(t); got > before {
		t.Errorf("%d descriptors are open, %d were before", got, before)
	}
}

func TestAddFDClosesWhatItCannotServe(t *testing.T) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0) // not connected
	if err != nil {
		t.Fatal(err)
	}
	name := fmt.Sprintf("/proc/self/fd/%d", fd)
	before, err := os.Readlink(name) // with the socket's number, which no other socket gets soon
	if err != nil {
		t.Fatal(err)
	}
	r := newRig(t, kind{}, &script{})
	r.start()
	r.do(func() {
		if _, _, _, err := r.loop.AddFD(fd); err == nil {
			t.Error("a socket without a peer was taken")
		}
	})
	r.loop.Stop()
	if after, err := os.Readlink(name); err == nil && after == before {
		t.Errorf("descriptor %d was left open", fd)
	}
}

func TestAListenerBacksOffWhenDescriptorsRunOut(t *testing.T) {
	ln := listen(t, "tcp", "127.0.0.1:0")
	r := newRig(t, kind{}, &script{})
	if _, err := r.loop.Listen(ln, greet(r)); err != nil {
		t.Fatal(err)
	}
	c, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	// Nothing at all can be opened then. A limit above the lowest free number would not do: goroutines of earlier tests
	// may still close descriptors below it.
	tight := limit
	tight.Cur = 0
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &tight); err != nil {
		t.Fatal(err)
	}
	restore := func() { _ = unix.Setrlimit(unix.RLIMIT_NOFILE, &limit) }
	defer restore()
	began := time.Now()
	r.start()
	for deadline := began.Add(patience); r.loop.Stats().AcceptBackoffs == 0; {
		if r.do(func() {}); time.Now().After(deadline) {
			t.Fatalf("stats %+v, want a back-off", r.loop.Stats())
		}
	}
	restore()
	most := 2 + uint64(time.Since(began)/(100*time.Millisecond)) // one error for each back-off
	if got, err := io.ReadAll(c); err != nil || len(got) == 0 {
		t.Errorf("after the back-off: greeted with %q, %v", got, err)
	}
	if s := r.loop.Stats(); s.AcceptErrors == 0 || s.AcceptErrors > most || s.Accepted != 1 {
		t.Errorf("stats %+v, want one socket, and at most %d errors", s, most)
	}
}

func TestMonotonicIsTheKernelsClock(t *testing.T) {
	var a, b unix.Timespec
	_ = unix.ClockGettime(unix.CLOCK_MONOTONIC, &a)
	got := reactor.Monotonic()
	_ = unix.ClockGettime(unix.CLOCK_MONOTONIC, &b)
	const slack = 1e6
	if got < a.Nano()-slack || got > b.Nano()+slack {
		t.Errorf("%d, want between %d and %d", got, a.Nano(), b.Nano())
	}
}

func TestSocketCallsAllocateNothing(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates")
	}
	r := newRig(t, kind{add: addFD}, &script{})
	r.start()
	end := r.connect()
	r.do(func() {
		bufs := [][]byte{[]byte("abc"), []byte("def")}
		buf := make([]byte, 100)
		got := testing.AllocsPerRun(100, func() {
			_, _ = end.sock.Write(bufs[0])
			_, _ = end.sock.Writev(bufs)
			_, _ = end.sock.Read(buf)
		})
		if got != 0 {
			t.Errorf("%v allocations, want 0", got)
		}
	})
}

// TestUnacknowledged: what the peer has not taken is known until the socket is closed, even after a reset.
func TestUnacknowledged(t *testing.T) {
	t.Run("descriptor", func(t *testing.T) { unacknowledged(t, kind{add: addFD}, 0) })
	t.Run("pump", func(t *testing.T) { unacknowledged(t, kind{add: addConn}, 64<<10) })
	t.Run("TLS", func(t *testing.T) { unacknowledged(t, sealedKind(), 0) })
}

// unacknowledged checks a kind of socket that counts up to twice bytes that it is writing.
func unacknowledged(t *testing.T, kd kind, twice int) {
	r := newRig(t, kd, &script{})
	r.start()
	end := r.connect()
	unacknowledged := func() (n int) {
		r.do(func() { n = end.sock.Unacknowledged() })
		return n
	}
	write := func(size int) (n int) {
		r.do(func() { n, _ = end.sock.Write(make([]byte, size)) })
		return n
	}
	if n := write(1000); n != 1000 {
		t.Fatalf("%d bytes written, want 1000", n)
	}
	if _, err := io.ReadFull(end.client, make([]byte, 1000)); err != nil {
		t.Fatal(err)
	}
	deadline := time.Now().Add(patience)
	for unacknowledged() > 0 && time.Now().Before(deadline) { // the acknowledgement may be delayed
	}
	if n := unacknowledged(); n != 0 {
		t.Errorf("%d bytes left after the peer has read all", n)
	}
	taken := 0
	for stuck := 0; stuck < 2000; stuck++ { // until nothing more leaves
		if n := write(1 << 20); n > 0 {
			taken, stuck = taken+n, 0
		}
	}
	left := unacknowledged()
	if left <= 0 || left > taken {
		t.Errorf("%d bytes left of %d that the peer does not read", left, taken)
	}
	_ = end.client.SetLinger(0)
	_ = end.client.Close()
	broken := false
	for !broken && time.Now().Before(deadline) {
		r.do(func() {
			_, err := end.sock.Write([]byte("x"))
			broken = err != nil && !errors.Is(err, reactor.ErrAgain)
		})
	}
	if got := unacknowledged(); !broken || got < left-twice {
		t.Errorf("%d bytes left after a reset (noticed: %v), want at least %d", got, broken, left-twice)
	}
}

// TestUnacknowledgedOfUnixSockets: what was written is in the peer's buffer, whether it is read yet or not.
func TestUnacknowledgedOfUnixSockets(t *testing.T) {
	r := newRig(t, kind{add: addFD}, &script{})
	r.start()
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Close(pair[1]) })
	r.do(func() {
		key, sock, _, err := r.loop.AddFD(pair[0])
		if err != nil {
			t.Error(err)
			return
		}
		defer r.loop.Close(key, sock)
		n, err := sock.Write([]byte("not read"))
		if left := sock.Unacknowledged(); err != nil || n != 8 || left != 0 {
			t.Errorf("wrote %d bytes, %v: got %d unacknowledged, want 0", n, err, left)
		}
	})
}
