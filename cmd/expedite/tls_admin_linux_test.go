package main

import (
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/expedite-go/expedite/internal/certtest"
	"github.com/expedite-go/expedite/internal/configfile"
	"github.com/expedite-go/expedite/internal/control"
)

// operator asks the admin listener of a server whose certificates are of an authority.
type operator struct {
	t    *testing.T
	from *certtest.Authority
}

// get requests a URL without a certificate of its own, and returns status, text, and the name of the server's
// certificate.
func (o operator) get(url string) (status int, text, name string) {
	o.t.Helper()
	client := http.Client{Timeout: patience, Transport: &http.Transport{
		DisableKeepAlives: true, TLSClientConfig: &tls.Config{RootCAs: o.from.Pool, ServerName: "127.0.0.1"},
	}}
	resp, err := client.Get(url)
	if err != nil {
		o.t.Errorf("%s: %v", url, err)
		return 0, "", ""
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		o.t.Error(err)
	}
	if resp.TLS != nil {
		name = resp.TLS.PeerCertificates[0].DNSNames[0]
	}
	return resp.StatusCode, string(b), name
}

// TestAdminListenerWithTLS: a server that demands certificates of its clients demands none of those of its admin
// listener, which has the same certificate and a new one after a reload, by which it also begins to use TLS. Probes
// verify its certificate, and its mistaken clients are told.
func TestAdminListenerWithTLS(t *testing.T) {
	t.Parallel()
	a := newAuthority(t)
	c := serveConfigured(t, fmt.Sprintf("workers: 1\ntls-cert: %s\ntls-key: %s\ntls-client-ca: %s\n", a.Cert, a.Key, a.CA))
	at, ask := c.adminAddr(), operator{t, a.Authority} // every reload keeps the port
	secured := "https://" + at
	for i, name := range []string{"localhost", "two.test"} {
		a.Issue("server", name)
		c.write("admin: https://127.0.0.1:0\n")
		if out, err := c.reload(); err != nil {
			t.Fatalf("reload: %v, %s", err, out)
		}
		for path, want := range map[string]string{"/readyz": "ready", "/healthz": "ok", "/metrics": "expedite_connections"} {
			if status, text, got := ask.get(secured + path); status != http.StatusOK || !strings.Contains(text, want) || got != name {
				t.Errorf("reload %d, %s: got %d %q of %s, want %q of %s", i+1, path, status, text, got, want, name)
			}
		}
	}
	if status, text, _ := ask.get("http://" + at + "/healthz"); status != http.StatusBadRequest || !strings.Contains(text, "HTTPS") {
		t.Errorf("without TLS: got %d %q", status, text)
	}
	for _, tt := range []struct {
		flags []string
		ok    bool
		says  string
	}{
		{[]string{"--ca", a.CA}, true, "200 OK"},
		{[]string{"--insecure"}, true, "200 OK"},
		{nil, false, "certificate"},
		{[]string{"--ca", newAuthority(t).CA}, false, "certificate"},
		{[]string{"--ca", a.Key}, false, "has no certificate"},
		{[]string{"--ca", a.CA, "--insecure"}, false, "--ca and --insecure"},
	} {
		out, err := exec.Command(command, append([]string{"healthcheck", "--url", secured + "/readyz"}, tt.flags...)...).CombinedOutput()
		if (err == nil) != tt.ok || !strings.Contains(string(out), tt.says) {
			t.Errorf("healthcheck %v: got %v, %s; want %q", tt.flags, err, out, tt.says)
		}
	}
	if out, err := c.expedite("healthcheck", "--ca", a.CA); err == nil || !strings.Contains(out, "--url") {
		t.Errorf("healthcheck --ca without --url: %v, %s", err, out)
	}
	if out, err := c.expedite("healthcheck"); err != nil || !strings.Contains(out, "ready") {
		t.Errorf("healthcheck by the control socket: %v, %s", err, out)
	}
	c.write("admin: http://127.0.0.1:0\n")
	if out, err := c.reload(); err != nil {
		t.Fatalf("reload: %v, %s", err, out)
	}
	if status, text, _ := ask.get("http://" + at + "/readyz"); status != http.StatusOK {
		t.Errorf("plain again: got %d %q", status, text)
	}
}

