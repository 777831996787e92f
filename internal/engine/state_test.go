package engine

import (
	"encoding/hex"
	"flag"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/expedite-go/expedite/ws"
	"github.com/expedite-go/expedite/ws/deflate"
)

var update = flag.Bool("update", false, "write the golden states of this version, which is done once for each")

// specimens returns connections that together have a bit of everything.
func specimens(t *testing.T) map[string]*Conn {
	t.Helper()
	e, err := New(Config{})
	if err != nil {
		t.Fatal(err)
	}
	// Running a stopped loop closes it.
	e.Stop()
	if err := e.Run(); err != nil {
		t.Fatal(err)
	}
	route := &Route{Path: "/chat", Save: func(*Conn) []byte { return []byte("alice") }}
	route.Prepare()
	remote := netip.MustParseAddrPort("192.0.2.7:51234")
	conn := func(ph uint32, id uint64) *Conn {
		c := &Conn{eng: e, remote: remote, id: id, lastRead: 1_000_000, lastPing: 2_000_000}
		c.phase.Store(ph)
		if ph >= phaseOpen {
			c.route = route
		}
		return c
	}
	head := conn(phaseHead, 0)
	head.in = &inbound{buf: []byte("GET /chat HTTP/1.1\r\nHo")}
	idle := conn(phaseOpen, 0x0040_0000_0000_0001)
	busy := conn(phaseOpen, 0x0040_0000_0000_0002)
	rd := &ws.ReaderConfig{}
	text := ws.AppendMaskedFrame(nil, ws.OpText, 0x01020304, []byte("ab\xce\xbb"))
	text[0] &^= 0x80 // more fragments follow
	if _, _, err := busy.reader.Next(text[:9], rd); err != nil {
		t.Fatal(err)
	}
	busy.in = &inbound{op: ws.OpText, buf: []byte("ab\xce")}
	busy.bits = bitPressed
	busy.outbox().addPinned([]byte("rest of a frame"))
	busy.out.addFrame(ws.OpBinary, []byte{1, 2, 3}, false)
	busy.out.addFrame(ws.OpText, []byte("x"), false)
	busy.box = &mailbox{}
	busy.box.waiting.add(event{kind: eventMessage, op: ws.OpText, data: []byte("waiting")})
	busy.box.waiting.add(event{kind: eventDrain})
	closing := conn(phaseClosing, 0x0040_0000_0000_0003)
	closing.end = &ending{code: ws.CloseServiceRestart, reason: "bye"}
	closing.loopBits = bitSettling | bitPeerClosed | bitPaused
	squeezed := conn(phaseOpen, 0x0040_0000_0000_0004)
	squeezed.agreed = agree(deflate.Params{ServerMaxWindowBits: 15, ClientMaxWindowBits: 13})
	squeezed.addWindows()
	squeezed.windows().receive(squeezed.agreed, []byte("received before"))
	squeezed.windows().send(squeezed.agreed, []byte("sent before"))
	squeezed.outbox().linked = true
	squeezed.out.addFrame(ws.OpText|rsv1, []byte("compressed"), false)
	squeezed.out.addFrame(ws.OpText, []byte("not compressed"), false)
	behind := conn(phaseHead, 0)
	behind.in = &inbound{buf: []byte("PROXY TCP4 19")}
	behind.via = viaWait | viaExempt
	return map[string]*Conn{
		"head": head, "idle": idle, "busy": busy, "closing": closing, "compressed": squeezed, "behind": behind,
	}
}

// TestGoldenStates: the states that a version has written stay readable forever, with the same meaning.
func TestGoldenStates(t *testing.T) {
	for name, c := range specimens(t) {
		t.Run(name, func(t *testing.T) {
			var carried []byte
			if name == "busy" {
				carried = []byte("app")
			}
			golden(t, name, c, carried)
		})
	}
}

// golden compares the state of c with what the first version has written.
func golden(t *testing.T, name string, c *Conn, carried []byte) {
	t.Helper()
	got := c.appendState(nil, c.phase.Load(), carried)
	file := filepath.Join("testdata", "states", "v1-"+name+".hex")
	if *update {
		if err := os.WriteFile(file, []byte(hex.EncodeToString(got)+"\n"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	written, err := hex.DecodeString(strings.TrimSpace(string(text)))
	if err != nil {
		t.Fatal(err)
	}
	want, err := parseState(written)
	if err != nil {
		t.Fatal(err)
	}
	s, err := parseState(got)
	if err != nil {
		t.Fatal(err)
	}
	if s.sealed != nil && want.sealed != nil { // compared in internal/reactor, which has written it
		s.sealed, want.sealed = nil, nil
	}
	if !reflect.DeepEqual(s, want) {
		t.Errorf("got  %+v\nwant %+v", s, want)
	}
	if s.id != c.id || s.remote != c.remote || s.read != c.lastRead || s.ping != c.lastPing || s.reader != c.reader {
		t.Errorf("%+v does not say what the connection was", s)
	}
	w := c.windows()
	if s.agreed != c.agreed || w != nil && (string(s.received) != string(w.in.Bytes()) || string(s.sent) != string(w.out.Bytes())) {
		t.Errorf("%+v does not say what was compressed", s)
	}
}

// TestIdleStateIsSmall: an idle connection takes at most 128 bytes on the wire, including the length before it.
func TestIdleStateIsSmall(t *testing.T) {
	c := specimens(t)["idle"]
	if n := 4 + len(c.appendState(nil, phaseOpen, nil)) + 2 + len("some-topic-name"); n > 128 {
		t.Errorf("an idle connection with one topic needs %d bytes", n)
	}
}

func FuzzParseState(f *testing.F) {
	files, err := filepath.Glob(filepath.Join("testdata", "states", "*.hex"))
	if err != nil || len(files) == 0 {
		f.Fatal("no golden states", err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		b, err := hex.DecodeString(strings.TrimSpace(string(text)))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		s, err := parseState(b)
		if err == nil && s == nil {
			t.Error("neither state nor error")
		}
	})
}
