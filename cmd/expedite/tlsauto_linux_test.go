package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/tls"
	"encoding/json"
	"errors"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/expedite-go/expedite/internal/certstore"
	"github.com/expedite-go/expedite/internal/control"
)

// dialAuto opens a WebSocket with TLS, for which the server has to have a certificate of the authority for a name.
func (a *acmeAuthority) dialAuto(ctx context.Context, s *server, name string) (*client, error) {
	transport := &http.Transport{
		TLSClientConfig: &tls.Config{RootCAs: a.roots},
		DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, network, s.addr)
		},
	}
	conn, _, err := websocket.Dial(ctx, "wss://"+name+"/", &websocket.DialOptions{
		HTTPClient: &http.Client{Transport: transport},
	})
	if err != nil {
		return nil, err
	}
	a.t.Cleanup(func() { _ = conn.CloseNow() })
	c := &client{Conn: conn}
	_, b, err := conn.Read(ctx)
	if err := errors.Join(err, json.Unmarshal(b, &c.hello)); err != nil {
		return nil, err
	}
	return c, nil
}

// TestAutomaticCertificate: a server without any certificate obtains one for each of its domains, with TLS alone. All
// workers use it, nobody else can read it, and a server that starts with it asks nobody.
func TestAutomaticCertificate(t *testing.T) {
	t.Parallel()
	a, dir := newACME(t), t.TempDir()
	s := a.serve(dir, "one.test,two.test", "--workers", "2")
	ctx, cancel := context.WithTimeout(t.Context(), 2*patience)
	defer cancel()
	first := a.awaitLeaf(s, "one.test", nil)
	a.awaitLeaf(s, "two.test", nil)
	workers := make(map[int]bool)
	for len(workers) < 2 {
		c, err := a.dialAuto(ctx, s, "one.test")
		switch {
		case ctx.Err() != nil:
			t.Fatalf("not all workers have the certificate: %v", err)
		case err == nil:
			workers[c.hello.Worker] = true
		}
	}
	if _, err := a.leaf(s.addr, "three.test"); err == nil || !strings.Contains(err.Error(), "unrecognized name") {
		t.Errorf("a name that is not ours: %v", err)
	}
	if leaf, err := a.leaf(s.addr, "ONE.test"); err != nil || !leaf.Equal(first) {
		t.Errorf("a name in capitals: %v", err)
	}
	a.checkFolder(s, filepath.Join(dir, "certificates"))

	s.signal(syscall.SIGINT)
	s.waitEnd()
	orders := a.orders.Load()
	again := a.serve(dir, "one.test,two.test", "--workers", "2")
	if leaf, err := a.leaf(again.addr, "one.test"); err != nil || !leaf.Equal(first) {
		t.Errorf("after a restart: %v", err)
	}
	if got := a.orders.Load(); got != orders {
		t.Errorf("the authority was asked %d more times after a restart", got-orders)
	}
}

// checkFolder checks who may read a folder of certificates, what is in it, and that no key is in the log.
func (a *acmeAuthority) checkFolder(s *server, dir string) {
	a.t.Helper()
	info, err := os.Stat(dir)
	if err != nil || info.Mode().Perm() != 0o700 {
		a.t.Errorf("the folder: %v, %v", info.Mode(), err)
	}
	files, err := os.ReadDir(dir)
	if err != nil {
		a.t.Fatal(err)
	}
	for _, f := range files {
		info, err := f.Info()
		if err != nil || info.Mode().Perm() != 0o600 {
			a.t.Errorf("%s: %v, %v", f.Name(), info, err)
		}
		b, err := os.ReadFile(filepath.Join(dir, f.Name()))
		if err != nil {
			a.t.Fatal(err)
		}
		_, key, ok := strings.Cut(string(b), "PRIVATE KEY-----\n")
		if ok && strings.Contains(s.output.String(), key[:40]) {
			a.t.Errorf("the log has the key in %s", f.Name())
		}
	}
}

