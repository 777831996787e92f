package cluster

import (
	"io"
	"strings"
	"sync"
)

// tailSize is the number of bytes of a worker's standard error that are kept to explain its exit.
const tailSize = 2 << 10

// tail is a writer that forwards to another one and keeps the last tailSize bytes.
type tail struct {
	to io.Writer

	mu   sync.Mutex
	last []byte
}

// Write forwards b and keeps its end. It never fails: errors of the other writer are ignored.
func (t *tail) Write(b []byte) (int, error) {
	t.mu.Lock()
	t.last = append(t.last, b...)
	if over := len(t.last) - tailSize; over > 0 {
		t.last = append(t.last[:0], t.last[over:]...)
	}
	t.mu.Unlock()
	_, _ = t.to.Write(b)
	return len(b), nil
}

// String returns the bytes that are kept.
func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return string(t.last)
}

// lastLine returns the last line of s.
func lastLine(s string) string {
	s = strings.TrimRight(s, "\r\n")
	return s[strings.LastIndexByte(s, '\n')+1:]
}
