package cluster

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"syscall"
	"testing"
)

// tags makes a worker tell clients its slot, its generation, and the tag of the listener that they came by.
func (w *testWorker) tags(h *Hooks) {
	serve := func(c net.Conn, tag string) {
		defer c.Close()
		_, _ = fmt.Fprintln(c, w.self.Slot(), w.self.Generation(), tag)
	}
	h.Conns = nil
	h.Tagged = func(fds []int, tags []string) int {
		for i, fd := range fds {
			if c, err := Conn(fd); err == nil {
				go serve(c, tags[i]) // ends with the connection
			}
		}
		return len(fds)
	}
	for _, ln := range w.self.Listeners() {
		go func() { // ends with the process
			for {
				c, err := ln.Accept()
				if err != nil {
					return
				}
				go serve(c, ln.Tag) // ends with the connection
			}
		}()
	}
}

// tagAt connects and returns the slot and the tag that the client is told.
func tagAt(t *testing.T, addr net.Addr) (slot int, tag string) {
	t.Helper()
	c, err := net.DialTimeout(addr.Network(), addr.String(), patience)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	line, err := bufio.NewReader(c).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	words := strings.SplitN(strings.TrimSuffix(line, "\n"), " ", 3)
	if _, err := fmt.Sscan(words[0], &slot); err != nil || len(words) != 3 {
		t.Fatalf("got %q", line)
	}
	return slot, words[2]
}

// TestTagsTravelWithSockets: workers know by which listener a client came, with each policy and kind of socket, also
// while the primary accepts for them.
func TestTagsTravelWithSockets(t *testing.T) {
	for p := RoundRobin; p <= None; p++ {
		t.Run(p.String(), func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "s")
			opened := 0
			g := start(t, Config{Workers: 2, Scheduling: p, Listen: anyPort, Listeners: []Listener{
				{Name: "four", Tag: "tcp 4", Network: "tcp4", Address: anyPort},
				{Name: "unix", Tag: "a file", Open: func() (net.Listener, error) {
					opened++
					return net.Listen("unix", path)
				}},
			}}, "tags")
			if g.Addr().String() != g.AddrOf(anyPort).String() || g.AddrOf("nothing") != nil {
				t.Errorf("addresses: %v, %v, %v", g.Addr(), g.AddrOf(anyPort), g.AddrOf("nothing"))
			}
			check := func(when string) {
				t.Helper()
				by := make(map[int]bool)
				for name, want := range map[string]string{anyPort: "", "four": "tcp 4", "unix": "a file"} {
					for range 10 {
						slot, tag := tagAt(t, g.AddrOf(name))
						if by[slot] = true; tag != want {
							t.Errorf("%s, listener %q: got the tag %q, want %q", when, name, tag, want)
						}
					}
				}
				if len(by) != 2 && p == RoundRobin { // others may choose one of two that are alike
					t.Errorf("%s: workers %v have served", when, by)
				}
			}
			check("at the start")
			if err := g.Workers()[0].Kill(syscall.SIGKILL); err != nil {
				t.Fatal(err)
			}
			g.await(EventExit, 1)
			for range 10 { // the other worker serves, or the next one of the slot
				if _, tag := tagAt(t, g.AddrOf("four")); tag != "tcp 4" {
					t.Errorf("while a worker is replaced: got the tag %q", tag)
				}
				if _, tag := tagAt(t, g.AddrOf("unix")); tag != "a file" {
					t.Errorf("while a worker is replaced: got the tag %q", tag)
				}
			}
			g.await(EventReady, 1)
			check("after a worker was replaced")
			if opened != 1 {
				t.Errorf("the Unix socket was opened %d times", opened)
			}
		})
	}
}

// TestInvalidListeners checks that names are unique and tags short, and that an error closes the sockets opened before.
func TestInvalidListeners(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	failed := errors.New("failed")
	good := Listener{Name: "good", Open: func() (net.Listener, error) { return net.Listen("unix", path) }}
	for want, list := range map[string][]Listener{
		`two listeners are called "a"`:          {good, {Name: "a"}, {Address: "a"}},
		"the limit is 4096":                     {good, {Name: "a", Tag: strings.Repeat("x", maxTag+1)}},
		"failed":                                {good, {Name: "a", Open: func() (net.Listener, error) { return nil, failed }}},
		"unknown network":                       {good, {Network: "carrier", Address: "pigeon"}},
		ErrHandle.Error() + ": *cluster.noFile": {good, {Name: "a", Open: func() (net.Listener, error) { return &noFile{}, nil }}},
	} {
		for p := RoundRobin; p <= None; p++ {
			if _, err := tryStart(t, Config{Workers: 1, Scheduling: p, Listeners: list}, "tags"); err == nil ||
				!strings.Contains(err.Error(), want) {
				t.Errorf("got %v, want %q", err, want)
			}
			if _, err := os.Stat(path); !errors.Is(err, os.ErrNotExist) {
				t.Errorf("%s: the socket before it stays open: %v", want, err)
			}
		}
	}
}

