package expeditetest

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/expedite-go/expedite"
	"github.com/expedite-go/expedite/auth"
)

// patience bounds every wait: for the start and the end of an App, for a message, for a response.
const patience = 10 * time.Second

// Server is an App that runs for a test. Its methods fail the test if something goes wrong, so they are called on the
// goroutine of the test: see testing.T.FailNow.
type Server struct {
	// App is what setup has returned. A test may publish with it, or ask who is present.
	App *expedite.App

	t      testing.TB
	tokens *tokens
	client *http.Client // of whatever host: it connects to the App
}

// Start runs the App that setup returns, until the end of the test. setup is the function that a program passes to
// command.Main. The Config that it gets has the address, Workers -1, a Logger that writes to the log of the test, a
// Verifier for the tokens of the Server, and OnStart: setup may change everything else. To change something for a test,
// wrap setup:
//
//	s := expeditetest.Start(t, func(cfg expedite.Config) (*expedite.App, error) {
//		cfg.MaxConnections = 1
//		return setup(cfg)
//	})
func Start(t testing.TB, setup func(expedite.Config) (*expedite.App, error)) *Server {
	t.Helper()
	dir, err := os.MkdirTemp("", "expedite") // that of the test may be too long for a socket
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	socket := filepath.Join(dir, "s")
	log := &testLog{out: t.Output()}
	s := &Server{t: t, tokens: newTokens(), client: clientOf(socket)}
	started := make(chan expedite.Started, 1)
	s.App, err = setup(expedite.Config{
		Addr: "unix:" + socket, Workers: -1, Version: "test",
		Logger:  slog.New(slog.NewTextHandler(log, nil)),
		OnStart: func(st expedite.Started) { started <- st },
		Tuning:  expedite.Tuning{Memory: -1, MemoryReserve: -1}, // of the test's own process
		Auth:    expedite.Auth{Verifier: s.tokens, Permit: auth.ClaimPermit("subscribe", "publish")},
	})
	if err != nil {
		t.Fatalf("expeditetest: setup: %v", err)
	}
	ctx, stop := context.WithCancelCause(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- s.App.Run(ctx) }() // ends with the test
	t.Cleanup(func() {
		stop(expedite.ErrStopNow)
		s.client.CloseIdleConnections()
		select {
		case err := <-ended:
			if err != nil {
				t.Errorf("expeditetest: the app ended with an error: %v", err)
			}
		case <-time.After(patience):
			t.Errorf("expeditetest: the app does not end; does a callback wait for something that does not happen?")
		}
		log.close()
	})
	select {
	case st := <-started:
		if st.Workers != 0 {
			t.Fatalf("expeditetest: the app has started %d worker processes, and a test has one: leave Config.Workers as it is",
				st.Workers)
		}
	case err := <-ended:
		ended <- nil
		t.Fatalf("expeditetest: the app does not start: %v", err)
	case <-time.After(patience):
		t.Fatal("expeditetest: the app does not start: does setup keep Addr, Workers and OnStart of the Config that it gets?")
	}
	return s
}

// clientOf returns a client that connects to a socket.
func clientOf(socket string) *http.Client {
	return &http.Client{
		Timeout: patience,
		Transport: &http.Transport{
			DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
				var d net.Dialer
				return d.DialContext(ctx, "unix", socket)
			},
		},
		// A redirect is a response like any other: the test looks at it.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// As returns the header of a client whose token belongs to a user, for Dial and Refused:
// s.Dial("/chat", s.As("alice")). For a token with scopes, claims or an expiry, see Token.
func (s *Server) As(user string) http.Header {
	return http.Header{"Authorization": {"Bearer " + s.Token(auth.Identity{User: user})}}
}

// Token returns a token that the App accepts as that of id, as long as its Expiry allows. If id has no TokenID, the
// token gets one, by which it can be revoked.
func (s *Server) Token(id auth.Identity) string { return s.tokens.issue(id) }

// Dial opens a WebSocket on a path, which may have a query. The request has the fields of all headers; a list of
// subprotocols is in Sec-WebSocket-Protocol.
func (s *Server) Dial(path string, header ...http.Header) *Client {
	s.t.Helper()
	c, res, err := s.dial(path, header)
	if err != nil {
		s.t.Fatalf("expeditetest: %s: %v: %s", path, err, bodyOf(res))
	}
	c.SetReadLimit(-1)
	s.t.Cleanup(func() { _ = c.CloseNow() })
	return &Client{t: s.t, conn: c, path: path}
}

// Refused opens a WebSocket on a path, expects the handshake to be refused, and returns the response.
func (s *Server) Refused(path string, header ...http.Header) *httptest.ResponseRecorder {
	s.t.Helper()
	c, res, err := s.dial(path, header)
	if err == nil {
		_ = c.CloseNow()
		s.t.Fatalf("expeditetest: %s: the handshake was accepted", path)
	}
	if res == nil {
		s.t.Fatalf("expeditetest: %s: %v", path, err)
	}
	return s.record(res)
}

// dial opens a WebSocket. The body of a response has been read.
func (s *Server) dial(path string, headers []http.Header) (*websocket.Conn, *http.Response, error) {
	options := &websocket.DialOptions{HTTPClient: s.client, HTTPHeader: make(http.Header)}
	for _, h := range headers {
		for name, values := range h {
			for _, v := range values {
				options.HTTPHeader.Add(name, v)
			}
		}
	}
	const protocols = "Sec-Websocket-Protocol"
	for _, list := range options.HTTPHeader.Values(protocols) {
		for p := range strings.SplitSeq(list, ",") {
			options.Subprotocols = append(options.Subprotocols, strings.TrimSpace(p))
		}
	}
	options.HTTPHeader.Del(protocols)
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	return websocket.Dial(ctx, "ws://localhost"+path, options)
}

// Do sends an HTTP request to the App, and returns the response. httptest.NewRequest makes requests. Redirects are not
// followed.
//
//	res := s.Do(httptest.NewRequest("GET", "/healthz", nil))
//	if res.Code != http.StatusOK { …
func (s *Server) Do(r *http.Request) *httptest.ResponseRecorder {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(r.Context(), patience)
	defer cancel()
	r = r.Clone(ctx)
	// A request of httptest is one as a server gets it.
	r.RequestURI, r.URL.Scheme, r.URL.Host = "", "http", "localhost"
	res, err := s.client.Do(r)
	if err != nil {
		s.t.Fatalf("expeditetest: %v", err)
	}
	return s.record(res)
}

// record reads a response.
func (s *Server) record(res *http.Response) *httptest.ResponseRecorder {
	s.t.Helper()
	b, err := io.ReadAll(res.Body)
	if err = errors.Join(err, res.Body.Close()); err != nil {
		s.t.Fatalf("expeditetest: %s: %v", res.Request.URL.Path, err)
	}
	r := httptest.NewRecorder()
	for name, values := range res.Header {
		r.Header()[name] = values
	}
	r.WriteHeader(res.StatusCode)
	_, _ = r.Write(b)
	return r
}

// bodyOf returns the text of a response, if there is one.
func bodyOf(res *http.Response) []byte {
	if res == nil {
		return nil
	}
	b, _ := io.ReadAll(res.Body)
	return bytes.TrimSpace(b)
}
