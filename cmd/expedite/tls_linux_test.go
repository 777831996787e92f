package main

import (
	"bytes"
	"context"
	"io"
	"net"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/expedite-go/expedite/internal/certtest"
	"github.com/expedite-go/expedite/internal/control"
)

// authority is a certificate authority, and a certificate of it for this machine.
type authority struct {
	*certtest.Authority
	certtest.Pair
	t *testing.T
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	a := certtest.New(t)
	return &authority{a, a.Issue("server", "localhost"), t}
}

// serve starts a server with the certificate.
func (a *authority) serve(args ...string) *server {
	a.t.Helper()
	return serve(a.t, append([]string{"--tls-cert", a.Cert, "--tls-key", a.Key}, args...)...)
}

// TestOtherPeoplesClientsWithTLS runs clients in Node.js and Python with wss://.
func TestOtherPeoplesClientsWithTLS(t *testing.T) {
	t.Parallel()
	a := newAuthority(t)
	s := a.serve("--workers", "2")
	for name, cmd := range map[string]*exec.Cmd{
		"npm ws":            nodeScript(t, "ws_client.mjs", "ws@8.18.3"),
		"npm undici":        nodeScript(t, "undici_client.mjs", "undici@7.16.0"),
		"Python websockets": exec.Command(findTool(t, "/usr/bin/python3"), absolute(t, "testdata/websockets_client.py")),
	} {
		t.Run(name, func(t *testing.T) {
			cmd.Args = append(cmd.Args, "wss://"+s.addr)
			cmd.Env = append(os.Environ(), "NODE_EXTRA_CA_CERTS="+a.CA, "SSL_CERT_FILE="+a.CA)
			out, err := cmd.CombinedOutput()
			if err != nil || !bytes.HasSuffix(bytes.TrimSpace(out), []byte("all fine")) {
				t.Errorf("%v\n%s", err, out)
			}
		})
	}
}

// TestBrowserWithTLS: fifty wss:// sockets of a page in Chromium stay open through two reloads.
func TestBrowserWithTLS(t *testing.T) {
	t.Parallel()
	a := newAuthority(t)
	s := a.serve("--workers", "3")
	ctx, cancel := context.WithTimeout(t.Context(), 2*patience)
	defer cancel()
	b := startBrowser(ctx, t, "--ignore-certificate-errors-spki-list="+a.Pin)
	tab := b.open(ctx, "https://"+s.addr+"/")
	var report string
	b.evaluate(ctx, tab, fiftySockets, &report)
	s.reloadUnderABrowser(ctx, b, tab)
	var scheme string
	if b.evaluate(ctx, tab, "window.sockets[0].url", &scheme); !strings.HasPrefix(scheme, "wss://") {
		t.Errorf("the page has used %s", scheme)
	}
}

// TestVersionsAndSuites talks to the server with OpenSSL and GnuTLS: each version and suite, changes of keys in TLS 1.3
// where the client wants an answer to one, and versions that are refused.
func TestVersionsAndSuites(t *testing.T) {
	t.Parallel()
	a := newAuthority(t)
	s := a.serve("--workers", "1")
	openssl, gnutls := findTool(t, "openssl"), findTool(t, "gnutls-cli")
	host, port, err := net.SplitHostPort(s.addr)
	if err != nil {
		t.Fatal(err)
	}
	for _, args := range []string{
		"-tls1_3 -ciphersuites TLS_AES_128_GCM_SHA256", "-tls1_3 -ciphersuites TLS_AES_256_GCM_SHA384",
		"-tls1_3 -ciphersuites TLS_CHACHA20_POLY1305_SHA256", "-tls1_2 -cipher ECDHE-ECDSA-AES128-GCM-SHA256",
		"-tls1_2 -cipher ECDHE-ECDSA-CHACHA20-POLY1305", "-tls1_3 -groups P-256", "-tls1_3 -groups X25519",
	} {
		t.Run(args, func(t *testing.T) {
			cmd := exec.Command(openssl, append([]string{
				"s_client", "-connect", s.addr, "-CAfile", a.CA, "-verify_return_error",
			}, strings.Fields(args)...)...)
			keys := strings.Contains(args, "-tls1_3")
			out := talk(t, cmd, keys)
			if !strings.Contains(out, "HTTP/1.1 200 OK") || keys && strings.Count(out, "KEYUPDATE") != 2 {
				t.Errorf("got %s", out)
			}
		})
	}
	for _, args := range []string{
		"-tls1_1", "-tls1", "-tls1_2 -cipher AES128-SHA", "-tls1_2 -cipher ECDHE-ECDSA-AES128-SHA256",
	} {
		cmd := exec.Command(openssl, append([]string{
			"s_client", "-connect", s.addr, "-CAfile", a.CA,
		}, strings.Fields(args)...)...)
		if out := talk(t, cmd, false); strings.Contains(out, "HTTP/1.1") {
			t.Errorf("%s: got %s", args, out)
		}
	}
	for _, priority := range []string{"NORMAL:-VERS-ALL:+VERS-TLS1.3", "NORMAL:-VERS-ALL:+VERS-TLS1.2"} {
		cmd := exec.Command(gnutls, "--x509cafile", a.CA, "--port", port, "--priority", priority, host)
		if out := talk(t, cmd, false); !strings.Contains(out, "HTTP/1.1 200 OK") {
			t.Errorf("GnuTLS, %s: got %s", priority, out)
		}
	}
}