// noFile is a listener without a descriptor.
type noFile struct{ net.Listener }

// Close does nothing.
func (*noFile) Close() error { return nil }

// TestStage: sockets that are staged are open, and nothing accepts from them; undo closes them. If one cannot be
// opened, none is.
func TestStage(t *testing.T) {
	for p := RoundRobin; p <= None; p++ {
		g := start(t, Config{Workers: 1, Listen: anyPort, Scheduling: p}, "tags")
		path := filepath.Join(t.TempDir(), "s")
		file := Listener{Name: "file", Open: func() (net.Listener, error) { return net.Listen("unix", path) }}
		undo, err := g.Stage(t.Context(), []Listener{file, {Name: "tcp", Address: anyPort}})
		if err != nil {
			t.Fatal(err)
		}
		c, err := net.Dial("unix", path)
		if err != nil {
			t.Fatal(err)
		}
		if g.AddrOf("tcp") != nil {
			t.Error("a staged listener counts as one that serves")
		}
		tagAt(t, g.Addr()) // the others are not disturbed
		undo()
		if _, err := c.Read(make([]byte, 1)); err == nil {
			t.Error("a client of a staged listener was served")
		}
		if _, err := net.Dial("unix", path); err == nil {
			t.Error("the staged listener stays open")
		}
		if _, err := g.Stage(t.Context(), []Listener{file, {Name: "taken", Address: g.Addr().String()}}); !errors.Is(err, syscall.EADDRINUSE) {
			t.Errorf("a taken address: %v", err)
		}
		if _, err := os.Stat(path); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("the listener before the taken one stays open: %v", err)
		}
		g.Stop()
		if _, err := g.Stage(t.Context(), []Listener{file}); !errors.Is(err, ErrStopped) {
			t.Errorf("after Stop: %v, want ErrStopped", err)
		}
	}
}

// TestInheritedListeners: the format is part of the contract between releases. Early releases leave the sockets of one
// listener, without a name.
func TestInheritedListeners(t *testing.T) {
	const text = `{"version":1,"acceptors":[3,4],"listeners":[{"name":"a","number":0,"per_slot":true},` +
		`{"name":"b","tag":"b?x","number":7,"sockets":[5],"staged":true}]}`
	h, _, err := parseInheritance(framed(text))
	if err != nil {
		t.Fatal(err)
	}
	want := []inheritedSource{
		{Name: "a", PerSlot: true, Sockets: []int{3, 4}}, {Name: "b", Tag: "b?x", Number: 7, Sockets: []int{5}, Staged: true},
	}
	if got := h.sources(true); !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, want %+v", got, want)
	}
	if got := h.descriptors(); !slices.Equal(got, []int{3, 4, 5}) {
		t.Errorf("descriptors %v, want 3, 4 and 5", got)
	}
	b, err := json.Marshal(h.Listeners)
	if got := string(b); err != nil || !strings.Contains(text, got) && got != `[{"name":"a","number":0,"per_slot":true},`+
		`{"name":"b","tag":"b?x","number":7,"staged":true,"sockets":[5]}]` {
		t.Errorf("written: %s, %v", got, err)
	}
	for _, none := range []bool{false, true} {
		early, _, err := parseInheritance(framed(`{"version":1,"acceptors":[3,4]}`))
		if err != nil {
			t.Fatal(err)
		}
		want := []inheritedSource{{PerSlot: none, Sockets: []int{3, 4}}}
		if got := early.sources(none); !reflect.DeepEqual(got, want) {
			t.Errorf("of an early release: got %+v, want %+v", got, want)
		}
	}
	if got := new(inheritance).sources(false); len(got) != 0 {
		t.Errorf("without listeners: got %+v", got)
	}
}
