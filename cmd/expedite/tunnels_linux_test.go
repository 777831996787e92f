package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/expedite-go/expedite/internal/control"
	"github.com/expedite-go/expedite/ws"
)

// tunnel is the client of another implementation of TLS, which passes its input and output through a connection.
type tunnel struct {
	in     io.WriteCloser
	out    io.Reader
	errors *syncBuffer
	read   []byte
	parser ws.Reader
	rekey  bool // OpenSSL changes its keys when it is told to
	keys   int  // how often it did
	moves  bool // has TLS 1.3
	stop   func()
}

// openTunnel starts a client. It ends with the test, or by stop.
func openTunnel(t *testing.T, moves bool, name string, args ...string) *tunnel {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 3*patience) // every read ends then
	cmd := exec.CommandContext(ctx, name, args...)
	u := &tunnel{errors: new(syncBuffer), moves: moves}
	cmd.Stderr = u.errors
	in, errIn := cmd.StdinPipe()
	out, errOut := cmd.StdoutPipe()
	if err := errors.Join(errIn, errOut, cmd.Start()); err != nil {
		cancel()
		t.Fatal(err)
	}
	u.in, u.out = in, out
	u.stop = sync.OnceFunc(func() {
		cancel()
		_ = cmd.Wait()
	})
	t.Cleanup(u.stop)
	return u
}

// fill reads more.
func (u *tunnel) fill() error {
	buf := make([]byte, 32<<10)
	n, err := u.out.Read(buf)
	u.read = append(u.read, buf[:n]...)
	if err != nil {
		return fmt.Errorf("%w, after %.200q; errors: %s", err, u.read, u.errors)
	}
	return nil
}

// upgrade opens a WebSocket. Clients print this and that before the answer.
func (u *tunnel) upgrade() error {
	const request = "GET /echo HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" +
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
	if _, err := io.WriteString(u.in, request); err != nil {
		return fmt.Errorf("%w: %s", err, u.errors)
	}
	for {
		if _, head, ok := bytes.Cut(u.read, []byte("HTTP/1.1 101 ")); ok {
			if _, rest, ok := bytes.Cut(head, []byte("\r\n\r\n")); ok {
				u.read = rest
				return nil
			}
		}
		if err := u.fill(); err != nil {
			return err
		}
	}
}

// echo sends a message and waits for it to come back. Its bytes are not commands of OpenSSL.
func (u *tunnel) echo(size int) error {
	if u.rekey {
		if err := u.update(); err != nil {
			return err
		}
	}
	message := bytes.Repeat([]byte("0123456789"), size/10+1)[:size]
	if _, err := u.in.Write(ws.AppendMaskedFrame(nil, ws.OpBinary, 0, message)); err != nil {
		return fmt.Errorf("%w: %s", err, u.errors)
	}
	var got []byte
	for {
		for len(u.read) > 0 {
			ev, rest, err := u.parser.Next(u.read, &ws.ReaderConfig{Role: ws.Client, MaxMessage: 1 << 30})
			u.read = rest
			switch {
			case err != nil:
				return fmt.Errorf("%w; errors: %s", err, u.errors)
			case ev.Kind == ws.KindClose:
				return fmt.Errorf("closed with %d %s", ev.Code, ev.Data)
			case ev.Kind != ws.KindData:
				continue
			}
			if got = append(got, ev.Data...); ev.Last {
				if !bytes.Equal(got, message) {
					return fmt.Errorf("got %d bytes, want %d, the same", len(got), size)
				}
				return nil
			}
		}
		if err := u.fill(); err != nil {
			return err
		}
	}
}

// update lets OpenSSL change its keys, and ask the server for the same every other time.
func (u *tunnel) update() error {
	u.keys++
	if _, err := io.WriteString(u.in, []string{"K\n", "k\n"}[u.keys%2]); err != nil {
		return err
	}
	for deadline := time.Now().Add(patience); strings.Count(u.errors.String(), "KEYUPDATE") < u.keys; {
		if time.Now().After(deadline) {
			return fmt.Errorf("it does not change its keys: %s", u.errors)
		}
		<-time.After(5 * time.Millisecond)
	}
	return nil
}

