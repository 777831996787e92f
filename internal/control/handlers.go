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
	maxRequest     = 64 << 10         // bytes of the body of an operation or a stop
	requestTimeout = 30 * time.Second // of all requests but operations and logs
	maxLogClients  = 16
)

// routes adds the endpoints.
func (s *Server) routes(mux *http.ServeMux, target Target) {
	handle := func(method, path string, next http.HandlerFunc) { mux.HandleFunc(path, only(method, next)) }
	handle(http.MethodGet, "/status", func(w http.ResponseWriter, r *http.Request) { status(w, r, target) })
	handle(http.MethodPost, "/stop", func(w http.ResponseWriter, r *http.Request) { s.stop(w, r, target) })
	handle(http.MethodPost, "/reload", func(w http.ResponseWriter, r *http.Request) {
		req := ReloadRequest{CanarySeconds: DefaultCanarySeconds}
		s.operation(w, r, &req, func(ctx context.Context, rep Reporter) (Result, error) {
			if err := req.check(); err != nil {
				return Result{}, err
			}
			return target.Reload(ctx, req, rep)
		})
	})
	handle(http.MethodPost, "/scale", func(w http.ResponseWriter, r *http.Request) {
		var req ScaleRequest
		s.operation(w, r, &req, func(ctx context.Context, rep Reporter) (Result, error) {
			if err := req.check(); err != nil {
				return Result{}, err
			}
			return target.Scale(ctx, req, rep)
		})
	})
	handle(http.MethodPost, "/rebalance", func(w http.ResponseWriter, r *http.Request) {
		s.operation(w, r, &struct{}{}, target.Rebalance)
	})
	handle(http.MethodGet, "/sessions", func(w http.ResponseWriter, r *http.Request) {
		req, err := parseSessionsRequest(r.URL.Query())
		if err != nil {
			failWith(w, toError(err, CodeBadRequest))
			return
		}
		ctx, cancel := context.WithTimeout(r.Context(), requestTimeout)
		defer cancel()
		answer(w, func() (SessionList, error) { return target.Sessions(ctx, req) })
	})
	handle(http.MethodPost, "/kick", func(w http.ResponseWriter, r *http.Request) { do(s, w, r, target.Kick) })
	handle(http.MethodPost, "/revoke", func(w http.ResponseWriter, r *http.Request) { do(s, w, r, target.Revoke) })
	handle(http.MethodPost, "/publish", func(w http.ResponseWriter, r *http.Request) {
		do(s, w, r, func(ctx context.Context, req PublishRequest) (empty, error) {
			return empty{}, target.Publish(ctx, req)
		})
	})
	handle(http.MethodPost, "/drain", func(w http.ResponseWriter, r *http.Request) {
		do(s, w, r, func(ctx context.Context, req DrainRequest) (empty, error) {
			return empty{}, target.Drain(ctx, req)
		})
	})
	handle(http.MethodGet, "/ready", func(w http.ResponseWriter, r *http.Request) {
		answer(w, func() (Readiness, error) { return target.Ready(r.Context()) })
	})
	handle(http.MethodPost, "/reopen-logs", func(w http.ResponseWriter, r *http.Request) {
		do(s, w, r, func(ctx context.Context, _ empty) (empty, error) { return empty{}, target.ReopenLogs(ctx) })
	})
	handle(http.MethodPost, "/logs", func(w http.ResponseWriter, r *http.Request) { s.logs(w, r, target) })
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		fail(w, http.StatusNotFound, "not_found", "there is no "+r.URL.Path+
			": there are /status, /stop, /reload, /scale, /rebalance, /sessions, /kick, /revoke, /logs, /publish, "+
			"/drain, /ready and /reopen-logs")
	})
}

// only refuses methods other than the given one.
func only(method string, next http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if r.Method != method {
			w.Header().Set("Allow", method)
			fail(w, http.StatusMethodNotAllowed, "method_not_allowed", r.URL.Path+" takes "+method+" only")
			return
		}
		next(w, r)
	}
}

func status(w http.ResponseWriter, r *http.Request, target Target) {
	st, err := target.Status(r.Context())
	if err == nil && r.URL.Query().Get("all") != "" {
		err = addNodes(r.Context(), &st, target)
	}
	if err != nil {
		fail(w, http.StatusServiceUnavailable, "unavailable", err.Error())
		return
	}
	reply(w, http.StatusOK, st)
}

// stop begins the shutdown and answers at once, but holds back the end of the answer until the server closes. A client
// that reads to the end thus learns when the server is gone, even if it crashes.
func (s *Server) stop(w http.ResponseWriter, r *http.Request, target Target) {
	var req StopRequest
	body := http.MaxBytesReader(w, r.Body, maxRequest)
	if err := json.NewDecoder(body).Decode(&req); err != nil && !errors.Is(err, io.EOF) {
		fail(w, http.StatusBadRequest, "bad_request", "the body is not a stop request: "+err.Error())
		return
	}
	if err := target.Stop(r.Context(), req); err != nil {
		fail(w, http.StatusServiceUnavailable, "unavailable", err.Error())
		return
	}
	reply(w, http.StatusAccepted, empty{})
	_ = http.NewResponseController(w).Flush()
	select {
	case <-s.done:
	case <-r.Context().Done():
	}
}

