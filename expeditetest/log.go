package expeditetest

import (
	"io"
	"sync"
)

// testLog writes to the log of a test, until the test is about to end: a later line would be a panic.
type testLog struct {
	mu     sync.Mutex
	out    io.Writer
	closed bool
}

func (l *testLog) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return len(b), nil
	}
	return l.out.Write(b)
}

func (l *testLog) close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closed = true
}
