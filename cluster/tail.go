package cluster

import (
	"io"
	"strings"
	"sync"
)

// tailSize is how much of a worker's last words is kept to explain its death.
const tailSize = 2 << 10

// tail passes on what is written, and remembers the end of it.
type tail struct {
	to io.Writer

	mu   sync.Mutex
	last []byte
}

// Write is part of io.Writer. What cannot be passed on is remembered still.
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

// String is all that is remembered.
func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return string(t.last)
}

// lastLine is the last line of s.
func lastLine(s string) string {
	s = strings.TrimRight(s, "\r\n")
	return s[strings.LastIndexByte(s, '\n')+1:]
}
