package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestBenchTLS: clients of several processes verify a server's certificate, with the authority that they are told.
func TestBenchTLS(t *testing.T) {
	a := newAuthority(t)
	s := a.serve("--workers", "1")
	url := "wss://" + s.addr + "/echo"
	short := []string{"-c", "20", "--ramp", "100ms", "--duration", "500ms", "--processes", "2", "--rate", "10"}
	for _, trust := range [][]string{{"--ca", a.CA}, {"--insecure"}} {
		b := benchmark(t, append(append(short, trust...), url)...)
		b.wantFine(t, 20)
		url = "https://" + s.addr + "/echo" // means the same
		if m := b.Messages; m.Sent == 0 || m.Received != m.Sent {
			t.Errorf("%s: got %+v, want all messages back", trust, m)
		}
	}
	for _, tt := range []struct {
		name string
		args []string
		code int
		want string
	}{
		{"the authorities of the system", []string{url}, 1, "no connection could be opened"},
		{"another authority", []string{url, "--ca", newAuthority(t).CA}, 1, "no connection could be opened"},
		{"both", []string{url, "--ca", a.CA, "--insecure"}, 2, "--ca and --insecure"},
		{"no TLS", []string{"ws://" + s.addr + "/echo", "--ca", a.CA}, 2, "want wss://"},
		{"no file", []string{url, "--ca", a.CA + "x"}, 2, "--ca: open"},
		{"a file without certificates", []string{url, "--ca", a.Key}, 2, "has no certificate"},
		{
			"insecure elsewhere",
			[]string{"wss://192.0.2.1/", "--insecure", "--yes-this-is-my-server"},
			1,
			"loopback addresses only",
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b := benchmark(t, append([]string{"-c", "3", "--ramp", "0s", "--duration", "100ms"}, tt.args...)...)
			if b.code != tt.code || !strings.Contains(b.stderr, tt.want) {
				t.Errorf("got code %d and %q, want %d and %q in it", b.code, b.stderr, tt.code, tt.want)
			}
		})
	}
}

// TestBenchScriptTLS: an artillery script turns verification on or off, and --ca names the authorities.
func TestBenchScriptTLS(t *testing.T) {
	a := newAuthority(t)
	s := a.serve("--workers", "1")
	for _, tt := range []struct {
		name, target, tls string
		flags             []string
		opened            uint64
		says              string
	}{
		{"not verified", "wss://", "rejectUnauthorized: false", nil, 5, ""},
		{"a base URL", "https://", "rejectUnauthorized: false", nil, 5, ""},
		{"verified by the system", "wss://", "rejectUnauthorized: true", nil, 0, "tls: unknown authority"},
		{"verified by default", "wss://", "", nil, 0, "tls: unknown authority"},
		{"an authority of our own", "https://", "", []string{"--ca", a.CA}, 5, ""},
		{"an authority in the script", "wss://", "ca: " + a.CA, nil, 0, "the flag --ca of expedite bench"},
		{"no TLS", "ws://", "rejectUnauthorized: false", nil, 0, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			script := filepath.Join(t.TempDir(), "load.yml")
			text := "config:\n  target: " + tt.target + s.addr + "\n  tls: { " + tt.tls + " }\n" +
				"  phases: [{ duration: 1, arrivalCount: 5 }]\n" +
				"scenarios:\n  - engine: ws\n    flow: [{ connect: \"{{ target }}/echo\" }, { send: hello }]\n"
			if err := os.WriteFile(script, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			b := benchmark(t, append(tt.flags, script)...)
			said := b.stderr
			for cause := range b.Errors {
				said += cause
			}
			if b.Connections.Opened != tt.opened || !strings.Contains(said, tt.says) || (b.code == 0) != (tt.opened > 0) {
				t.Errorf("got %d, %+v, %s, want %d opened, and %q", b.code, b.Connections, said, tt.opened, tt.says)
			}
		})
	}
}