// TestAutomaticByHTTP: an authority that cannot reach the TLS port verifies the domain with a request to a plain one,
// also if that redirects all others.
func TestAutomaticByHTTP(t *testing.T) {
	t.Parallel()
	a := newACME(t)
	a.tls.closed.Store(true)
	s := a.serve(t.TempDir(), "one.test", "--workers", "2", "--addr", "http://localhost:0", "--tls-redirect")
	a.awaitLeaf(s, "one.test", nil)
	if a.tls.conns.Load() == 0 || a.web.conns.Load() == 0 || !strings.Contains(s.output.String(), "tls-alpn-01: ") {
		t.Errorf("%d connections with TLS, %d without", a.tls.conns.Load(), a.web.conns.Load())
	}
	for path, want := range map[string]int{"/.well-known/acme-challenge/x": 404, "/healthz": 200} {
		resp, err := http.Get("http://" + *a.web.to.Load() + path)
		if err != nil || resp.Body.Close() != nil || resp.StatusCode != want {
			t.Errorf("%s: got %+v, %v", path, resp, err)
		}
	}
}

// TestAutomaticAnywhere: an authority is answered whatever clients have to do: with both engines, TLS 1.3 only, client
// certificates, and behind a proxy.
func TestAutomaticAnywhere(t *testing.T) {
	t.Parallel()
	a := newACME(t)
	for _, tt := range []struct{ name, args string }{
		{"std.test", "--tls-engine std --tls-min 1.3"},
		{"mutual.test", "--tls-min 1.3 --tls-client-ca " + a.files.CA},
		{"proxy.test", "--proxy-protocol --trusted-proxies 127.0.0.1"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			a.tls.proxy.Store(tt.name == "proxy.test")
			dir := t.TempDir()
			s := a.serve(dir, tt.name, append([]string{"--workers", "1"}, strings.Fields(tt.args)...)...)
			folder := certstore.Folder(filepath.Join(dir, "certificates"))
			s.await("there is a certificate", func(control.Status) bool {
				c, err := folder.Read(tt.name)
				return err == nil && c.Leaf.NotAfter.After(time.Now())
			})
			s.signal(syscall.SIGINT)
			s.waitEnd()
		})
	}
}

// TestAutomaticRenewal: a certificate that is about to expire is served, and replaced while a client stays connected.
func TestAutomaticRenewal(t *testing.T) {
	t.Parallel()
	a, dir := newACME(t), t.TempDir()
	old := a.files.IssueUntil("old", "one.test", time.Now().Add(time.Hour))
	folder := certstore.Folder(filepath.Join(dir, "certificates"))
	if err := folder.Write("one.test", old.TLS.PrivateKey.(*ecdsa.PrivateKey), old.TLS.Certificate); err != nil {
		t.Fatal(err)
	}
	s := a.serveUnknown(dir, "one.test", "--workers", "2")
	ctx, cancel := context.WithTimeout(t.Context(), 3*patience)
	defer cancel()
	roots := a.roots
	a.roots = a.files.Pool
	c, err := a.dialAuto(ctx, s, "one.test")
	if err != nil {
		t.Fatalf("with the old certificate: %v", err)
	}
	a.roots = roots
	a.lead(s)
	a.awaitLeaf(s, "one.test", old.TLS.Leaf)
	for _, text := range []string{"still", "here"} {
		if err := c.Write(ctx, websocket.MessageText, []byte(text)); err != nil {
			t.Fatal(err)
		}
	}
	c.awaitText(ctx, t, "here")
}

// awaitText reads until the lobby returns a text.
func (c *client) awaitText(ctx context.Context, t *testing.T, want string) {
	t.Helper()
	for {
		_, b, err := c.Read(ctx)
		if err != nil {
			t.Fatalf("the client is no longer connected: %v", err)
		}
		if strings.Contains(string(b), want) {
			return
		}
	}
}

