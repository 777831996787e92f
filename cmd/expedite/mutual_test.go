package main

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/expedite-go/expedite"
	"github.com/expedite-go/expedite/auth"
	"github.com/expedite-go/expedite/internal/certtest"
)

// mutualVariable holds the mutualConfig of an application. If it is set, this program is that application.
const mutualVariable = "EXPEDITE_TEST_MUTUAL"

type mutualConfig struct {
	Control string
	TLS     expedite.TLS
}

// runMutual is the main function of an application that tells its clients the subject of their certificates.
func runMutual() int {
	var c mutualConfig
	err := json.Unmarshal([]byte(os.Getenv(mutualVariable)), &c)
	if err == nil {
		app := expedite.New(expedite.Config{
			Addr: "127.0.0.1:0", Control: c.Control, Workers: 2, TLS: c.TLS, DrainTimeout: 10 * time.Second,
		})
		app.Handle("/", expedite.Handler{
			Authorize: func(_ *http.Request, id *auth.Identity) error {
				id.User = "somebody"
				return nil
			},
			Message: func(c *expedite.Conn, _ expedite.Message) {
				c.Send(expedite.Text(c.Identity().Certificate))
			},
		})
		ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
		defer stop()
		err = app.Run(ctx)
	}
	if err != nil && !errors.Is(err, expedite.ErrTrial) {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

// subject is a client with a certificate. Its sessions can go on.
func (s *server) subject(roots, issuer *certtest.Authority, name string, version uint16) *http.Client {
	return &http.Client{Transport: &http.Transport{DisableKeepAlives: true, TLSClientConfig: &tls.Config{
		RootCAs: roots.Pool, ServerName: "localhost", MaxVersion: version,
		Certificates: []tls.Certificate{issuer.Issue(name, name).TLS}, ClientSessionCache: tls.NewLRUClientSessionCache(1),
	}}}
}

// whoAmI asks what the server knows of a client.
func whoAmI(ctx context.Context, c *websocket.Conn) (string, error) {
	if err := c.Write(ctx, websocket.MessageText, nil); err != nil {
		return "", err
	}
	_, b, err := c.Read(ctx)
	return string(b), err
}

// TestClientCertificatesMove: the subject of a client's certificate stays with a connection that moves. Where the
// authorities of clients have changed, connections that are open stay, too, but sessions do not go on, and certificates
// of the earlier authority are refused.
func TestClientCertificatesMove(t *testing.T) {
	t.Parallel()
	a, other := certtest.New(t), certtest.New(t)
	pair := a.Issue("server", "localhost")
	authorities := filepath.Join(a.Dir, "clients.pem")
	trust := func(ca string) {
		b, err := os.ReadFile(ca)
		if err == nil {
			err = os.WriteFile(authorities, b, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	trust(a.CA)
	s := &server{t: t, control: filepath.Join(t.TempDir(), "control"), output: &syncBuffer{}, ended: make(chan struct{})}
	cfg, err := json.Marshal(mutualConfig{s.control, expedite.TLS{
		Cert: []string{pair.Cert}, Key: []string{pair.Key}, ClientCA: authorities,
	}})
	if err != nil {
		t.Fatal(err)
	}
	s.start(func(cmd *exec.Cmd) {
		cmd.Path, cmd.Env = os.Args[0], append(os.Environ(), mutualVariable+"="+string(cfg))
	}, nil)
	ctx, cancel := context.WithTimeout(t.Context(), 2*patience)
	defer cancel()
	dial := func(c *http.Client) (*websocket.Conn, *http.Response, error) {
		conn, res, err := websocket.Dial(ctx, "wss://"+s.addr, &websocket.DialOptions{HTTPClient: c})
		if err == nil {
			t.Cleanup(func() { _ = conn.CloseNow() })
		}
		return conn, res, err
	}
	clients, open := make(map[uint16]*http.Client), make(map[uint16]*websocket.Conn)
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		c := s.subject(a, a, "alice", version)
		for visit := range 3 {
			conn, res, err := dial(c)
			if err != nil {
				t.Fatal(err)
			}
			if who, err := whoAmI(ctx, conn); err != nil || who != "CN=alice" || res.TLS.DidResume != (visit > 0) {
				t.Errorf("%s, visit %d: got %q, %v, resumed %v", tls.VersionName(version), visit, who, err, res.TLS.DidResume)
			}
			if visit < 2 {
				_ = conn.Close(websocket.StatusNormalClosure, "")
			}
			clients[version], open[version] = c, conn
		}
	}
	trust(other.CA)
	drained := make(chan error, 1)
	go func() { // ends with the connection
		_, _, err := open[tls.VersionTLS12].Read(ctx)
		drained <- err
	}()
	out, err := exec.Command(command, "reload", "--control", s.control).CombinedOutput()
	if err == nil || !strings.Contains(string(out), "1 connection moved") || !strings.Contains(string(out), "1 drained") {
		t.Errorf("reload: %v, %s", err, out)
	}
	if err := <-drained; websocket.CloseStatus(err) != websocket.StatusServiceRestart {
		t.Errorf("TLS 1.2: got %v, want 1012", err)
	}
	if who, err := whoAmI(ctx, open[tls.VersionTLS13]); err != nil || who != "CN=alice" {
		t.Errorf("after the move: got %q, %v", who, err)
	}
	for version, c := range clients {
		if _, res, err := dial(c); err == nil {
			t.Errorf("%s: alice is admitted, resumed %v", tls.VersionName(version), res.TLS.DidResume)
		}
		conn, res, err := dial(s.subject(a, other, "bob", version))
		if err != nil {
			t.Fatal(err)
		}
		if who, err := whoAmI(ctx, conn); err != nil || who != "CN=bob" || res.TLS.DidResume {
			t.Errorf("bob: got %q, %v, resumed %v", who, err, res.TLS.DidResume)
		}
	}
}