// operation decodes a request into req, runs an operation and streams its progress. An error before the first line is
// an HTTP error.
func (s *Server) operation(
	w http.ResponseWriter, r *http.Request, req any, run func(context.Context, Reporter) (Result, error),
) {
	body := http.MaxBytesReader(w, r.Body, maxRequest)
	if err := json.NewDecoder(body).Decode(req); err != nil && !errors.Is(err, io.EOF) {
		failWith(w, badRequest("the body is not a request of %s: %v", r.URL.Path, err))
		return
	}
	ctx, cancel := s.detached(r)
	defer cancel()
	lines := newLineWriter(w, progressPatience)
	defer lines.end()
	result, err := run(ctx, reporter{lines})
	switch {
	case err == nil:
		lines.send(line{Result: &result}, maxQueue)
	case lines.started():
		lines.send(line{Error: toError(err, CodeFailed)}, maxQueue)
	default:
		lines.end() // it has written nothing: w is ours again
		failWith(w, toError(err, CodeUnavailable))
	}
}

// checked is a request that can be invalid.
type checked interface{ check() error }

// empty is a request or an answer without fields.
type empty struct{}

func (empty) check() error { return nil }

// do decodes a request, passes it to f, and answers. f runs to its end even if the client disconnects.
func do[Req checked, Res any](
	s *Server, w http.ResponseWriter, r *http.Request, f func(context.Context, Req) (Res, error),
) {
	var req Req
	if err := readRequest(w, r, &req); err != nil {
		failWith(w, toError(err, CodeBadRequest))
		return
	}
	ctx, cancel := s.detached(r)
	defer cancel()
	ctx, stop := context.WithTimeout(ctx, requestTimeout)
	defer stop()
	answer(w, func() (Res, error) { return f(ctx, req) })
}

// answer answers with what f returns.
func answer[Res any](w http.ResponseWriter, f func() (Res, error)) {
	res, err := f()
	if err != nil {
		failWith(w, toError(err, CodeFailed))
		return
	}
	reply(w, http.StatusOK, res)
}

// readRequest decodes the body of a request and checks it.
func readRequest[Req checked](w http.ResponseWriter, r *http.Request, req *Req) error {
	body := http.MaxBytesReader(w, r.Body, maxText)
	if err := json.NewDecoder(body).Decode(req); err != nil && !errors.Is(err, io.EOF) {
		return badRequest("the body is not a request of %s: %v", r.URL.Path, err)
	}
	_, _ = io.Copy(io.Discard, body) // net/http notices that the client disconnects only after the body's end
	return (*req).check()
}

// detached returns a context that ends when the server closes, but not with the request: what has begun must not stop
// halfway because its client disconnects. The cancel function waits for the goroutine behind the context.
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

// logs streams log lines until the target returns or the client disconnects.
func (s *Server) logs(w http.ResponseWriter, r *http.Request, target Target) {
	var req LogsRequest
	if err := readRequest(w, r, &req); err != nil {
		failWith(w, toError(err, CodeBadRequest))
		return
	}
	if s.logClients.Add(1) > maxLogClients {
		s.logClients.Add(-1)
		s.refused.Add(1)
		failWith(w, &Error{Code: CodeBusy, Message: "16 clients read the logs already: end one of them"})
		return
	}
	defer s.logClients.Add(-1)
	ctx, cancel := s.detached(r)
	defer cancel()
	defer context.AfterFunc(r.Context(), cancel)()
	lines := newLineWriter(w, logPatience)
	lines.open()
	err := target.Logs(ctx, req, func(text []byte) error { return lines.log(text, req.Follow) })
	if err != nil && ctx.Err() == nil {
		lines.send(line{Error: toError(err, CodeFailed)}, maxQueue)
	}
	lines.end()
}

// failWith answers with an error and its HTTP status.
func failWith(w http.ResponseWriter, err *Error) {
	status, _ := err.class()
	reply(w, status, line{Error: err})
}

// fail answers with an error of HTTP itself: {"error":{"code":"…","message":"…"}}.
func fail(w http.ResponseWriter, status int, code, message string) {
	type fault struct {
		Code    string `json:"code"`
		Message string `json:"message"`
	}
	reply(w, status, map[string]fault{"error": {code, message}})
}

// reply answers with JSON. It ignores a client that has disconnected.
func reply(w http.ResponseWriter, status int, v any) {
	b, err := json.Marshal(v)
	if err != nil { // NaN, for instance
		status = http.StatusInternalServerError
		b = []byte(`{"error":{"code":"internal","message":"the value has no JSON"}}`)
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = w.Write(append(b, '\n'))
}
