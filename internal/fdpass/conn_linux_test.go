package fdpass

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"testing"

	"golang.org/x/sys/unix"
)

const testLimit = 2 << 20

// pair returns the two ends of a connection, closed at the end of the test.
func pair(t *testing.T) (a, b *Conn) {
	t.Helper()
	fa, fb, err := Pair()
	if err != nil {
		t.Fatal(err)
	}
	conns := make([]*Conn, 2)
	for i, f := range []*os.File{fa, fb} {
		if conns[i], err = NewConn(f, testLimit); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = conns[i].Close() })
	}
	return conns[0], conns[1]
}

// openFDs returns the number of open descriptors of this process.
func openFDs(t *testing.T) int {
	t.Helper()
	list, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(list)
}

// dups returns n descriptors.
func dups(t *testing.T, n int) []int {
	t.Helper()
	var fds []int
	for range n {
		fd, err := unix.Eventfd(0, unix.EFD_CLOEXEC)
		if err != nil {
			t.Fatal(err)
		}
		fds = append(fds, fd)
	}
	return fds
}

func TestFramesKeepTheirOrderAndSize(t *testing.T) {
	a, b := pair(t)
	sizes := []int{0, 1, 5, readAhead - 7, readAhead, readAhead + 1, 1 << 20, 3, testLimit, 2, 0}
	for i := range 3000 {
		sizes = append(sizes, i%97)
	}
	sent := make(chan error, 1)
	go func() { // ends when all is written
		var frames []byte
		for i, n := range sizes {
			frames = AppendFrame(frames, byte(i), 0, bytes.Repeat([]byte{byte(i)}, n))
			if i%50 == 0 || i == len(sizes)-1 {
				if err := a.Write(frames); err != nil {
					sent <- err
					return
				}
				frames = frames[:0]
			}
		}
		sent <- a.CloseWrite()
	}()
	for i, n := range sizes {
		f, err := b.Read()
		if err != nil {
			t.Fatalf("frame %d: %v", i, err)
		}
		if f.Kind != byte(i) || !bytes.Equal(f.Payload, bytes.Repeat([]byte{byte(i)}, n)) {
			t.Fatalf("frame %d: kind %d, %d bytes, want %d bytes", i, f.Kind, len(f.Payload), n)
		}
	}
	if _, err := b.Read(); !errors.Is(err, io.EOF) {
		t.Errorf("at the end: %v, want io.EOF", err)
	}
	if err := <-sent; err != nil {
		t.Error(err)
	}
	if got := len(b.buf); got != readAhead {
		t.Errorf("buffer of %d bytes is kept after large frames, want %d", got, readAhead)
	}
}

func TestDescriptorsFindTheirFrames(t *testing.T) {
	a, b := pair(t)
	before := openFDs(t)
	counts := []int{1, 0, 0, MaxFDs, 2, 0, 64, 64, 1, 0}
	payload := func(i int) []byte { return bytes.Repeat([]byte{byte(i)}, 100+i*9000) } // some are longer than one read
	sent := make(chan error, 1)
	inodes := make(chan []string, len(counts))
	send := func() error { // closes its own descriptors when it returns
		for i, n := range counts {
			frame := AppendFrame(nil, byte(i), n, payload(i))
			if n == 0 {
				inodes <- nil
				if err := a.Write(frame); err != nil {
					return err
				}
				continue
			}
			var list []string
			var fds []int
			for range n {
				r, w, err := os.Pipe()
				if err != nil {
					return err
				}
				_ = w.Close()
				defer r.Close()
				fds = append(fds, int(r.Fd()))
				list = append(list, inode(int(r.Fd())))
			}
			inodes <- list
			if err := a.WriteFDs(frame, fds); err != nil {
				return err
			}
		}
		return nil
	}
	go func() { sent <- send() }() // ends when all is written
	for i, n := range counts {
		want := <-inodes
		f, err := b.Read()
		if err != nil {
			t.Fatalf("frame %d: %v", i, err)
		}
		if len(f.FDs) != n || f.Lost != 0 || !bytes.Equal(f.Payload, payload(i)) {
			t.Fatalf("frame %d: %d descriptors, %d lost, %d bytes, want %d, 0, %d",
				i, len(f.FDs), f.Lost, len(f.Payload), n, len(payload(i)))
		}
		for j, fd := range f.FDs {
			if got := inode(fd); got != want[j] {
				t.Errorf("frame %d descriptor %d: %s, want %s", i, j, got, want[j])
			}
			if flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0); err != nil || flags&unix.FD_CLOEXEC == 0 {
				t.Errorf("frame %d descriptor %d is not close-on-exec (%v)", i, j, err)
			}
		}
		closeAll(f.FDs)
	}
	if err := <-sent; err != nil {
		t.Fatal(err)
	}
	if after := openFDs(t); after != before {
		t.Errorf("%d descriptors are open, %d were", after, before)
	}
}