// talk sends a request by a client with a terminal's input. With keys, it first has OpenSSL change its keys, with and
// without asking for an answer. It returns what the client prints.
func talk(t *testing.T, cmd *exec.Cmd, keys bool) string {
	t.Helper()
	out := new(syncBuffer)
	cmd.Stdout, cmd.Stderr = out, out
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() { // ends with the client
		defer close(ended)
		_ = cmd.Wait()
	}()
	defer func() {
		_ = cmd.Process.Kill()
		<-ended
	}()
	awaitText := func(text string, count int) {
		for deadline := time.Now().Add(patience); strings.Count(out.String(), text) < count; {
			select {
			case <-ended:
				return
			case <-time.After(10 * time.Millisecond):
			}
			if time.Now().After(deadline) {
				t.Fatalf("waited in vain for %q: %s", text, out.String())
			}
		}
	}
	if keys {
		awaitText("Verify return code", 1) // the client reads its input from now on
		for i, command := range []string{"k", "K"} {
			if _, err := io.WriteString(in, command+"\n"); err != nil {
				t.Fatal(err)
			}
			awaitText("KEYUPDATE", i+1)
		}
	}
	// A client that was refused has gone.
	_, _ = io.WriteString(in, "GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
	<-ended
	return out.String()
}

// TestPlainAddress: with certificates, http:// before an address keeps it plain, and a mistake is named on both.
func TestPlainAddress(t *testing.T) {
	t.Parallel()
	a := newAuthority(t)
	s := a.serve("--workers", "1", "--addr", "http://localhost:0") // beside the one of every test
	st, err := s.status()
	if err != nil || len(st.Listeners) != 2 || st.Listeners[0].TLS == st.Listeners[1].TLS {
		t.Fatalf("got the listeners %+v", st.Listeners)
	}
	plain, secured := st.Listeners[0].Address, st.Listeners[1].Address
	if st.Listeners[0].TLS {
		plain, secured = secured, plain
	}
	for url, want := range map[string]string{
		"http://" + plain: "200 ok", "https://" + secured: "200 ok",
		"http://" + secured: "400 this port speaks TLS: use https:// or wss:// to reach it",
	} {
		out, err := exec.Command(findTool(t, "curl"), "-sS", "--cacert", a.CA, "-w", "%{http_code}", url+"/healthz").Output()
		body, code, _ := strings.Cut(string(out), "\n")
		if got := code + " " + body; err != nil || got != want {
			t.Errorf("%s: got %q, %v, want %q", url, got, err, want)
		}
	}
	out, err := exec.Command(findTool(t, "openssl"), "s_client", "-connect", plain).CombinedOutput()
	if err == nil {
		t.Errorf("TLS on a plain port: %s", out)
	}
	s.await("the mistake is logged", func(control.Status) bool {
		return strings.Contains(s.output.String(), "a client uses TLS on a port without TLS")
	})
}

// TestCertificateOfAReload: a reload takes a new certificate, and refuses one that is not valid before anything changes.
func TestCertificateOfAReload(t *testing.T) {
	t.Parallel()
	a := newAuthority(t)
	s := a.serve("--workers", "1")
	before, err := os.ReadFile(a.Key)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(a.Key, []byte("nothing"), 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command(command, "reload", "--control", s.control).CombinedOutput()
	if err == nil || !strings.Contains(string(out), "tls-cert") {
		t.Errorf("got %v, %s", err, out)
	}
	if err := os.WriteFile(a.Key, before, 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command(command, "reload", "--control", s.control).CombinedOutput(); err != nil {
		t.Errorf("%v: %s", err, out)
	}
	if got := s.await("it serves", func(st control.Status) bool { return allReady(st) }); got.Generation != 2 {
		t.Errorf("generation %d", got.Generation)
	}
	if strings.Contains(s.output.String(), string(before)) {
		t.Error("the log has the key")
	}
}
