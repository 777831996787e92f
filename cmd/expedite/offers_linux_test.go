package main

import (
	"cmp"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/expedite-go/expedite/internal/certtest"
)

// offer is a row of the table in docs/tls.md: what clients may offer, and how to find out what the server makes of it.
type offer struct {
	what string
	ask  func(t *testing.T, p *asked) string
}

// asked is a server that is asked.
type asked struct {
	addr string
	a    *certtest.Authority
}

// hello sends a ClientHello, and returns what the server says to it.
func (p *asked) hello(t *testing.T, h hello) answer {
	t.Helper()
	return ask(t, p.addr, h.bytes(t))
}

// offers is the table. Each row asks all servers.
func offers() []offer {
	rows := []offer{{"SSL 2.0", func(t *testing.T, p *asked) string {
		a := ask(t, p.addr, append([]byte{0x80, 0x2e, 1, 0, 2, 0, 0x15, 0, 0, 0, 0x10}, make([]byte, 37)...))
		return a.String()
	}}}
	for _, v := range []uint16{tls.VersionSSL30, tls.VersionTLS10, tls.VersionTLS11, tls.VersionTLS12} {
		name := strings.Replace(tls.VersionName(v), "SSLv3", "SSL 3.0", 1)
		rows = append(rows, offer{name, func(t *testing.T, p *asked) string {
			a := p.hello(t, hello12().with(func(h *hello) {
				h.version, h.suites = v, append(h.suites, tls.TLS_RSA_WITH_AES_128_CBC_SHA)
			}))
			return a.String()
		}})
	}
	return slices.Concat(rows, []offer{
		{"TLS 1.3", says(hello13())},
		{"TLS 1.3 to 1.0", says(hello13().with(func(h *hello) { h.versions = []uint16{0x0304, 0x0303, 0x0302, 0x0301} }))},
		{"TLS 1.2 by a client that has turned away from 1.3 (`TLS_FALLBACK_SCSV`)", says(hello12().with(func(h *hello) {
			h.suites = append(h.suites, tls.TLS_FALLBACK_SCSV)
		}))},
	}, offersOfSuites(), offersOfGroups(), offersOfSignatures(), otherOffers(), offersOfNames())
}

func says(h hello) func(*testing.T, *asked) string {
	return func(t *testing.T, p *asked) string {
		a := p.hello(t, h)
		return a.String()
	}
}

func offersOfSuites() []offer {
	scan := func(h hello) func(t *testing.T, p *asked) string {
		return func(t *testing.T, p *asked) string {
			return named(every(t, p.addr, func(list []uint16) hello {
				return h.with(func(h *hello) { h.suites = list })
			}, func(a *answer) uint16 { return a.suite }, tls.TLS_FALLBACK_SCSV), tls.CipherSuiteName)
		}
	}
	return []offer{{"every suite, TLS 1.3", scan(hello13())}, {"every suite, TLS 1.2", scan(hello12())}}
}

func offersOfGroups() []offer {
	scan := func(h hello) func(t *testing.T, p *asked) string {
		return func(t *testing.T, p *asked) string {
			return named(every(t, p.addr, func(list []uint16) hello {
				return h.with(func(h *hello) { h.groups, h.share = list, 0 })
			}, func(a *answer) uint16 { return a.group }), func(n uint16) string {
				return strings.Replace(tls.CurveID(n).String(), "CurveP", "P-", 1)
			})
		}
	}
	return []offer{{"every group, TLS 1.3", scan(hello13())}, {"every group, TLS 1.2", scan(hello12())}}
}

func offersOfSignatures() []offer {
	scan := func(h hello) func(t *testing.T, p *asked) string {
		return func(t *testing.T, p *asked) string {
			return named(accepted(t, p.addr, func(list []uint16) hello {
				return h.with(func(h *hello) { h.signatures = list })
			}), func(n uint16) string { return tls.SignatureScheme(n).String() })
		}
	}
	return []offer{
		{"every signature, TLS 1.3", scan(hello13())}, {"every signature, TLS 1.2", scan(hello12())},
		{"no signatures, TLS 1.2: SHA-1 (RFC 5246 §7.4.1.4.1)", says(hello12().with(func(h *hello) { h.signatures = nil }))},
	}
}

// otherOffers are parts of TLS that have done harm, or that nobody needs here.
func otherOffers() []offer {
	extensions := map[uint16]string{
		1: "max_fragment_length", 5: "status_request", 15: "heartbeat", 18: "signed_certificate_timestamp",
		22: "encrypt_then_mac", 23: "extended_master_secret", 28: "record_size_limit", 35: "session_ticket",
		0xff01: "renegotiation_info",
	}
	all := hello12()
	for kind, content := range map[uint16]string{
		1: "\x01", 5: "\x01\x00\x00\x00\x00", 15: "\x01", 18: "", 22: "", 23: "", 28: "\x04\x00", 35: "", 0xff01: "\x00",
	} {
		all.extensions = extension(all.extensions, kind, []byte(content))
	}
	compressed := func(h hello, methods ...byte) func(*testing.T, *asked) string {
		return func(t *testing.T, p *asked) string {
			a := p.hello(t, h.with(func(h *hello) { h.compression = methods }))
			if a.alert != 0 {
				return a.String()
			}
			return map[byte]string{0: "none", 1: "DEFLATE"}[a.compression]
		}
	}
	return []offer{
		{"compression DEFLATE or none, TLS 1.2", compressed(hello12(), 1, 0)},
		{"compression DEFLATE only, TLS 1.2", compressed(hello12(), 1)},
		{"compression DEFLATE or none, TLS 1.3", compressed(hello13(), 1, 0)},
		{"extensions of TLS 1.2, heartbeat among them", func(t *testing.T, p *asked) string {
			a := p.hello(t, all)
			if a.alert != 0 {
				return a.String()
			}
			var names []string
			for _, n := range a.extensions {
				if name, ok := extensions[n]; ok {
					names = append(names, name)
				}
			}
			slices.Sort(names)
			return strings.Join(names, ", ")
		}},
		{"early data (0-RTT)", says(hello13().with(func(h *hello) { h.extensions = extension(nil, 42, nil) }))},
	}
}