// inode identifies the file of a descriptor.
func inode(fd int) string {
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return err.Error()
	}
	return fmt.Sprint(st.Dev, ":", st.Ino)
}

func TestLostDescriptorsAreCounted(t *testing.T) {
	a, b := pair(t)
	fds := dups(t, 20)
	if err := a.WriteFDs(AppendFrame(nil, 1, len(fds), []byte("x")), fds); err != nil {
		t.Fatal(err)
	}
	if err := a.Write(AppendFrame(nil, 2, 0, []byte("y"))); err != nil {
		t.Fatal(err)
	}
	var old unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &old); err != nil {
		t.Fatal(err)
	}
	short := unix.Rlimit{Cur: uint64(fds[len(fds)-1]) + 6, Max: old.Max} // room for five
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &short); err != nil {
		t.Fatal(err)
	}
	f, err := b.Read()
	if rerr := unix.Setrlimit(unix.RLIMIT_NOFILE, &old); rerr != nil {
		t.Fatal(rerr)
	}
	if err != nil {
		t.Fatal(err)
	}
	if f.Lost == 0 || f.Lost+len(f.FDs) != len(fds) {
		t.Errorf("%d lost, %d came of %d", f.Lost, len(f.FDs), len(fds))
	}
	for i, fd := range f.FDs {
		if got, want := inode(fd), inode(fds[i]); got != want {
			t.Errorf("descriptor %d: %s, want %s: the first must come", i, got, want)
		}
	}
	closeAll(f.FDs)
	closeAll(fds)
	if f, err := b.Read(); err != nil || f.Kind != 2 || f.Lost != 0 {
		t.Errorf("the next frame: %+v, %v", f, err)
	}
}

func TestReadRefusesWhatIsNoFrame(t *testing.T) {
	one := []int{1} // descriptors are given by their index in this list
	tests := []struct {
		name string
		b    []byte
		fds  []int
		want error
	}{
		{"too long", []byte{255, 255, 255, 255, 1, 0}, nil, ErrFrame},
		{"descriptors announced that did not come", AppendFrame(nil, 1, 1, nil), nil, ErrFrame},
		{"more descriptors than announced", AppendFrame(nil, 1, 1, nil), []int{1, 1}, ErrFrame},
		{"descriptors that no frame announced", AppendFrame(nil, 1, 0, nil), one, ErrFrame},
		{"an end within a frame", AppendFrame(nil, 1, 1, []byte("abc"))[:7], one, io.ErrUnexpectedEOF},
		{"an end within a header", []byte{0, 0}, nil, io.ErrUnexpectedEOF},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			a, b := pair(t)
			before := openFDs(t)
			var err error
			if tt.fds != nil {
				err = a.WriteFDs(tt.b, tt.fds)
			} else {
				err = a.Write(tt.b)
			}
			if err = errors.Join(err, a.CloseWrite()); err != nil {
				t.Fatal(err)
			}
			for err == nil {
				_, err = b.Read()
			}
			if !errors.Is(err, tt.want) {
				t.Errorf("error %v, want %v", err, tt.want)
			}
			if after := openFDs(t); after != before {
				t.Errorf("%d descriptors are open, %d were", after, before)
			}
		})
	}
}

func TestCloseEndsARead(t *testing.T) {
	a, b := pair(t)
	ended := make(chan error, 1)
	go func() { // ends with Close
		_, err := b.Read()
		ended <- err
	}()
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	if err := <-ended; err == nil {
		t.Error("Read returned a frame")
	}
	if _, err := a.Read(); !errors.Is(err, io.EOF) {
		t.Errorf("the peer reads %v, want io.EOF", err)
	}
}

func TestNewConnRefusesWhatIsNoSocket(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	if c, err := NewConn(r, testLimit); err == nil {
		_ = c.Close()
		t.Error("a pipe was taken")
	}
}
