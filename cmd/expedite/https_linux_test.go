package main

import (
	"bufio"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os/exec"
	"sync"
	"testing"
	"time"
)

// keeper is a client of HTTPS that keeps its connection.
type keeper struct {
	net.Conn
	in *bufio.Reader
}

func (s *server) keeper(t *testing.T, c *tls.Config) *keeper {
	t.Helper()
	conn, err := net.Dial("tcp", s.addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(3 * patience))
	if c != nil {
		conn = tls.Client(conn, c)
	}
	return &keeper{conn, bufio.NewReader(conn)}
}

// errKept means that a connection has ended before the first byte of a response, or was told to end by the last one.
var errKept = errors.New("the connection has ended between two requests")

// get requests /healthz.
func (k *keeper) get() error {
	if _, err := io.WriteString(k, "GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"); err != nil {
		return errors.Join(errKept, err)
	}
	if _, err := k.in.Peek(1); err != nil {
		return errors.Join(errKept, err)
	}
	res, err := http.ReadResponse(k.in, nil)
	if err != nil {
		return err
	}
	b, err := io.ReadAll(res.Body)
	if err == nil && (res.StatusCode != http.StatusOK || string(b) != "ok\n") {
		err = fmt.Errorf("%s: %q", res.Status, b)
	}
	return err
}

// TestEveryGroup completes handshakes with each group, and has requests answered.
func TestEveryGroup(t *testing.T) {
	t.Parallel()
	a := newAuthority(t)
	s := a.serve("--workers", "1")
	classic := []tls.CurveID{tls.X25519, tls.CurveP256, tls.CurveP384, tls.CurveP521}
	for version, groups := range map[uint16][]tls.CurveID{
		tls.VersionTLS12: classic,
		tls.VersionTLS13: append(classic, tls.X25519MLKEM768, tls.SecP256r1MLKEM768, tls.SecP384r1MLKEM1024),
	} {
		for _, group := range groups {
			k := s.keeper(t, &tls.Config{
				RootCAs: a.Pool, ServerName: "localhost", MaxVersion: version, CurvePreferences: []tls.CurveID{group},
			})
			err := errors.Join(k.get(), k.get())
			if got := k.Conn.(*tls.Conn).ConnectionState(); err != nil || got.CurveID != group || got.Version != version {
				t.Errorf("%s, %s: %v, %s", tls.VersionName(version), group, err, got.CurveID)
			}
		}
	}
}

// TestRequestsThroughAReload: clients that keep a connection with TLS 1.3 have all their requests answered while the
// workers are replaced. A connection may end between two requests, as any server may end one: RFC 9112 §9.3.1. They
// repeat a request that was not answered on a new connection, as browsers do.
func TestRequestsThroughAReload(t *testing.T) {
	t.Parallel()
	a := newAuthority(t)
	s := a.serve("--workers", "2")
	c := &tls.Config{RootCAs: a.Pool, ServerName: "localhost"}
	reloaded := make(chan struct{})
	var wg sync.WaitGroup
	for i := range 10 {
		k := s.keeper(t, c)
		wg.Go(func() {
			for n := 0; ; n++ {
				err := k.get()
				if errors.Is(err, errKept) {
					var conn net.Conn
					if conn, err = tls.Dial("tcp", s.addr, c); err == nil {
						defer conn.Close()
						_ = conn.SetDeadline(time.Now().Add(3 * patience))
						k = &keeper{conn, bufio.NewReader(conn)}
						err = k.get()
					}
				}
				if err != nil {
					t.Errorf("client %d, request %d: %v", i, n, err)
					return
				}
				select {
				case <-reloaded:
					return
				case <-time.After(time.Duration(i) * 30 * time.Millisecond): // net/http gives up those that are idle
				}
			}
		})
	}
	for range 2 {
		if out, err := exec.Command(command, "reload", "--control", s.control).CombinedOutput(); err != nil {
			t.Errorf("%v: %s", err, out)
		}
	}
	close(reloaded)
	wg.Wait()
}
