package main

import (
	"bufio"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// pageHost is the host in the examples of docs/proxies.md.
const pageHost = "chat.example.com"

// example returns the configuration with the given name in docs/proxies.md.
func example(t *testing.T, name string) string {
	t.Helper()
	page, err := os.ReadFile("../../docs/proxies.md")
	if err != nil {
		t.Fatal(err)
	}
	block := regexp.MustCompile("(?s)<!-- test: " + name + " -->\n```[a-z]+\n(.*?)```").FindSubmatch(page)
	if block == nil {
		t.Fatalf("docs/proxies.md has no example %q", name)
	}
	return string(block[1])
}

// realProxy is an nginx or HAProxy in front of a server.
type realProxy struct {
	t     *testing.T
	addr  string
	http  bool // it names the client in header fields, without its port
	tells bool // it tells that its clients use TLS
	// shares tells that it sends requests of different clients on one connection, also the first one of a client.
	shares bool
}

// substitute replaces what the examples assume with what the test has. Each must be there.
func substitute(t *testing.T, text string, pairs ...string) string {
	t.Helper()
	for i := 0; i < len(pairs); i += 2 {
		if !strings.Contains(text, pairs[i]) {
			t.Fatalf("the example does not contain %q:\n%s", pairs[i], text)
		}
		text = strings.ReplaceAll(text, pairs[i], pairs[i+1])
	}
	return text
}

// startNginx runs an example of the page.
func startNginx(t *testing.T, s *server, mode string) *realProxy {
	t.Helper()
	dir, addr := t.TempDir(), freeAddr(t)
	certificate(t, dir)
	text := substitute(t, example(t, "nginx "+mode), "127.0.0.1:8080", s.addr, "listen 443", "listen "+addr,
		"/etc/ssl/chat.pem", dir+"/chat.pem", "/etc/ssl/chat.key", dir+"/chat.key")
	begin := "daemon off;\nworker_processes 1;\npid " + dir + "/pid;\nevents {}\n"
	if mode == "http" {
		text = begin + "http {\naccess_log off;\nclient_body_temp_path " + dir + "/body;\nproxy_temp_path " + dir +
			"/proxy;\nfastcgi_temp_path " + dir + "/f;\nuwsgi_temp_path " + dir + "/u;\nscgi_temp_path " + dir + "/s;\n" + text + "}\n"
	} else {
		text = "load_module /usr/lib/nginx/modules/ngx_stream_module.so;\n" + begin + text
	}
	file := filepath.Join(dir, "nginx.conf")
	web := mode == "http"
	p := &realProxy{t: t, addr: addr, http: web, tells: web, shares: web}
	p.run(file, text, findTool(t, "nginx", "/usr/sbin/nginx"), "-e", "stderr", "-p", dir, "-c", file)
	return p
}

// startHAProxyOf runs an example of the page.
func startHAProxyOf(t *testing.T, s *server, mode string) *realProxy {
	t.Helper()
	dir, addr := t.TempDir(), freeAddr(t)
	certificate(t, dir)
	text := substitute(t, example(t, "haproxy "+mode), "127.0.0.1:8080", s.addr, "bind :443", "bind "+addr,
		"/etc/ssl/chat.pem", dir+"/chat.pem")
	if mode == "tcp" {
		_, port, err := net.SplitHostPort(s.adminAddr())
		if err != nil {
			t.Fatal(err)
		}
		text = substitute(t, text, "port 9600", "port "+port)
	}
	file := filepath.Join(dir, "haproxy.cfg")
	p := &realProxy{t: t, addr: addr, http: mode == "http", tells: true}
	p.run(file, text, findTool(t, "haproxy", "/usr/sbin/haproxy"), "-db", "-f", file)
	return p
}

// run writes the configuration, and runs the proxy until the test ends.
func (p *realProxy) run(file, text string, program string, args ...string) {
	p.t.Helper()
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		p.t.Fatal(err)
	}
	output := &syncBuffer{}
	cmd := exec.Command(program, args...)
	cmd.Stdout, cmd.Stderr = output, output
	if err := cmd.Start(); err != nil {
		p.t.Fatal(err)
	}
	p.t.Cleanup(func() {
		_ = cmd.Process.Signal(unix.SIGTERM)
		_ = cmd.Wait()
		if p.t.Failed() {
			p.t.Logf("configuration:\n%s\noutput of the proxy:\n%s", text, output)
		}
	})
	eventually(p.t, "the proxy accepts connections", func() bool {
		conn, err := net.Dial("tcp", p.addr)
		if err == nil {
			_ = conn.Close()
		}
		return err == nil
	})
}