// offersOfNames are names of protocols and servers, by crypto/tls.
func offersOfNames() (rows []offer) {
	dial := func(c *tls.Config, got func(tls.ConnectionState) string) func(*testing.T, *asked) string {
		return func(t *testing.T, p *asked) string {
			c := c.Clone()
			c.RootCAs = p.a.Pool
			conn, err := tls.Dial("tcp", p.addr, c)
			if op, ok := errors.AsType[*net.OpError](err); ok && op.Op == "remote error" {
				return refusal(op.Err)
			}
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			return got(conn.ConnectionState())
		}
	}
	for _, protocols := range [][]string{{"http/1.1"}, {"h2", "http/1.1"}, {"h2"}, {"http/1.0"}, nil} {
		what := "ALPN " + strings.Join(protocols, ", ")
		if protocols == nil {
			what = "no ALPN"
		}
		rows = append(rows, offer{what, dial(&tls.Config{NextProtos: protocols, ServerName: "localhost"},
			func(s tls.ConnectionState) string { return cmp.Or(s.NegotiatedProtocol, "none") })})
	}
	certificate := func(s tls.ConnectionState) string {
		leaf := s.PeerCertificates[0]
		return fmt.Sprintf("`%s`, %s", leaf.DNSNames[0], leaf.PublicKeyAlgorithm)
	}
	rsa := []uint16{tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256}
	for _, c := range []struct {
		what string
		cfg  *tls.Config
	}{
		{"a name of two certificates", &tls.Config{ServerName: "localhost"}},
		{"the same, for RSA only (TLS 1.2)", &tls.Config{
			ServerName: "localhost", MaxVersion: tls.VersionTLS12, CipherSuites: rsa,
		}},
		{"another name", &tls.Config{ServerName: "other.test"}},
		{"no name", &tls.Config{ServerName: "127.0.0.1"}},
		{"no name, for RSA only (TLS 1.2)", &tls.Config{
			ServerName: "127.0.0.1", MaxVersion: tls.VersionTLS12, CipherSuites: rsa,
		}},
		{"an unknown name", &tls.Config{ServerName: "unknown.test", InsecureSkipVerify: true}},
		{"an unknown name, for RSA only (TLS 1.2)", &tls.Config{
			ServerName: "unknown.test", InsecureSkipVerify: true, MaxVersion: tls.VersionTLS12, CipherSuites: rsa,
		}},
	} {
		rows = append(rows, offer{"SNI: " + c.what, dial(c.cfg, certificate)})
	}
	return rows
}

// named returns the names of numbers, in ascending order.
func named(numbers []uint16, name func(uint16) string) string {
	slices.Sort(numbers)
	var names []string
	for _, n := range numbers {
		names = append(names, name(n))
	}
	if names == nil {
		return "none"
	}
	return strings.Join(names, ", ")
}

// TestOffers asks servers for everything that a client may offer, and compares the answers with the table in
// docs/tls.md. The engine has no part in it: both give the same answers.
func TestOffers(t *testing.T) {
	t.Parallel()
	a := certtest.New(t)
	pairs := []certtest.Pair{
		a.Issue("ecdsa", "localhost"), a.IssueRSA("rsa", "localhost", 2048), a.Issue("other", "other.test"),
	}
	var certs, keys []string
	for _, p := range pairs {
		certs, keys = append(certs, p.Cert), append(keys, p.Key)
	}
	var answers [3][]string
	for i, args := range [][]string{{}, {"--tls-engine", "std"}, {"--tls-min", "1.3"}} {
		s := serve(t, append([]string{
			"--workers", "1", "--tls-cert", strings.Join(certs, ","), "--tls-key", strings.Join(keys, ","),
		}, args...)...)
		p := &asked{addr: s.addr, a: a}
		for _, row := range offers() {
			answers[i] = append(answers[i], row.ask(t, p))
		}
	}
	var table strings.Builder
	table.WriteString("| offered | answer | with `--tls-min 1.3` |\n|---|---|---|\n")
	for n, row := range offers() {
		if answers[0][n] != answers[1][n] {
			t.Errorf("%s: got %s, and with --tls-engine std %s", row.what, answers[0][n], answers[1][n])
		}
		strict := answers[2][n]
		if strict == answers[0][n] {
			strict = "the same"
		}
		fmt.Fprintf(&table, "| %s | %s | %s |\n", row.what, answers[0][n], strict)
	}
	comparePage(t, "../../docs/tls.md", "make offers", table.String())
}

// comparePage compares a table with that of a page, or writes it there.
func comparePage(t *testing.T, path, command, want string) {
	t.Helper()
	begin, end := "<!-- generated by `"+command+"` -->\n\n", "\n<!-- end -->"
	page, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	head, rest, ok := strings.Cut(string(page), begin)
	got, tail, closed := strings.Cut(rest, end)
	switch {
	case !ok || !closed:
		t.Fatalf("%s has no place for the table, %q to %q", path, begin, end)
	case os.Getenv("UPDATE_GOLDEN") != "":
		if err := os.WriteFile(path, []byte(head+begin+want+end+tail), 0o644); err != nil {
			t.Fatal(err)
		}
	case got != want:
		t.Errorf("the table of %s is not what servers answer: run %s, and see whether that is as wanted\ngot\n%s\nwant\n%s",
			path, command, got, want)
	}
}
