package control

import (
	"encoding/json"
	"errors"
	"net/http"
	"sync"
	"time"
)

const (
	maxReaders     = 16               // of logs
	maxLogQueue    = 1 << 20          // bytes that wait for a reader
	maxLogLine     = 64 << 10         // bytes; a longer line counts as lost
	readerPatience = 10 * time.Minute // with a reader that takes nothing: then it is cut
)

// errNoReader says that the reader of a log is gone.
var errNoReader = errors.New("control: nobody reads the log any more")

// logStream writes log lines to a reader that may be slow or gone. Make one with newLogStream, and end it.
type logStream struct {
	w       http.ResponseWriter
	control *http.ResponseController
	drop    bool           // rather than wait
	writer  sync.WaitGroup // of write, which alone uses w until the end

	mu    sync.Mutex
	more  sync.Cond // queue, lost or ended has changed
	room  sync.Cond // queue has become empty, or gone has changed
	queue []byte    // whole lines
	lost  uint64    // lines, after those in queue
	ended bool
	gone  bool // the reader is
}

// newLogStream begins the answer. One that follows drops lines when the reader is slow, another waits.
func newLogStream(w http.ResponseWriter, follow bool) *logStream {
	s := &logStream{w: w, control: http.NewResponseController(w), drop: follow}
	s.more.L, s.room.L = &s.mu, &s.mu
	s.writer.Go(s.write)
	return s
}

// add takes a line. It fails when nobody reads.
func (s *logStream) add(line []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for !s.drop && len(s.queue) > 0 && len(s.queue)+len(line) >= maxLogQueue && !s.gone && !s.ended {
		s.room.Wait()
	}
	if s.gone || s.ended {
		return errNoReader
	}
	// After a loss there is room again when the reader has been told.
	if s.lost > 0 || len(line) > maxLogLine || len(s.queue)+len(line) >= maxLogQueue {
		s.lost++
	} else {
		s.queue = append(append(s.queue, line...), '\n')
	}
	s.more.Signal()
	return nil
}

// fail ends the stream with an error that travels.
func (s *logStream) fail(err *Error) {
	text, errText := json.Marshal(line{Error: err})
	if errText != nil { // cannot be: texts and a number
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.queue = append(append(s.queue, text...), '\n')
}

// end returns when all lines are written, or the reader is gone.
func (s *logStream) end() {
	s.mu.Lock()
	s.ended = true
	s.more.Signal()
	s.mu.Unlock()
	s.writer.Wait()
}

// write is the goroutine of the stream. It ends with it.
func (s *logStream) write() {
	s.w.Header().Set("Content-Type", "application/x-ndjson")
	var spare []byte
	for first := true; ; first = false {
		s.mu.Lock()
		for !first && len(s.queue) == 0 && s.lost == 0 && !s.ended {
			s.more.Wait()
		}
		if !first && len(s.queue) == 0 && s.lost == 0 {
			s.mu.Unlock()
			break
		}
		text, lost := s.queue, s.lost
		s.queue, s.lost = spare[:0], 0
		s.room.Signal()
		s.mu.Unlock()
		if lost > 0 {
			if l, err := json.Marshal(LostLines{Lost: lost}); err == nil {
				text = append(append(text, l...), '\n')
			}
		}
		if !s.send(text) {
			s.mu.Lock()
			s.gone, s.queue, s.lost = true, nil, 0
			s.room.Signal()
			s.mu.Unlock()
			return
		}
		spare = text
	}
	// The connection lives on for other requests, for which this deadline is none.
	_ = s.control.SetWriteDeadline(time.Time{})
}

// send writes lines, or only the head of the answer, and says whether the reader may have got it.
func (s *logStream) send(text []byte) bool {
	if err := s.control.SetWriteDeadline(time.Now().Add(readerPatience)); err != nil {
		return false
	}
	if len(text) == 0 {
		s.w.WriteHeader(http.StatusOK)
	} else if _, err := s.w.Write(text); err != nil {
		return false
	}
	return s.control.Flush() == nil
}
