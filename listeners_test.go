package expedite

import (
	"errors"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/expedite-go/expedite/auth"
)

// TestAddressesOfOneProcess: a process that serves alone has addresses of each kind. A client of a Unix socket has no
// address, and HTTP handlers see what net/http has for it.
func TestAddressesOfOneProcess(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	remotes := make(chan netip.AddrPort, 8)
	seen := make(chan string, 8)
	started := make(chan Started, 1)
	app := New(Config{
		Workers: -1, Addr: "127.0.0.1:0", Addrs: []string{"[::1]:0?trusted", "unix:" + path + "?mode=0620"}, MaxPerAddress: 1,
		OnStart: func(s Started) { started <- s },
	})
	app.Handle("/", Handler{
		Open:      func(c *Conn) { remotes <- c.Remote() },
		Authorize: func(r *http.Request, _ *auth.Identity) error { seen <- r.RemoteAddr; return nil },
	})
	app.HTTP(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { seen <- r.RemoteAddr }))
	ended := make(chan error, 1)
	go func() { ended <- app.Run(t.Context()) }()
	s := <-started
	if len(s.Addresses) != 3 || !strings.HasPrefix(s.Addresses[1], "[::1]:") || s.Addresses[2] != "unix:"+path {
		t.Fatalf("got the addresses %q", s.Addresses)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o620 {
		t.Errorf("the socket: %v, %v; want mode 0620", info, err)
	}
	dial := func(text, request string) net.Conn {
		t.Helper()
		network, address := "tcp", text
		if p, ok := strings.CutPrefix(text, "unix:"); ok {
			network, address = "unix", p
		}
		c, err := net.DialTimeout(network, address, patience)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = c.Close() })
		_ = c.SetDeadline(time.Now().Add(patience))
		if _, err := c.Write([]byte(request)); err != nil {
			t.Fatal(err)
		}
		return c
	}
	const upgrade = "GET / HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n" +
		"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
	for _, text := range append(slices.Clone(s.Addresses), s.Addresses[2], s.Addresses[2]) {
		c := dial(text, upgrade)
		remote, header := <-remotes, <-seen
		if strings.HasPrefix(text, "unix:") {
			if remote.IsValid() || header != "@" {
				t.Errorf("%s: the client is %v, and %q for Authorize; want none, and @", text, remote, header)
			}
		} else if want := c.LocalAddr().String(); remote.String() != want || header != want {
			t.Errorf("%s: the client is %v, and %q for Authorize; want %s", text, remote, header, want)
		}
	}
	dial(s.Addresses[2], "GET /page HTTP/1.1\r\nHost: h\r\n\r\n")
	if got := <-seen; got != "@" {
		t.Errorf("HTTP: the client is %q, want @", got)
	}
	if err := app.StopNow(); err != nil {
		t.Fatal(err)
	}
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the socket stays after the end: %v", err)
	}
}

// TestBadAddresses: what is wrong with an address is an error of Run, and no socket stays open.
func TestBadAddresses(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "s")
	for want, list := range map[string][]string{
		"there twice":             {"127.0.0.1:0", "127.0.0.1:0?trusted"},
		`did you mean "mode"`:     {"unix:" + path + "?mod=0600"},
		"host:port":               {"nonsense"},
		"create the folder":       {"unix:" + path, "unix:" + filepath.Join(dir, "none", "s")},
		"systemd has passed no":   {"unix:" + path, "systemd:web"},
		"unknown user nobodyhere": {"unix:" + path, "unix:" + path + "2?owner=nobodyhere"},
	} {
		err := New(Config{Workers: -1, Addrs: list}).Run(t.Context())
		if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "Config.Addr") {
			t.Errorf("%q: got %v, want an error of Config.Addr with %q", list, err, want)
		}
		if _, err := os.Stat(path); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%q: a socket stays open: %v", list, err)
		}
	}
}