// freeAddr returns a loopback address with a port that nothing else uses: the address is that of this process.
func freeAddr(t *testing.T) string {
	t.Helper()
	ln, err := net.Listen("tcp", fmt.Sprintf("127.%d.%d.9:0", 40+os.Getpid()>>8&0x3f, os.Getpid()&0xff))
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	return ln.Addr().String()
}

// certificate writes a certificate with its key to chat.pem, and the key to chat.key.
func certificate(t *testing.T, dir string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), DNSNames: []string{pageHost}, NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	secret, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	pemKey := pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: secret})
	both := append(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), pemKey...)
	for name, b := range map[string][]byte{"chat.pem": both, "chat.key": pemKey} {
		if err := os.WriteFile(filepath.Join(dir, name), b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// dial connects with a local address, over TLS.
func (p *realProxy) dial(local string) *haproxyClient {
	p.t.Helper()
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(local)}, Timeout: patience}
	conn, err := tls.DialWithDialer(&d, "tcp", p.addr, &tls.Config{InsecureSkipVerify: true, ServerName: pageHost})
	if err != nil {
		p.t.Fatal(err)
	}
	p.t.Cleanup(func() { _ = conn.Close() })
	if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
		p.t.Fatal(err)
	}
	return &haproxyClient{conn, bufio.NewReader(conn)}
}

// forged are fields with which a client tries to be another one, with another scheme.
const forged = "X-Forwarded-For: 6.6.6.6\r\nForwarded: for=6.6.6.6;proto=http\r\nX-Forwarded-Proto: http\r\n"

// requestOf returns a request for the host of the page, with further fields.
func requestOf(request, fields string) string {
	request = strings.Replace(request, "Host: test\r\n", "Host: "+pageHost+"\r\n", 1)
	return strings.TrimSuffix(request, "\r\n") + fields + "\r\n"
}

// remote returns what the log must show for a client.
func (p *realProxy) remote(c *haproxyClient) string {
	addr := c.LocalAddr().(*net.TCPAddr).AddrPort()
	if p.http {
		return fmt.Sprintf(`"remote":"%s:0"`, addr.Addr())
	}
	return fmt.Sprintf(`"remote":"%s"`, addr)
}

// wantLine waits until a line of the log has a message and a remote address.
func (s *server) wantLine(message, remote string) {
	s.t.Helper()
	eventually(s.t, "the log has a line "+message+" with "+remote, func() bool {
		for line := range strings.Lines(s.output.String()) {
			if strings.Contains(line, message) && strings.Contains(line, remote) {
				return true
			}
		}
		return false
	})
}

