package control

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"sync"
	"time"
)

const (
	// lineTimeout is how long a reader may leave a line untaken. Then it gets no more, and the operation goes on.
	lineTimeout = time.Second
	// maxLines is how many lines wait for a slow reader. Those of the progress beyond are dropped.
	maxLines = 64
)

// rollRoutes are the endpoints of the operations.
func (s *Server) rollRoutes(mux *http.ServeMux, target Target) {
	mux.HandleFunc("/reload", only(http.MethodPost, func(w http.ResponseWriter, r *http.Request) {
		req := ReloadRequest{CanarySeconds: DefaultCanarySeconds}
		s.roll(w, r, &req, func(ctx context.Context, rep Reporter) (Result, error) {
			if err := req.check(); err != nil {
				return Result{}, err
			}
			return target.Reload(ctx, req, rep)
		})
	}))
	mux.HandleFunc("/scale", only(http.MethodPost, func(w http.ResponseWriter, r *http.Request) {
		var req ScaleRequest
		s.roll(w, r, &req, func(ctx context.Context, rep Reporter) (Result, error) {
			if err := req.check(); err != nil {
				return Result{}, err
			}
			return target.Scale(ctx, req, rep)
		})
	}))
	mux.HandleFunc("/rebalance", only(http.MethodPost, func(w http.ResponseWriter, r *http.Request) {
		s.roll(w, r, &struct{}{}, target.Rebalance)
	}))
}

// roll reads a request into req, runs an operation and streams how it goes on. An error before the first line is a
// plain one.
func (s *Server) roll(
	w http.ResponseWriter, r *http.Request, req any, run func(context.Context, Reporter) (Result, error),
) {
	body := http.MaxBytesReader(w, r.Body, maxRequest)
	if err := json.NewDecoder(body).Decode(req); err != nil && !errors.Is(err, io.EOF) {
		failRoll(w, badRequest("the body is no request of %s: %v", r.URL.Path, err))
		return
	}
	ctx, cancel := s.detached(r)
	defer cancel()
	stream := newStream(w)
	defer stream.end()
	result, err := run(ctx, stream)
	switch {
	case err == nil:
		stream.add(line{Result: &result}, true)
	case stream.started():
		stream.add(line{Error: toError(err, CodeFailed)}, true)
	default:
		stream.end()
		failRoll(w, toError(err, CodeUnavailable))
	}
}

// failRoll answers with the error of an operation that has not begun.
func failRoll(w http.ResponseWriter, err *Error) {
	status, _ := err.class()
	reply(w, status, line{Error: err})
}

// stream writes lines of JSON to a reader that may be slow, stopped or gone: nobody waits for it but the goroutine of
// the stream. Make one with newStream, and end it.
type stream struct {
	w       http.ResponseWriter
	control *http.ResponseController
	writer  sync.WaitGroup // of write, which alone uses w until the end

	mu    sync.Mutex
	more  sync.Cond // queue or ended has changed
	queue []entry
	begun bool // a line was added
	ended bool
}

// entry is a line on its way out.
type entry struct {
	text []byte
	out  chan struct{} // closed when it is written, or nobody is there to read; or nil
}

func newStream(w http.ResponseWriter) *stream {
	s := &stream{w: w, control: http.NewResponseController(w)}
	s.more.L = &s.mu
	s.writer.Go(s.write)
	return s
}

// Progress is part of [Reporter].
func (s *stream) Progress(p Progress) { s.add(line{Progress: &p}, false) }

// Replacing is part of [Reporter].
func (s *stream) Replacing(generation int, r Result) {
	out := s.add(line{Replacing: &replacing{generation, r}}, true)
	if out == nil {
		return
	}
	late := time.NewTimer(lineTimeout)
	defer late.Stop()
	select {
	case <-out:
	case <-late.C: // a reader that takes little by little must not hold the replacement up
	}
}

// add queues a line. One that must be sent is never dropped. What it returns is closed when the line is out, nil if it
// never will be.
func (s *stream) add(l line, must bool) <-chan struct{} {
	text, err := json.Marshal(l)
	if err != nil { // a rate that is no number, say
		if !must {
			return nil
		}
		text = []byte(`{"error":{"type":"server_error","code":"internal","message":"no JSON for it"}}`)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ended || (!must && len(s.queue) >= maxLines) {
		return nil
	}
	e := entry{append(text, '\n'), make(chan struct{})}
	s.queue, s.begun = append(s.queue, e), true
	s.more.Signal()
	return e.out
}

// started says whether the answer is a stream already.
func (s *stream) started() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.begun
}

// end returns when all lines are written. Further calls change nothing.
func (s *stream) end() {
	s.mu.Lock()
	s.ended = true
	s.more.Signal()
	s.mu.Unlock()
	s.writer.Wait()
}

// write is the goroutine of the stream. It ends with it.
func (s *stream) write() {
	broken, wrote := false, false
	for {
		s.mu.Lock()
		for len(s.queue) == 0 && !s.ended {
			s.more.Wait()
		}
		if len(s.queue) == 0 {
			s.mu.Unlock()
			break
		}
		batch := s.queue
		s.queue = nil
		s.mu.Unlock()
		for _, e := range batch {
			if !wrote {
				s.w.Header().Set("Content-Type", "application/x-ndjson")
				wrote = true
			}
			broken = broken || !s.send(e.text)
			close(e.out)
		}
	}
	if wrote && !broken {
		// The connection lives on for other requests, for which this deadline is none.
		_ = s.control.SetWriteDeadline(time.Time{})
	}
}

// send writes one line and says whether the reader may have got it.
func (s *stream) send(text []byte) bool {
	if err := s.control.SetWriteDeadline(time.Now().Add(lineTimeout)); err != nil {
		return false
	}
	if _, err := s.w.Write(text); err != nil {
		return false
	}
	return s.control.Flush() == nil
}

var _ Reporter = (*stream)(nil)
