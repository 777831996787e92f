package cluster

import (
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestWorkersShareWhatTheyListenAt(t *testing.T) {
	for _, tt := range []struct{ order, network string }{{"listen", "tcp"}, {"listen", "unix"}, {"packet", "udp"}} {
		t.Run(tt.network, func(t *testing.T) {
			o := startOrders(t, Config{Workers: 2}, "ask")
			name := anyPort
			if tt.network == "unix" {
				name = filepath.Join(t.TempDir(), "s")
			}
			order := strings.Join([]string{tt.order, tt.network, name}, " ")
			first, second := o.Workers()[0], o.Workers()[1]
			at := o.order(first, order)
			e := o.await(EventListening, 1)
			if e.Addr.Network() != tt.network || e.Addr.String() != at {
				t.Errorf("listening at %v %v, want %s %s", e.Addr.Network(), e.Addr, tt.network, at)
			}
			o.expect(second, order, at) // the same random port
			by := make(map[int]bool)
			eventually(t, "both serve", func() bool {
				c, err := dialAt(t, tt.network, at)
				if err != nil {
					t.Fatal(err)
				}
				_ = c.Close()
				by[c.slot] = true
				return by[1] && by[2]
			})
			o.expect(first, "unlisten", "<nil>")
			if c, err := dialAt(t, tt.network, at); err != nil || c.slot != 2 {
				t.Errorf("served by worker %d (%v), want 2: the other has closed its own", c.slot, err)
			}
			o.expect(second, "unlisten", "<nil>")
			if tt.network == "udp" {
				return // there is no report that it is closed
			}
			eventually(t, "closed with the last", func() bool {
				c, err := net.Dial(tt.network, at)
				if err == nil {
					_ = c.Close()
				}
				return err != nil
			})
		})
	}
}

func TestSecondListenerOfAName(t *testing.T) {
	o := startOrders(t, Config{Workers: 2}, "ask")
	first, second := o.Workers()[0], o.Workers()[1]
	order := "listen tcp " + anyPort
	a := o.order(first, order)
	b := o.order(first, order)
	if a == b {
		t.Errorf("port 0 twice: both %s", a)
	}
	o.expect(second, order, a)
	o.expect(second, order, b)
	o.expect(first, "unlisten", "<nil>")
	o.expect(first, order, a) // this worker's name is free again, and other workers have the socket open
	taken := o.order(first, "listen tcp "+a)
	if !strings.HasSuffix(taken, "in use: true") || !strings.HasPrefix(taken, "cluster: listen tcp "+a) {
		t.Errorf("a port that is taken: %q", taken)
	}
	if got := o.order(first, "listen nonsense x"); !strings.Contains(got, "unknown network nonsense") {
		t.Errorf("unknown network: %q", got)
	}
}

func TestSharedSocketOutlivesItsWorker(t *testing.T) {
	o := startOrders(t, Config{Workers: 1}, "ask")
	before := openFDs(t, os.Getpid())
	at := o.order(o.Workers()[0], "listen tcp "+anyPort)
	_ = o.Workers()[0].Kill(9)
	o.await(EventExit, 1)
	c, err := net.Dial("tcp", at) // it waits in the kernel's queue
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	for o.await(EventReady, 1).Worker.Generation() != 2 {
	}
	o.expect(o.Workers()[0], "listen tcp "+anyPort, at)
	if k, err := greet(c); err != nil || k.generation != 2 {
		t.Errorf("served by generation %d (%v), want 2", k.generation, err)
	}
	o.Stop()
	if c, err := net.Dial("tcp", at); err == nil {
		_ = c.Close()
		t.Error("still open after the primary's end")
	}
	eventually(t, "all closed", func() bool { return openFDs(t, os.Getpid()) <= before+1 })
}

func TestListenNeedsServe(t *testing.T) {
	if _, err := new(Self).Listen("tcp", anyPort); !errors.Is(err, ErrNotServing) {
		t.Errorf("Listen: %v, want ErrNotServing", err)
	}
	if _, err := new(Self).ListenPacket("udp", anyPort); !errors.Is(err, ErrNotServing) {
		t.Errorf("ListenPacket: %v, want ErrNotServing", err)
	}
}

// The primary sends workers a socket that it has opened itself, as with Node's listen({fd}).
func TestWorkersServeAListenerOfThePrimary(t *testing.T) {
	o := startOrders(t, Config{Workers: 2}, "ask")
	ln, err := net.Listen("tcp", anyPort)
	if err != nil {
		t.Fatal(err)
	}
	for _, w := range o.Workers() {
		if err := w.SendHandle([]byte("take"), ln.(*net.TCPListener), KeepOpen); err != nil {
			t.Fatal(err)
		}
		if got := o.answer(); got != "take *net.TCPListener" {
			t.Errorf("the worker got %q", got)
		}
	}
	at := ln.Addr().String()
	_ = ln.Close()
	by := make(map[int]bool)
	eventually(t, "both serve", func() bool {
		c, err := dialAt(t, "tcp", at)
		if err != nil {
			t.Fatal(err)
		}
		_ = c.Close()
		by[c.slot] = true
		return by[1] && by[2]
	})
}

func TestParseAddr(t *testing.T) {
	tests := []struct{ told, network, name string }{
		{"tcp\x00127.0.0.1:80", "tcp", "127.0.0.1:80"},
		{"tcp\x00[::1]:80", "tcp", "[::1]:80"},
		{"tcp\x00[fe80::1%eth0]:80", "tcp", "[fe80::1%eth0]:80"},
		{"udp\x00[::]:53", "udp", "[::]:53"},
		{"unix\x00/run/x", "unix", "/run/x"},
		{"unix\x00", "unix", ""},
		{"tcp\x00somewhere", "tcp", "somewhere"},
		{"pipe\x00a\x00b", "pipe", "a\x00b"},
	}
	for _, tt := range tests {
		a, ok := parseAddr([]byte(tt.told))
		if !ok || a.Network() != tt.network || a.String() != tt.name {
			t.Errorf("parseAddr(%q) = %v, %t; want %s %s", tt.told, a, ok, tt.network, tt.name)
		}
	}
	for _, told := range []string{"", "tcp", "\x00x"} {
		if a, ok := parseAddr([]byte(told)); ok {
			t.Errorf("parseAddr(%q) = %v, want none", told, a)
		}
	}
}
