package loadtest

import (
	"context"
	"crypto/sha1"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"
	"go.uber.org/goleak"

	"github.com/expedite-go/expedite/cluster"
	"github.com/expedite-go/expedite/ws"
)

// patience limits every wait in these tests. A test that reaches it fails; no test depends on being faster.
const patience = 60 * time.Second

// workEnv is the environment variable with the Config of client processes, which execute this test binary.
const workEnv = "EXPEDITE_TEST_LOADTEST"

func TestMain(m *testing.M) {
	if cluster.IsWorker() {
		var cfg Config
		err := json.Unmarshal([]byte(os.Getenv(workEnv)), &cfg)
		if err == nil {
			err = Work(cfg)
		}
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	goleak.VerifyTestMain(m)
}

// site is a server built on github.com/coder/websocket, with an endpoint for each behavior of a server that the tests
// need.
type site struct {
	*httptest.Server
	mu    sync.Mutex
	room  map[*websocket.Conn]bool
	count int // messages received by the room
	// entering is how many clients are between their handshake and the room; entered is told of changes. A client that
	// has its answer may publish before the others are in the room.
	entering int
	entered  *sync.Cond
	// forget reports whether the room drops message n.
	forget func(n int) bool
	header http.Header     // of the last handshake
	tags   map[string]bool // starts of messages, which identify the clients
}

func newSite(t *testing.T) *site {
	t.Helper()
	s := &site{room: make(map[*websocket.Conn]bool), tags: make(map[string]bool)}
	s.entered = sync.NewCond(&s.mu)
	s.Server = httptest.NewUnstartedServer(s.mux())
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	s.Start()
	t.Cleanup(s.Close)
	return s
}

// url returns the URL of an endpoint.
func (s *site) url(path string) string { return "ws" + strings.TrimPrefix(s.URL, "http") + path }

func (s *site) mux() *http.ServeMux {
	mux := http.NewServeMux()
	mux.HandleFunc("/echo", socket(echo))
	mux.HandleFunc("/room", func(w http.ResponseWriter, r *http.Request) {
		s.locked(func() { s.entering++ })
		inside := sync.OnceFunc(func() {
			s.locked(func() { s.entering-- })
			s.entered.Broadcast()
		})
		defer inside()
		socket(func(ctx context.Context, c *websocket.Conn) { s.enter(ctx, c, inside) })(w, r)
	})
	mux.HandleFunc("/header", func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		s.header = r.Header.Clone()
		s.mu.Unlock()
		socket(echo)(w, r)
	})
	mux.HandleFunc("/tags", socket(func(ctx context.Context, c *websocket.Conn) {
		for {
			kind, b, err := c.Read(ctx)
			if err != nil || c.Write(ctx, kind, b) != nil {
				return
			}
			s.mu.Lock()
			s.tags[string(b[:6])] = true
			s.mu.Unlock()
		}
	}))
	mux.HandleFunc("/close", socket(func(ctx context.Context, c *websocket.Conn) {
		_ = c.Close(4001, "enough")
	}))
	mux.HandleFunc("/break", socket(func(ctx context.Context, c *websocket.Conn) { _ = c.CloseNow() }))
	mux.HandleFunc("/greet", socket(func(ctx context.Context, c *websocket.Conn) {
		_ = c.Write(ctx, websocket.MessageText, []byte(`{"event":"hello"}`))
		echo(ctx, c)
	}))
	mux.HandleFunc("/prompt", prompt)
	mux.HandleFunc("/ping", socket(func(ctx context.Context, c *websocket.Conn) {
		go echo(ctx, c) // ends with the connection
		_ = c.Ping(ctx)
		_ = c.Close(4002, "pong seen")
	}))
	mux.HandleFunc("/refuse", func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(http.StatusUnauthorized)
		_, _ = io.WriteString(w, `{"error":{"code":"token_expired","message":"too old"}}`)
	})
	mux.HandleFunc("/hang", func(w http.ResponseWriter, r *http.Request) {
		select {
		case <-r.Context().Done():
		case <-time.After(patience):
		}
	})
	mux.HandleFunc("/liar", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Upgrade", "websocket")
		w.Header().Set("Connection", "Upgrade")
		w.Header().Set("Sec-WebSocket-Accept", "nonsense")
		w.WriteHeader(http.StatusSwitchingProtocols)
	})
	return mux
}