// tunnels opens all clients that there are, with each suite.
func tunnels(t *testing.T, a *authority, addr string) map[string]*tunnel {
	t.Helper()
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		t.Fatal(err)
	}
	all := make(map[string]*tunnel)
	openssl, gnutls, nss := findTool(t, "openssl"), findTool(t, "gnutls-cli"), findTool(t, "tstclnt")
	python := findTool(t, "/usr/bin/python3")
	for _, suite := range []string{"TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384", "TLS_CHACHA20_POLY1305_SHA256"} {
		u := openTunnel(t, true, openssl, "s_client", "-connect", addr, "-CAfile", a.CA, "-verify_return_error", "-tls1_3",
			"-ciphersuites", suite)
		u.rekey = true
		all["OpenSSL "+suite] = u
	}
	all["OpenSSL 1.2"] = openTunnel(t, false, openssl, "s_client", "-connect", addr, "-CAfile", a.CA,
		"-verify_return_error", "-tls1_2")
	for cipher, moves := range map[string]bool{
		"VERS-TLS1.3:-CIPHER-ALL:+AES-128-GCM": true, "VERS-TLS1.3:-CIPHER-ALL:+AES-256-GCM": true,
		"VERS-TLS1.3:-CIPHER-ALL:+CHACHA20-POLY1305": true, "VERS-TLS1.2": false,
	} {
		all["GnuTLS "+cipher] = openTunnel(t, moves, gnutls, "--x509cafile", a.CA, "--port", port, "--priority",
			"NORMAL:-VERS-ALL:+"+cipher, host)
	}
	db := filepath.Join(t.TempDir(), "nss")
	if err := os.Mkdir(db, 0o700); err != nil {
		t.Fatal(err)
	}
	certutil := findTool(t, "certutil")
	for _, args := range [][]string{{"-N", "--empty-password"}, {"-A", "-n", "ca", "-t", "C,,", "-i", a.CA}} {
		if out, err := exec.Command(certutil, append(args, "-d", "sql:"+db)...).CombinedOutput(); err != nil {
			t.Fatalf("certutil %v: %v, %s", args, err, out)
		}
	}
	for cipher, version := range map[string]string{
		":1301": "tls1.3", ":1302": "tls1.3", ":1303": "tls1.3", ":c02b": "tls1.2",
	} {
		all["NSS "+cipher] = openTunnel(t, version == "tls1.3", nss, "-h", "127.0.0.1", "-a", "localhost", "-p", port,
			"-d", "sql:"+db, "-V", version+":"+version, "-c", cipher)
	}
	for _, suite := range []string{
		"TLS13-AES128-GCM-SHA256", "TLS13-AES256-GCM-SHA384", "TLS13-CHACHA20-POLY1305-SHA256",
		"ECDHE-ECDSA-AES128-GCM-SHA256",
	} {
		all["wolfSSL "+suite] = openTunnel(t, strings.HasPrefix(suite, "TLS13"), python,
			absolute(t, "testdata/wolfssl_client.py"), host, port, a.CA, suite)
	}
	return all
}

// TestEverySuiteMoves: the connections of OpenSSL, GnuTLS, NSS and wolfSSL with each suite of TLS 1.3 go on through two
// reloads. OpenSSL and wolfSSL change their keys before each message, and OpenSSL wants those of the server to change.
// Their connections with TLS 1.2 work until then.
func TestEverySuiteMoves(t *testing.T) {
	t.Parallel()
	a := newAuthority(t)
	s := a.serve("--workers", "2")
	all := tunnels(t, a, s.addr)
	each := func(what string, do func(u *tunnel) error) {
		t.Helper()
		for name, u := range all {
			if err := do(u); err != nil {
				t.Errorf("%s: %s: %v", name, what, err)
				delete(all, name)
			}
		}
	}
	echoes := func(u *tunnel) error {
		for _, size := range []int{0, 1, 125, 5000, 70_000} {
			if err := u.echo(size); err != nil {
				return fmt.Errorf("message of %d bytes: %w", size, err)
			}
		}
		return nil
	}
	each("opening", (*tunnel).upgrade)
	each("at first", echoes)
	for name, u := range all {
		if !u.moves {
			u.stop()
			delete(all, name)
		}
	}
	s.await("those with TLS 1.2 are gone", func(st control.Status) bool { return connections(st) == len(all) })
	for generation := 2; generation <= 3; generation++ {
		if out, err := exec.Command(command, "reload", "--control", s.control).CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		each(fmt.Sprintf("generation %d", generation), echoes)
	}
	if st := s.await("it serves", allReady); st.Generation != 3 || len(all) == 0 {
		t.Errorf("generation %d, %d clients", st.Generation, len(all))
	}
}

