package spool

import (
	"bytes"
	"io"
)

// Writer passes a stream of lines to another writer through a Queue. A byte has size 1. Output that does not fit is
// dropped up to the end of a line. A Writer is not safe for concurrent use; several Writers may share a Queue.
type Writer struct {
	to   io.Writer
	q    *Queue
	open bool // the last output that was queued does not end a line
	torn bool // the end of that line was dropped
	cut  bool // the last output that was dropped does not end a line
}

// NewWriter returns a Writer that passes bytes to another one.
func NewWriter(to io.Writer, q *Queue) *Writer { return &Writer{to: to, q: q} }

// Write queues b, which may be reused when it returns. It never blocks and never fails.
func (w *Writer) Write(b []byte) (int, error) {
	n := len(b)
	if w.cut {
		rest := b[bytes.IndexByte(b, '\n')+1:] // all of b if it has no end of line
		if w.cut = len(rest) == n; w.cut {
			rest = nil
		}
		w.q.Lose(n - len(rest))
		b = rest
	}
	if len(b) == 0 {
		return n, nil
	}
	var chunk []byte
	if w.torn {
		chunk = append(chunk, '\n')
	}
	chunk = append(chunk, b...)
	queued := w.q.Put(len(chunk), func() error {
		_, err := w.to.Write(chunk)
		return err
	})
	whole := b[len(b)-1] == '\n'
	if queued {
		w.open, w.torn = !whole, false
	} else {
		w.cut, w.torn, w.open = !whole, w.torn || w.open, false
	}
	return n, nil
}

var _ io.Writer = (*Writer)(nil)
