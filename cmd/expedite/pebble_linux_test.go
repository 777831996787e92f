package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/expedite-go/expedite/internal/certtest"
)

// pebbleModule is an authority for tests, by the makers of Let's Encrypt.
const pebbleModule = "github.com/letsencrypt/pebble/v2/cmd/pebble@v2.10.3"

// buildPebble installs the authority, once, from the module proxy.
var buildPebble = sync.OnceValues(func() (path string, err error) {
	dir := filepath.Dir(command)
	cmd := exec.Command("go", "install", pebbleModule)
	cmd.Env = append(os.Environ(), "GOBIN="+dir)
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("%w: %s", err, out)
	}
	return filepath.Join(dir, "pebble"), nil
})

// acmeAuthority is a real authority behind a proxy of the test. All names lead to this machine, and its connections to
// the ports 80 and 443 go where the test says.
type acmeAuthority struct {
	t *testing.T
	// url is that of its directory, and files has the authority that signed its own certificate.
	url   string
	files *certtest.Authority
	roots *x509.CertPool // of the certificates that it issues

	away   atomic.Bool  // nobody reaches it
	orders atomic.Int64 // that it has received; they wait until it is known where the server is

	web, tls forwarder
}

func newACME(t *testing.T) *acmeAuthority {
	t.Helper()
	program, err := buildPebble()
	if err != nil {
		t.Fatal(err)
	}
	a := &acmeAuthority{t: t, files: certtest.New(t)}
	a.web.listen(t)
	a.tls.listen(t)
	dns := serveNames(t)
	var at, manage string
	for try := 0; ; try++ { // another process may take a port in between
		at, manage = freePort(t), freePort(t)
		if a.start(program, dns, at, manage) {
			break
		}
		if try == 5 {
			t.Fatal("pebble does not start")
		}
	}
	a.fetchRoot(manage)
	a.serveProxy(at)
	return a
}

// start starts pebble, and reports false if it ends at once.
func (a *acmeAuthority) start(program, dns, at, manage string) bool {
	a.t.Helper()
	pair := a.files.Issue("pebble", "localhost")
	config, err := json.Marshal(map[string]any{"pebble": map[string]any{
		"listenAddress": at, "managementListenAddress": manage, "certificate": pair.Cert, "privateKey": pair.Key,
		"httpPort": a.web.port(), "tlsPort": a.tls.port(), "retryAfter": map[string]int{"authz": 1, "order": 1},
		"domainBlocklist": []string{"blocked.test"}, "keyAlgorithm": "ecdsa",
	}})
	path := filepath.Join(a.t.TempDir(), "pebble.json")
	if err == nil {
		err = os.WriteFile(path, config, 0o600)
	}
	if err != nil {
		a.t.Fatal(err)
	}
	cmd := exec.Command(program, "-config", path, "-dnsserver", dns)
	cmd.Env = append(os.Environ(), "PEBBLE_VA_NOSLEEP=1", "PEBBLE_AUTHZREUSE=0", "GOMAXPROCS=1")
	out := new(syncBuffer)
	cmd.Stdout, cmd.Stderr = out, out
	if err := cmd.Start(); err != nil {
		a.t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() { // ends with pebble
		defer close(ended)
		_ = cmd.Wait()
	}()
	a.t.Cleanup(func() {
		_ = cmd.Process.Kill()
		<-ended
		if a.t.Failed() {
			a.t.Logf("output of pebble:\n%s", out)
		}
	})
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); {
		if a.answers(at) && a.answers(manage) {
			return true
		}
		select {
		case <-ended:
			return false
		case <-time.After(20 * time.Millisecond):
		}
	}
	a.t.Fatalf("pebble does not answer:\n%s", out)
	return false
}

// client returns an HTTP client for pebble itself.
func (a *acmeAuthority) client() *http.Client {
	return &http.Client{Timeout: patience, Transport: &http.Transport{
		TLSClientConfig: &tls.Config{RootCAs: a.files.Pool}, DisableKeepAlives: true,
	}}
}