// TestProxies runs the examples of docs/proxies.md: clients with addresses of their own connect, through a reload, and the
// server knows them all, whatever they say of themselves.
func TestProxies(t *testing.T) {
	for _, tt := range []struct {
		name, mode string
		start      func(*testing.T, *server, string) *realProxy
	}{
		{"nginx HTTP", "http", startNginx},
		{"nginx TCP", "tcp", startNginx},
		{"HAProxy HTTP", "http", startHAProxyOf},
		{"HAProxy TCP", "tcp", startHAProxyOf},
	} {
		t.Run(tt.name, func(t *testing.T) {
			args := []string{"--workers", "2", "--trusted-proxies", "127.0.0.1", "--log-format", "json"}
			if tt.mode == "tcp" {
				args = append(args, "--proxy-protocol")
			}
			s := serve(t, args...)
			p := tt.start(t, s, tt.mode)
			if tt.mode == "tcp" && strings.HasPrefix(tt.name, "HAProxy") {
				eventually(t, "the health check has passed", func() bool { return s.adminStatus("/readyz", "") == http.StatusOK })
			}
			p.exercise(s)
			st := s.await("it serves", allReady)
			if got := st.Listeners[0].Proxy; got != (tt.mode == "tcp") {
				t.Errorf("status: the address requires a PROXY header: %t", got)
			}
			for name, n := range st.Totals.Limits {
				if strings.HasPrefix(name, "proxy") || name == "forwarded" {
					t.Errorf("limit %s: got %d, want none", name, n)
				}
			}
		})
	}
}

// exercise connects clients, reloads the server, and disconnects them.
func (p *realProxy) exercise(s *server) {
	t := p.t
	t.Helper()
	clients := make([]*haproxyClient, 3)
	for i := range clients {
		clients[i] = p.dial(fmt.Sprintf("127.0.0.%d", 2+i))
		clients[i].wantStatus(t, requestOf(handshake("/echo"), forged), http.StatusSwitchingProtocols)
		clients[i].wantEcho(t, "before the reload")
		s.wantLine("client connected", p.remote(clients[i]))
	}
	p.wantOrigins()
	if out, err := exec.Command(command, "reload", "--canary", "0s", "--control", s.control).CombinedOutput(); err != nil {
		t.Errorf("reload: %v: %s", err, out)
	}
	for _, c := range clients {
		c.wantEcho(t, "after the reload")
		_ = c.Close()
		s.wantLine("client gone", p.remote(c))
	}
	if p.shares {
		p.wantShared(s)
	}
}

// wantOrigins checks which pages of the host may connect: with TLS, and without it if the server does not know the scheme.
func (p *realProxy) wantOrigins() {
	plain := http.StatusForbidden
	if !p.tells {
		plain = http.StatusSwitchingProtocols
	}
	for origin, want := range map[string]int{
		"https://" + pageHost: http.StatusSwitchingProtocols, "http://" + pageHost: plain,
		"https://evil.example": http.StatusForbidden,
	} {
		p.dial("127.0.0.8").wantStatus(p.t, requestOf(handshake("/echo"), "Origin: "+origin+"\r\n"), want)
	}
}

// wantShared checks that requests of different clients on one connection of the proxy have their own clients.
func (p *realProxy) wantShared(s *server) {
	p.t.Helper()
	before := s.accepted()
	const requests = 5
	for i := range requests {
		c := p.dial(fmt.Sprintf("127.0.1.%d", i+1))
		c.wantStatus(p.t, "GET /healthz HTTP/1.1\r\nHost: "+pageHost+"\r\n\r\n", http.StatusOK)
		c.wantStatus(p.t, "GET /healthz HTTP/1.1\r\nHost: "+pageHost+"\r\n"+forged+"\r\n", http.StatusOK)
	}
	c := p.dial("127.0.1.99")
	c.wantStatus(p.t, requestOf(handshake("/echo"), forged), http.StatusSwitchingProtocols)
	s.wantLine("client connected", p.remote(c))
	if n := s.accepted() - before; n > requests {
		p.t.Errorf("%d requests took %d connections of the proxy: none was shared", 2*requests+1, n)
	}
}

// accepted returns the number of sockets that the workers have accepted, including health checks.
func (s *server) accepted() (n int) {
	s.t.Helper()
	page := get(s.t, "http://"+s.adminAddr()+"/metrics")
	for _, m := range regexp.MustCompile(`(?m)^expedite_accepted_total\{[^}]*\} (\d+)`).FindAllStringSubmatch(page, -1) {
		var k int
		_, _ = fmt.Sscan(m[1], &k)
		n += k
	}
	return n
}
