package expedite

import (
	"context"
	"crypto/tls"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/expedite-go/expedite/auth"
	"github.com/expedite-go/expedite/internal/certtest"
)

// TestClientCertificate: the subject of a client's certificate reaches Authorize and stays with the connection, and so
// does the scheme. A client without one does not get that far. HTTP handlers see the certificate, too, also in a later
// request of the same connection.
func TestClientCertificate(t *testing.T) {
	a := certtest.New(t)
	server := a.Issue("server", "localhost")
	started, opened, schemes := make(chan Started, 1), make(chan *auth.Identity, 1), make(chan string, 1)
	for _, standard := range []bool{false, true} {
		app := New(Config{
			Workers: -1, Addr: "127.0.0.1:0", OnStart: func(s Started) { started <- s },
			TLS: TLS{Cert: []string{server.Cert}, Key: []string{server.Key}, ClientCA: a.CA, Standard: standard},
		})
		app.Handle("/", Handler{
			Authorize: func(r *http.Request, id *auth.Identity) error {
				schemes <- r.URL.Scheme
				id.User = id.Certificate
				return nil
			},
			Open: func(c *Conn) { opened <- c.Identity() },
		})
		app.HTTP(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.TLS == nil || r.TLS.PeerCertificates[0].Subject.CommonName != "alice" {
				http.Error(w, "who?", http.StatusForbidden)
			}
		}))
		ctx, stop := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- app.Run(ctx) }()
		s := <-started
		if len(s.TLS) != 1 || s.TLS[0] != s.Addresses[0] {
			t.Errorf("addresses with TLS: %v", s.TLS)
		}
		for _, certs := range [][]tls.Certificate{{a.Issue("alice", "alice").TLS}, nil} {
			client := &http.Client{Transport: &http.Transport{
				TLSClientConfig: &tls.Config{RootCAs: a.Pool, Certificates: certs}, DisableKeepAlives: false,
			}}
			for range 2 {
				res, err := client.Get("https://" + s.Addresses[0] + "/page")
				if err == nil {
					_ = res.Body.Close()
				}
				if ok := err == nil && res.StatusCode == http.StatusOK; ok != (certs != nil) {
					t.Errorf("standard %v: a request with %d certificates: %+v, %v", standard, len(certs), res, err)
				}
			}
			c, _, err := websocket.Dial(t.Context(), "wss://"+s.Addresses[0]+"/", &websocket.DialOptions{HTTPClient: client})
			if (err == nil) != (certs != nil) {
				t.Errorf("standard %v: a handshake with %d certificates: %v", standard, len(certs), err)
			}
			if err != nil {
				continue
			}
			if scheme, id := <-schemes, <-opened; scheme != "https" || id == nil || id.Certificate != "CN=alice" {
				t.Errorf("standard %v: got %s, %+v", standard, scheme, id)
			}
			_ = c.CloseNow()
			client.CloseIdleConnections()
		}
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}
}

// TestUnusedTLS: settings of TLS that would do nothing are refused, and named.
func TestUnusedTLS(t *testing.T) {
	dir := t.TempDir()
	pair := certtest.New(t).Issue("server", "localhost")
	certs := func(c *Config) { c.TLS.Cert, c.TLS.Key = []string{pair.Cert}, []string{pair.Key} }
	auto := func(c *Config) {
		c.TLS.Auto = TLSAuto{Domains: []string{"one.test"}, CA: "https://127.0.0.1:0/dir", Folder: dir}
	}
	redirect := func(c *Config) { c.TLS.Redirect = true }
	const plain, both = "http://127.0.0.1:0", "https://127.0.0.1:0 http://localhost:0"
	socket := " unix:" + filepath.Join(dir, "s")
	for _, tt := range []struct {
		addrs, admin, want string
		change             []func(*Config)
	}{
		{plain, "", "Config.TLS.Cert is of no use, because", []func(*Config){certs}},
		{plain + socket, "", "Config.TLS.Cert is of no use, because", []func(*Config){certs}},
		{plain, "127.0.0.1:0", "Config.TLS.Cert is of no use, because", []func(*Config){certs}},
		{plain, "https://127.0.0.1:0", "", []func(*Config){certs}},
		{plain + " systemd:web", "", "", []func(*Config){certs}},
		{"systemd:web?plain", "", "Config.TLS.Cert is of no use, because", []func(*Config){certs}},
		{both + socket, "", "", []func(*Config){certs}},
		{plain, "", "Config.TLS.Auto.Domains is of no use, because", []func(*Config){auto}},
		{plain, "https://127.0.0.1:0", "", []func(*Config){auto}},
		{both, "", "", []func(*Config){auto}},
		{plain, "https://127.0.0.1:0", "Config.TLS.Redirect leads nowhere", []func(*Config){certs, redirect}},
		{plain + " systemd:", "", "", []func(*Config){certs, redirect}},
		{"127.0.0.1:0" + socket, "", "Config.TLS.Redirect is of no use without an address", []func(*Config){certs, redirect}},
		{both, "", "", []func(*Config){certs, redirect}},
		{"127.0.0.1:0 systemd:web?plain", "", "", []func(*Config){certs, redirect}},
		{plain, "", "Config.TLS.Redirect is of no use without", []func(*Config){redirect}},
		{plain, "", "Config.TLS.MinVersion is of no use without", []func(*Config){func(c *Config) { c.TLS.MinVersion = tls.VersionTLS13 }}},
		{plain, "", "Config.TLS.Standard is of no use without", []func(*Config){func(c *Config) { c.TLS.Standard = true }}},
	} {
		c := Config{Addrs: strings.Fields(tt.addrs), Admin: tt.admin}
		for _, change := range tt.change {
			change(&c)
		}
		err := New(c).Check()
		if (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s, admin %q: got %v, want %q", tt.addrs, tt.admin, err, tt.want)
		}
	}
}

// TestAdminWithTLS: the admin listener of a process that serves alone uses TLS, and demands no certificate.
func TestAdminWithTLS(t *testing.T) {
	a := certtest.New(t)
	server := a.Issue("server", "localhost")
	started := make(chan Started, 1)
	app := New(Config{
		Workers: -1, Addr: "https://127.0.0.1:0", Admin: "https://127.0.0.1:0", OnStart: func(s Started) { started <- s },
		TLS: TLS{Cert: []string{server.Cert}, Key: []string{server.Key}, ClientCA: a.CA},
	})
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- app.Run(ctx) }()
	var s Started
	select {
	case s = <-started:
	case err := <-ended:
		t.Fatal(err)
	case <-time.After(20 * time.Second):
		t.Fatal("it does not start")
	}
	client := &http.Client{Timeout: 20 * time.Second, Transport: &http.Transport{
		TLSClientConfig: &tls.Config{RootCAs: a.Pool}, DisableKeepAlives: true,
	}}
	res, err := client.Get(s.Admin + "/readyz")
	if err != nil || res.StatusCode != http.StatusOK {
		t.Errorf("%s: got %+v, %v", s.Admin, res, err)
	}
	if err == nil {
		_ = res.Body.Close()
	}
	if len(s.TLS) != 1 {
		t.Errorf("addresses with TLS: %v", s.TLS)
	}
	stop()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}
