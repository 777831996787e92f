package control

import (
	"encoding/json"
	"errors"
	"net/http"
	"sync"
	"time"
)

const (
	// progressPatience is how long a client may leave a line of an operation unread. Then it receives no more lines,
	// and the operation continues.
	progressPatience = time.Second
	maxProgress      = 16 << 10 // bytes of progress that wait for a client; further progress is dropped

	logPatience = 10 * time.Minute // how long a client may leave log lines unread before it is disconnected
	maxLogQueue = 1 << 20          // bytes of log lines that wait for a client
	maxLogLine  = 64 << 10         // bytes; a longer line is counted as lost
)

// errClientGone is returned if a client does not read its log lines any more.
var errClientGone = errors.New("control: the client does not read the log any more")

// lineWriter writes lines of JSON as the answer to a request. Writing happens on a goroutine of its own, because the
// client may be slow, stopped or gone. Create one with newLineWriter, and call end.
type lineWriter struct {
	w        http.ResponseWriter
	control  *http.ResponseController
	patience time.Duration
	writer   sync.WaitGroup // write: it alone uses w until end returns

	mu      sync.Mutex
	more    sync.Cond     // queue, head, lost or ended has changed
	room    sync.Cond     // queue has become empty, or gone has changed
	queue   []byte        // whole lines
	head    bool          // the head of the answer is to be sent at once
	lost    uint64        // log lines that were dropped after those in queue
	written chan struct{} // closed when queue has been written, or the client is gone
	begun   bool          // the answer is a stream of lines
	ended   bool
	gone    bool // the client is
}

func newLineWriter(w http.ResponseWriter, patience time.Duration) *lineWriter {
	l := &lineWriter{w: w, control: http.NewResponseController(w), patience: patience, written: make(chan struct{})}
	l.more.L, l.room.L = &l.mu, &l.mu
	l.writer.Go(l.write)
	return l
}

// send queues v as a line. If the queue holds more than limit bytes, it drops the line. The channel is closed when the
// line has been written or the client is gone; it is nil if the line was dropped.
func (l *lineWriter) send(v any, limit int) <-chan struct{} {
	text, err := json.Marshal(v)
	if err != nil { // a rate of NaN, for instance
		text = []byte(`{"error":{"type":"server_error","code":"internal","message":"the value has no JSON"}}`)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.ended || len(l.queue) > limit {
		return nil
	}
	l.begun = true
	if !l.gone {
		l.queue = append(append(l.queue, text...), '\n')
		l.more.Signal()
	}
	return l.written
}

// open sends the head of the answer before there are lines.
func (l *lineWriter) open() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.begun, l.head = true, true
	l.more.Signal()
}

// log queues a log line. If the queue is full, it waits for the client or, if drop is set, counts the line as lost. It
// fails if the client is gone.
func (l *lineWriter) log(text []byte, drop bool) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	for !drop && len(l.queue) > 0 && len(l.queue)+len(text) >= maxLogQueue && !l.gone && !l.ended {
		l.room.Wait()
	}
	if l.gone || l.ended {
		return errClientGone
	}
	// Once lines are lost, further ones are lost until the client has been told: the number is written in their place.
	if l.lost > 0 || len(text) > maxLogLine || len(l.queue)+len(text) >= maxLogQueue {
		l.lost++
	} else {
		l.queue = append(append(l.queue, text...), '\n')
	}
	l.more.Signal()
	return nil
}

// started reports whether the answer is a stream of lines already.
func (l *lineWriter) started() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.begun
}

// end blocks until all lines are written or the client is gone. Further calls do nothing.
func (l *lineWriter) end() {
	l.mu.Lock()
	l.ended = true
	l.more.Signal()
	l.mu.Unlock()
	l.writer.Wait()
}

// write runs on a goroutine until end is called and all lines are written, or until the client is gone.
func (l *lineWriter) write() {
	var spare []byte
	for wrote := false; ; wrote = true {
		l.mu.Lock()
		for len(l.queue) == 0 && l.lost == 0 && !l.head && !l.ended {
			l.more.Wait()
		}
		if len(l.queue) == 0 && l.lost == 0 && !l.head {
			l.mu.Unlock()
			if wrote { // the connection serves further requests, which must not inherit the deadline
				_ = l.control.SetWriteDeadline(time.Time{})
			}
			return
		}
		text, lost, written := l.queue, l.lost, l.written
		l.queue, l.lost, l.head, l.written = spare[:0], 0, false, make(chan struct{})
		l.room.Signal()
		l.mu.Unlock()
		if lost > 0 {
			if b, err := json.Marshal(LostLines{Lost: lost}); err == nil {
				text = append(append(text, b...), '\n')
			}
		}
		if !wrote {
			l.w.Header().Set("Content-Type", "application/x-ndjson")
		}
		ok := l.flush(text)
		close(written)
		if !ok {
			l.mu.Lock()
			defer l.mu.Unlock()
			l.gone, l.queue, l.lost = true, nil, 0
			close(l.written) // of lines queued meanwhile, and of all that follow
			l.room.Signal()
			return
		}
		spare = text
	}
}

// flush writes lines, or only the head of the answer, and reports whether that succeeded.
func (l *lineWriter) flush(text []byte) bool {
	if err := l.control.SetWriteDeadline(time.Now().Add(l.patience)); err != nil {
		return false
	}
	if len(text) == 0 {
		l.w.WriteHeader(http.StatusOK)
	} else if _, err := l.w.Write(text); err != nil {
		return false
	}
	return l.control.Flush() == nil
}

// reporter is the [Reporter] that sends progress to a client.
type reporter struct{ *lineWriter }

// Progress sends a line, unless the client is slow.
func (r reporter) Progress(p Progress) { r.send(line{Progress: &p}, maxProgress) }

// Replacing sends a line, and waits for the client to take it.
func (r reporter) Replacing(generation int, so Result) {
	written := r.send(line{Replacing: &replacing{generation, so}}, maxQueue)
	if written == nil {
		return
	}
	late := time.NewTimer(progressPatience)
	defer late.Stop()
	select {
	case <-written:
	case <-late.C: // a client that takes a few bytes at a time must not delay the replacement
	}
}

// maxQueue is the limit of send for lines that are never dropped.
const maxQueue = 1 << 30

var _ Reporter = reporter{}