// TestAutomaticReload: a reload amidst an order begins another one, and keeps what is there.
func TestAutomaticReload(t *testing.T) {
	t.Parallel()
	a, dir := newACME(t), t.TempDir()
	s := a.serveUnknown(dir, "one.test", "--workers", "2")
	s.await("there is an order", func(control.Status) bool { return a.orders.Load() > 0 })
	if out, err := exec.Command(command, "reload", "--control", s.control).CombinedOutput(); err != nil {
		t.Fatalf("%v, %s", err, out)
	}
	a.lead(s)
	first := a.awaitLeaf(s, "one.test", nil)
	orders := a.orders.Load()
	if orders != 2 {
		t.Errorf("got %d orders, want one of each program", orders)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 3*patience)
	defer cancel()
	c, err := a.dialAuto(ctx, s, "one.test")
	for err != nil && ctx.Err() == nil { // the other worker may not have the certificate yet
		c, err = a.dialAuto(ctx, s, "one.test")
	}
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if out, err := exec.Command(command, "reload", "--control", s.control).CombinedOutput(); err != nil {
			t.Fatalf("%v, %s", err, out)
		}
	}
	if leaf, err := a.leaf(s.addr, "one.test"); err != nil || !leaf.Equal(first) {
		t.Errorf("after reloads: %v", err)
	}
	if err := c.Write(ctx, websocket.MessageText, []byte("moved")); err != nil {
		t.Fatal(err)
	}
	c.awaitText(ctx, t, "moved")
	if got := a.orders.Load(); got != orders {
		t.Errorf("the reloads have made %d orders", got-orders)
	}
}

// TestAutomaticOutage: an authority that is away at the start, and a domain that it refuses, harm nobody else: the log
// says once what is wrong, and the other domain gets its certificate when the authority is back.
func TestAutomaticOutage(t *testing.T) {
	t.Parallel()
	a, dir := newACME(t), t.TempDir()
	a.away.Store(true)
	bad := filepath.Join(dir, "certificates", "one.test")
	if err := errors.Join(os.MkdirAll(filepath.Dir(bad), 0o700), os.WriteFile(bad, []byte("nonsense"), 0o600)); err != nil {
		t.Fatal(err)
	}
	folder, earlier := certstore.Folder(filepath.Dir(bad)), certstore.Failure{Refusals: 2, At: time.Now().Add(-time.Hour)}
	if err := folder.WriteFailure("one.test", earlier); err != nil {
		t.Fatal(err)
	}
	s := a.serve(dir, "one.test,blocked.test", "--workers", "1")
	says := func(text string) bool { return strings.Contains(s.output.String(), text) }
	s.await("the log says that there is no authority", func(control.Status) bool {
		return says("certificate not obtained")
	})
	if _, err := a.leaf(s.addr, "one.test"); err == nil || !strings.Contains(err.Error(), "unrecognized name") {
		t.Errorf("without a certificate: %v", err)
	}
	a.away.Store(false)
	a.awaitLeaf(s, "one.test", nil)
	s.await("the log says that a domain is refused", func(control.Status) bool { return says("rejectedIdentifier") })
	if _, err := a.leaf(s.addr, "blocked.test"); err == nil || !strings.Contains(err.Error(), "unrecognized name") {
		t.Errorf("the refused domain: %v", err)
	}
	for name, want := range map[string]int{"one.test": 0, "blocked.test": 1} {
		s.await("the next process knows of refusals", func(control.Status) bool {
			f, err := folder.Failure(name)
			return err == nil && f.Refusals == want
		})
	}
	s.await("status tells what has failed", func(st control.Status) bool {
		if st.TLS == nil || len(st.TLS.Automatic) != 2 {
			return false
		}
		one, blocked := st.TLS.Automatic[0], st.TLS.Automatic[1]
		return one.Expires != "" && one.Failures == 0 && blocked.Expires == "" && strings.Contains(blocked.Cause, "forbidden")
	})
	for _, once := range []string{"another one is obtained", "automatic certificates cannot be used", "is a forbidden domain"} {
		if n := strings.Count(s.output.String(), once); n != 1 {
			t.Errorf("the log says %q %d times", once, n)
		}
	}
}