func (a *acmeAuthority) answers(addr string) bool {
	resp, err := a.client().Get("https://" + addr + "/dir")
	if err != nil {
		return false
	}
	return resp.Body.Close() == nil
}

// fetchRoot fetches the root of the certificates that pebble issues.
func (a *acmeAuthority) fetchRoot(manage string) {
	a.t.Helper()
	resp, err := a.client().Get("https://" + manage + "/roots/0")
	if err != nil {
		a.t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	a.roots = x509.NewCertPool()
	if err != nil || !a.roots.AppendCertsFromPEM(b) {
		a.t.Fatalf("got the root %q, %v", b, err)
	}
}

// serveProxy makes pebble reachable at an address that stays, whatever happens to pebble.
func (a *acmeAuthority) serveProxy(at string) {
	proxy := httputil.NewSingleHostReverseProxy(&url.URL{Scheme: "https", Host: at})
	proxy.Transport = a.client().Transport
	proxy.ModifyResponse = func(r *http.Response) error {
		if r.Request.URL.Path == "/order-plz" && r.StatusCode == http.StatusBadRequest { // pebble refuses 5 % of good nonces
			a.orders.Add(-1)
		}
		return nil
	}
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if a.away.Load() {
			panic(http.ErrAbortHandler)
		}
		if r.URL.Path == "/order-plz" {
			a.orders.Add(1)
			if !a.led(r.Context()) {
				return
			}
		}
		proxy.ServeHTTP(w, r)
	}))
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	s.TLS = &tls.Config{Certificates: []tls.Certificate{a.files.Issue("proxy", "localhost").TLS}}
	s.StartTLS()
	a.t.Cleanup(func() {
		s.CloseClientConnections()
		s.Close()
	})
	a.url = s.URL + "/dir"
}

// led waits until a server can be reached, and reports false if its client has left before.
func (a *acmeAuthority) led(ctx context.Context) bool {
	for a.tls.to.Load() == nil && a.web.to.Load() == nil {
		select {
		case <-ctx.Done():
			return false
		case <-time.After(10 * time.Millisecond):
		}
	}
	return true
}

// serve starts a server that obtains certificates of domains. Its state is in dir.
func (a *acmeAuthority) serve(dir, domains string, args ...string) *server {
	a.t.Helper()
	s := a.serveUnknown(dir, domains, args...)
	a.lead(s)
	return s
}

// serveUnknown is like serve, but the authority does not know where the server is.
func (a *acmeAuthority) serveUnknown(dir, domains string, args ...string) *server {
	a.t.Helper()
	a.tls.to.Store(nil)
	a.web.to.Store(nil)
	return serveAs(a.t, func(cmd *exec.Cmd) { cmd.Env = append(os.Environ(), "SSL_CERT_FILE="+a.files.CA) },
		append([]string{"--tls-auto", domains, "--tls-auto-ca", a.url, "--state-dir", dir}, args...)...)
}

// lead has the authority reach a server: at its first address with TLS, and at its first one without.
func (a *acmeAuthority) lead(s *server) {
	a.t.Helper()
	st, err := s.status()
	if err != nil {
		a.t.Fatal(err)
	}
	for _, l := range st.Listeners {
		to := l.Address
		if l.TLS {
			a.tls.to.Store(&to)
			s.addr = to
		} else {
			a.web.to.Store(&to)
		}
	}
}

// forwarder passes connections on.
type forwarder struct {
	ln    net.Listener
	to    atomic.Pointer[string] // where; nil: they are closed
	proxy atomic.Bool            // they begin with a PROXY header
	conns atomic.Int64

	closed atomic.Bool // nobody comes through
}

func (f *forwarder) port() int { return f.ln.Addr().(*net.TCPAddr).Port }

func (f *forwarder) listen(t *testing.T) {
	t.Helper()
	var err error
	if f.ln, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.ln.Close() })
	go func() { // ends with the listener
		for {
			c, err := f.ln.Accept()
			if err != nil {
				return
			}
			go f.pass(c) // ends with the connection
		}
	}()
}