// connections returns how many are open.
func connections(st control.Status) (n int) {
	for _, w := range st.Workers {
		n += int(w.Connections)
	}
	return n
}

// TestRenegotiation: a client that wants to renegotiate (TLS 1.2) loses its connection.
func TestRenegotiation(t *testing.T) {
	t.Parallel()
	a := newAuthority(t)
	s := a.serve("--workers", "1")
	u := openTunnel(t, false, findTool(t, "openssl"), "s_client", "-connect", s.addr, "-CAfile", a.CA, "-tls1_2")
	err := u.upgrade()
	if err == nil {
		err = u.echo(10)
	}
	if err == nil {
		_, err = io.WriteString(u.in, "R\n")
	}
	if err != nil {
		t.Fatal(err)
	}
	for err == nil {
		err = u.fill()
	}
	if said := u.errors.String(); !strings.Contains(said, "unexpected message") {
		t.Errorf("got %v, %s, want the alert unexpected_message", err, said)
	}
	s.await("it is gone", func(st control.Status) bool { return connections(st) == 0 })
}

// TestEarlyData: tickets permit none, so OpenSSL sends none with a session that goes on, and its request is answered
// once. The table of TestOffers has what happens to a client that sends some nevertheless.
func TestEarlyData(t *testing.T) {
	t.Parallel()
	a := newAuthority(t)
	s := a.serve("--workers", "2")
	session, early := filepath.Join(a.Dir, "session"), filepath.Join(a.Dir, "early")
	if err := os.WriteFile(early, []byte("GET /readyz HTTP/1.1\r\nHost: localhost\r\n\r\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	visit := func(args ...string) string {
		return talk(t, exec.Command(findTool(t, "openssl"), append([]string{
			"s_client", "-connect", s.addr, "-CAfile", a.CA, "-tls1_3",
		}, args...)...), false)
	}
	if out := visit("-sess_out", session); !strings.Contains(out, "Max Early Data: 0") {
		t.Errorf("the ticket: got %s", out)
	}
	out := visit("-sess_in", session, "-early_data", early)
	if !strings.Contains(out, "Reused, TLSv1.3") || !strings.Contains(out, "Early data was not sent") ||
		strings.Count(out, "HTTP/1.1 ") != 1 {
		t.Errorf("got %s", out)
	}
}

// TestResumption: a client resumes its session at any worker, also after a reload.
func TestResumption(t *testing.T) {
	t.Parallel()
	a := newAuthority(t)
	s := a.serve("--workers", "2")
	clients := make(map[uint16]*tls.Config)
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		clients[version] = &tls.Config{
			RootCAs: a.Pool, ServerName: "localhost", ClientSessionCache: tls.NewLRUClientSessionCache(1), MaxVersion: version,
		}
	}
	visit := func(c *tls.Config) bool {
		t.Helper()
		conn, err := tls.Dial("tcp", s.addr, c)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		_ = conn.SetDeadline(time.Now().Add(patience))
		if _, err := io.WriteString(conn, "GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"); err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadAll(conn); err != nil { // a ticket, too
			t.Fatal(err)
		}
		return conn.ConnectionState().DidResume
	}
	for i := range 2 {
		for version, c := range clients {
			for visits := range 10 { // to one of two workers each
				if resumes := visit(c); resumes != (i+visits > 0) {
					t.Errorf("%s, visit %d, generation %d: resumed %v", tls.VersionName(version), visits, i+1, resumes)
				}
			}
		}
		if i > 0 {
			break
		}
		if out, err := exec.Command(command, "reload", "--control", s.control).CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
	}
}