// TestTLSWithoutCertificates: addresses that want TLS are errors if there is no certificate.
func TestTLSWithoutCertificates(t *testing.T) {
	control := filepath.Join(t.TempDir(), "control")
	for _, tt := range []struct{ addr, admin, want string }{
		{"127.0.0.1:0", "https://127.0.0.1:0", `--admin is "https://127.0.0.1:0", and there is no certificate`},
		{"https://127.0.0.1:0", "off", `--addr: "https://127.0.0.1:0" wants TLS, and there is no certificate`},
		{"127.0.0.1:0", "https://127.0.0.1", "want host:port"},
	} {
		out, err := exec.Command(command, "serve", "--control", control, "--addr", tt.addr, "--admin", tt.admin).CombinedOutput()
		if err == nil || !strings.Contains(string(out), tt.want) {
			t.Errorf("%+v: got %v, %s", tt, err, out)
		}
	}
}

// TestStatusOfTLS: status and metrics tell versions, suites and durations of handshakes, and go on through a reload.
func TestStatusOfTLS(t *testing.T) {
	t.Parallel()
	a := newAuthority(t)
	s := a.serve("--workers", "2")
	visit := func(version uint16) {
		t.Helper()
		conn, err := tls.DialWithDialer(&net.Dialer{Timeout: patience}, "tcp", s.addr, &tls.Config{
			RootCAs: a.Pool, ServerName: "localhost", MaxVersion: version,
		})
		if err != nil {
			t.Error(err)
			return
		}
		_ = conn.Close()
	}
	for range 3 {
		visit(tls.VersionTLS13)
	}
	visit(tls.VersionTLS12)
	wantVersions := func(v12, v13 uint64) {
		t.Helper()
		st := s.await("all handshakes are counted", func(st control.Status) bool {
			return st.TLS != nil && st.TLS.Versions["1.2"] == v12 && st.TLS.Versions["1.3"] == v13
		})
		if expires, err := time.Parse(time.RFC3339, st.TLS.CertificateExpires); err != nil || time.Until(expires) > time.Hour {
			t.Errorf("the certificate expires %q", st.TLS.CertificateExpires)
		}
	}
	wantVersions(1, 3)
	if out, err := s.expedite("reload", "--canary", "0s"); err != nil {
		t.Fatalf("reload: %v, %s", err, out)
	}
	visit(tls.VersionTLS13)
	wantVersions(1, 4)
	if out, err := s.expedite("status"); err != nil || !strings.Contains(out, "TLS handshakes: 1.2 1, 1.3 4") {
		t.Errorf("got %v, %s", err, out)
	}
	_, text, _ := operator{t, a.Authority}.get("http://" + s.adminAddr() + "/metrics")
	for _, sum := range []struct {
		metric string
		want   float64
	}{{"expedite_tls_suites_total{", 5}, {"expedite_tls_handshake_seconds_count{", 5}, {"expedite_tls_handshakes_total{", 5}} {
		var got float64
		for line := range strings.Lines(text) {
			if strings.HasPrefix(line, sum.metric) {
				n, err := strconv.ParseFloat(strings.Fields(line)[1], 64)
				if err != nil {
					t.Error(err)
				}
				got += n
			}
		}
		if got != sum.want {
			t.Errorf("%s: got %v, want %v", sum.metric, got, sum.want)
		}
	}
}

// TestDoctorOfTLS: doctor checks the certificates of the configuration file, and counts connections over TLS.
func TestDoctorOfTLS(t *testing.T) {
	a, stranger := newAuthority(t), newAuthority(t)
	dir := t.TempDir()
	for _, tt := range []struct {
		key string
		ok  bool
		say []string
	}{
		{a.Key, true, []string{"over TLS with", "bytes in a worker (2,000 for TLS)", "there are no intermediates"}},
		{stranger.Key, false, []string{"clients cannot connect", "does not match"}},
	} {
		text := fmt.Sprintf("tls-cert: %s\ntls-key: %s\naddr: https://:8443\n", a.Cert, tt.key)
		if err := os.WriteFile(filepath.Join(dir, configfile.Default), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		cmd := exec.Command(command, "doctor")
		cmd.Dir = dir
		out, err := cmd.CombinedOutput()
		if (err == nil) != tt.ok {
			t.Errorf("%s: %v", tt.key, err)
		}
		for _, want := range tt.say {
			if !strings.Contains(string(out), want) {
				t.Errorf("%s: got %s, want %q in it", tt.key, out, want)
			}
		}
	}
}