func (f *forwarder) pass(c net.Conn) {
	defer c.Close()
	to := f.to.Load()
	if to == nil {
		return
	}
	f.conns.Add(1)
	if f.closed.Load() {
		return
	}
	d, err := net.Dial("tcp", *to)
	if err != nil {
		return
	}
	defer d.Close()
	if f.proxy.Load() {
		if _, err := io.WriteString(d, "PROXY TCP4 192.0.2.7 192.0.2.1 4711 443\r\n"); err != nil {
			return
		}
	}
	go func() { // ends with the connection
		_, _ = io.Copy(d, c)
		_ = d.(*net.TCPConn).CloseWrite()
	}()
	_, _ = io.Copy(c, d)
}

// serveNames answers questions for addresses with 127.0.0.1, and all others with nothing. It returns its own address.
func serveNames(t *testing.T) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0") // pebble asks with TCP
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = ln.Close() })
	go func() { // ends with the listener
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			go answerNames(c) // ends with the connection
		}
	}()
	return ln.Addr().String()
}

// answerNames answers the questions of a connection. RFC 1035 §4.2.2.
func answerNames(c net.Conn) {
	defer c.Close()
	var size [2]byte
	for {
		if _, err := io.ReadFull(c, size[:]); err != nil {
			return
		}
		q := make([]byte, binary.BigEndian.Uint16(size[:]))
		if _, err := io.ReadFull(c, q); err != nil {
			return
		}
		answer := answerName(q)
		if _, err := c.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(answer))), answer...)); err != nil {
			return
		}
	}
}

// answerName answers a question. RFC 1035 §4.
func answerName(q []byte) []byte {
	const head, tail, typeA = 12, 4, 1
	if len(q) < head {
		return nil
	}
	end := bytes.IndexByte(q[head:], 0)
	if end < 0 || len(q) < head+end+1+tail {
		return nil
	}
	question := q[head : head+end+1+tail]
	answers := uint16(0)
	if binary.BigEndian.Uint16(question[end+1:]) == typeA {
		answers = 1
	}
	a := append([]byte{q[0], q[1], 0x81, 0x80, 0, 1}, byte(answers>>8), byte(answers), 0, 0, 0, 0)
	a = append(a, question...)
	if answers == 1 {
		a = append(a, 0xc0, head, 0, typeA, 0, 1, 0, 0, 0, 1, 0, 4, 127, 0, 0, 1)
	}
	return a
}

// freePort returns an address of this machine whose port was free.
func freePort(t *testing.T) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	return ln.Addr().String()
}

// leaf does a handshake as a client that asks for a name, and returns the certificate of the server.
func (a *acmeAuthority) leaf(addr, name string) (*x509.Certificate, error) {
	d := &tls.Dialer{NetDialer: &net.Dialer{Timeout: patience}, Config: &tls.Config{ServerName: name, RootCAs: a.roots}}
	ctx, cancel := context.WithTimeout(a.t.Context(), patience)
	defer cancel()
	c, err := d.DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, err
	}
	defer c.Close()
	return c.(*tls.Conn).ConnectionState().PeerCertificates[0], nil
}

// awaitLeaf waits until clients get a certificate for a name that is not the one before.
func (a *acmeAuthority) awaitLeaf(s *server, name string, before *x509.Certificate) *x509.Certificate {
	a.t.Helper()
	for deadline := time.Now().Add(2 * patience); ; {
		leaf, err := a.leaf(s.addr, name)
		if err == nil && (before == nil || !leaf.Equal(before)) {
			return leaf
		}
		if time.Now().After(deadline) {
			a.t.Fatalf("waited in vain for a certificate of %s: %v", name, err)
		}
		select {
		case <-s.ended:
			a.t.Fatalf("the server ended: %v", s.err)
		case <-time.After(50 * time.Millisecond):
		}
	}
}
