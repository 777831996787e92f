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

// operateTimeout bounds what an operator asks for, but logs.
const operateTimeout = 30 * time.Second

// clientRoutes adds the endpoints for sessions, connections, logs and messages.
func (s *Server) clientRoutes(mux *http.ServeMux, target Target) {
	handle := func(path, method string, next http.HandlerFunc) { mux.HandleFunc(path, only(method, next)) }
	handle("/sessions", http.MethodGet, func(w http.ResponseWriter, r *http.Request) {
		req, err := parseSessionsRequest(r.URL.Query())
		if err != nil {
			failRoll(w, toError(err, CodeBadRequest))
			return
		}
		ctx, cancel := context.WithTimeout(r.Context(), operateTimeout)
		defer cancel()
		answer(w, func() (SessionList, error) { return target.Sessions(ctx, req) })
	})
	handle("/kick", http.MethodPost, func(w http.ResponseWriter, r *http.Request) { operate(s, w, r, target.Kick) })
	handle("/revoke", http.MethodPost, func(w http.ResponseWriter, r *http.Request) { operate(s, w, r, target.Revoke) })
	handle("/publish", http.MethodPost, func(w http.ResponseWriter, r *http.Request) {
		operate(s, w, r, func(ctx context.Context, req PublishRequest) (struct{}, error) {
			return struct{}{}, target.Publish(ctx, req)
		})
	})
	handle("/reopen-logs", http.MethodPost, func(w http.ResponseWriter, r *http.Request) {
		operate(s, w, r, func(ctx context.Context, _ nothing) (struct{}, error) { return struct{}{}, target.ReopenLogs(ctx) })
	})
	handle("/logs", http.MethodPost, func(w http.ResponseWriter, r *http.Request) { s.logs(w, r, target) })
}

// checked is a request that knows whether it makes sense.
type checked interface{ check() error }

// nothing is the request that says nothing.
type nothing struct{}

func (nothing) check() error { return nil }

// operate reads a request, acts on it, whether or not its sender waits for the end, and answers.
func operate[Req checked, Res any](
	s *Server, w http.ResponseWriter, r *http.Request, do func(context.Context, Req) (Res, error),
) {
	var req Req
	if err := readRequest(w, r, &req); err != nil {
		failRoll(w, toError(err, CodeBadRequest))
		return
	}
	ctx, cancel := s.detached(r)
	defer cancel()
	ctx, stop := context.WithTimeout(ctx, operateTimeout)
	defer stop()
	answer(w, func() (Res, error) { return do(ctx, req) })
}

// answer answers with what f returns.
func answer[Res any](w http.ResponseWriter, f func() (Res, error)) {
	res, err := f()
	if err != nil {
		failRoll(w, toError(err, CodeFailed))
		return
	}
	reply(w, http.StatusOK, res)
}

// readRequest reads the body of a request and checks it. The error is a RollError.
func readRequest[Req checked](w http.ResponseWriter, r *http.Request, req *Req) error {
	body := http.MaxBytesReader(w, r.Body, maxText)
	if err := json.NewDecoder(body).Decode(req); err != nil && !errors.Is(err, io.EOF) {
		return badRequest("the body is no request of %s: %v", r.URL.Path, err)
	}
	_, _ = io.Copy(io.Discard, body) // only then does the server notice that the requester leaves
	return (*req).check()
}

// detached is a context that ends when the server closes, and not with the request: what goes on must not stop half-way
// because somebody stopped watching. Its cancel waits for the goroutine behind it.
func (s *Server) detached(r *http.Request) (context.Context, func()) {
	ctx, cancel := context.WithCancel(context.WithoutCancel(r.Context()))
	var wg sync.WaitGroup
	wg.Go(func() {
		select {
		case <-s.done:
			cancel()
		case <-ctx.Done():
		}
	})
	return ctx, func() { cancel(); wg.Wait() }
}

// logs streams log lines for as long as somebody reads.
func (s *Server) logs(w http.ResponseWriter, r *http.Request, target Target) {
	var req LogsRequest
	if err := readRequest(w, r, &req); err != nil {
		failRoll(w, toError(err, CodeBadRequest))
		return
	}
	if s.readers.Add(1) > maxReaders {
		s.readers.Add(-1)
		s.refused.Add(1)
		failRoll(w, &Error{Code: CodeBusy, Message: "16 read the logs already: end one of them"})
		return
	}
	defer s.readers.Add(-1)
	ctx, cancel := s.attached(r)
	defer cancel()
	stream := newLogStream(w, req.Follow)
	err := target.Logs(ctx, req, stream.add)
	if err != nil && ctx.Err() == nil {
		stream.fail(toError(err, CodeFailed))
	}
	stream.end()
}

// attached is a context that ends with the request, and when the server closes. Its cancel waits for the goroutine
// behind it.
func (s *Server) attached(r *http.Request) (context.Context, func()) {
	ctx, cancel := s.detached(r)
	stop := context.AfterFunc(r.Context(), func() { cancel() })
	return ctx, func() { stop(); cancel() }
}
