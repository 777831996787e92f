package engine

import (
	"fmt"
	"net"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

// trustedSource is the source whose name is "trusted".
func trustedSource(name string) Source {
	return Source{Name: name, Proxies: Proxies{All: name == "trusted"}}
}

// TestSourceMovesWithTheHandshake: a connection whose handshake has begun takes the name of its source to the next
// worker, which decides itself what the source is. A Unix client has no address.
func TestSourceMovesWithTheHandshake(t *testing.T) {
	j := new(journal)
	p := startPair(t, j.routes)
	for _, f := range []*fixture{p.here, p.there} {
		on(t, f, func() { f.cfg.Source = trustedSource })
	}
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	p.here.AddFDs(fds[:1], []string{"trusted"})
	sources := func(e *fixture) (list []string) {
		on(t, e, func() {
			for _, c := range e.conns {
				if c != nil {
					from := c.Source()
					list = append(list, fmt.Sprintf("%s %t %s %t", from.Name, from.Proxies.All, c.Peer(), c.Remote().IsValid()))
				}
			}
		})
		return list
	}
	const want = "[trusted true unix false]"
	if got := fmt.Sprint(sources(p.here)); got != want {
		t.Errorf("before the handshake: got %s, want %s", got, want)
	}
	request := fmt.Sprintf(request, "/inline")
	for i, part := range []string{request[:10], request[10:]} {
		if _, err := unix.Write(fds[1], []byte(part)); err != nil {
			t.Fatal(err)
		}
		until(t, "it was read", func() bool {
			return p.here.Stats().BytesIn+p.there.Stats().BytesIn == uint64(len(request[:10])*(1-i)+len(request)*i)
		})
		if n := p.move(); n != 1 {
			t.Fatalf("%d connections moved, want 1", n)
		}
		if got := fmt.Sprint(sources(p.here)); i == 0 && got != want {
			t.Errorf("in the middle of the handshake: got %s, want %s", got, want)
		}
	}
	until(t, "it is open", func() bool { return j.opens.Load() == 1 })
	_ = unix.Close(fds[1])
	until(t, "it is closed", func() bool { return j.closes.Load() == 1 })
}

// TestSourcesHaveALimit: names beyond the limit are those of an unknown source.
func TestSourcesHaveALimit(t *testing.T) {
	e, err := New(Config{NewID: func() uint64 { return 1 }, Source: trustedSource, Route: func(string) *Route { return nil }})
	if err != nil {
		t.Fatal(err)
	}
	for i := range 2 * maxSources {
		if got := e.source(fmt.Sprint(i)); int(got) != i+1 && (got != 0 || i+1 < maxSources) {
			t.Fatalf("source %d of %d has the number %d", i, maxSources, got)
		}
	}
	if e.source("1") != 2 || e.source("trusted") != 0 {
		t.Error("known sources are forgotten, or new ones are not refused")
	}
	e.Stop()
	_ = e.Run()
}

// TestUnixClientsAreNotCounted: clients of Unix sockets have no address that a limit could count.
func TestUnixClientsAreNotCounted(t *testing.T) {
	j := new(journal)
	f := start(t, Config{MaxPerAddress: 1}, j.routes())
	ln, err := net.Listen("unix", filepath.Join(t.TempDir(), "s"))
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	on(t, f, func() {
		if _, err := f.Listen(ln, ""); err != nil {
			t.Error(err)
		}
	})
	for range 3 {
		c, err := net.Dial("unix", ln.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		if _, err := fmt.Fprintf(c, request, "/inline"); err != nil {
			t.Fatal(err)
		}
	}
	until(t, "all are open", func() bool { return j.opens.Load() == 3 })
}