// prompt sends a greeting in the same write as the end of the handshake, and echoes one message.
func prompt(w http.ResponseWriter, r *http.Request) {
	conn, rw, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(patience))
	proof := sha1.Sum([]byte(r.Header.Get("Sec-WebSocket-Key") + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"))
	answer, err := ws.AppendResponse(nil, ws.Handshake{Accept: base64.StdEncoding.EncodeToString(proof[:])})
	if err != nil {
		return
	}
	if _, err := conn.Write(ws.AppendFrame(answer, ws.OpText, []byte("hello"))); err != nil {
		return
	}
	head := make([]byte, 6)
	if _, err := io.ReadFull(rw, head); err != nil {
		return
	}
	payload := make([]byte, head[1]&0x7f)
	if _, err := io.ReadFull(rw, payload); err != nil {
		return
	}
	for i := range payload {
		payload[i] ^= head[2+i%4]
	}
	_, _ = conn.Write(ws.AppendFrame(nil, ws.OpText, payload))
	_, _ = io.Copy(io.Discard, rw) // until the client closes
}

// socket returns an HTTP handler that upgrades the connection and calls f.
func socket(f func(ctx context.Context, c *websocket.Conn)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		c, err := websocket.Accept(w, r, &websocket.AcceptOptions{Subprotocols: []string{"demo.v1"}})
		if err != nil {
			return
		}
		defer c.CloseNow()
		c.SetReadLimit(-1)
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		f(ctx, c)
	}
}

func echo(ctx context.Context, c *websocket.Conn) {
	for {
		kind, b, err := c.Read(ctx)
		if err != nil {
			return
		}
		if err := c.Write(ctx, kind, b); err != nil {
			return
		}
	}
}

// enter is the endpoint of a room: it sends a greeting, and broadcasts each message to all who had begun to enter. It
// calls inside when the client is in the room.
func (s *site) enter(ctx context.Context, c *websocket.Conn, inside func()) {
	_ = c.Write(ctx, websocket.MessageText, []byte(`{"type":"welcome"}`))
	s.mu.Lock()
	s.room[c] = true
	s.mu.Unlock()
	inside()
	defer func() {
		s.mu.Lock()
		delete(s.room, c)
		s.mu.Unlock()
	}()
	for {
		kind, b, err := c.Read(ctx)
		if err != nil {
			return
		}
		s.mu.Lock()
		for s.entering > 0 { // each ends with its handshake or its connection
			s.entered.Wait()
		}
		s.count++
		if s.forget == nil || !s.forget(s.count) {
			for to := range s.room {
				_ = to.Write(ctx, kind, b)
			}
		}
		s.mu.Unlock()
	}
}

// locked calls f while holding the lock of s.
func (s *site) locked(f func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f()
}

// bench runs cfg to its end.
func bench(t *testing.T, cfg Config) *Report {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	r, err := Run(ctx, quick(cfg))
	if err != nil {
		t.Fatal(err)
	}
	if r.Interrupted {
		t.Fatalf("it was not over after %v: %+v", patience, r)
	}
	return r
}

// quick shortens the defaults of cfg.
func quick(cfg Config) Config {
	if cfg.Connections == 0 {
		cfg.Connections = 20
	}
	if cfg.Ramp == 0 {
		cfg.Ramp = -1
	}
	if cfg.Duration == 0 {
		cfg.Duration = 300 * time.Millisecond
	}
	if cfg.Processes == 0 {
		cfg.Processes = 1
	}
	if cfg.ServerPID == 0 {
		cfg.ServerPID = -1
	}
	return cfg
}

// want compares two values.
func want[N comparable](t *testing.T, what string, got, want N) {
	t.Helper()
	if got != want {
		t.Errorf("%s: got %v, want %v", what, got, want)
	}
}

// only checks that a table has exactly one entry.
func only(t *testing.T, what string, got map[string]uint64, name string, n uint64) {
	t.Helper()
	if len(got) != 1 || got[name] != n {
		t.Errorf("%s: got %v, want %d of %q and nothing else", what, got, n, name)
	}
}

// closedPort returns an address at which nothing listens.
func closedPort(t *testing.T) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	return ln.Addr().String()
}
