package engine

import (
	"bytes"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/expedite-go/expedite/ws"
)

// TestHostileRecords: clients that have completed the handshake of TLS 1.3 and then break it get the alert that RFC 8446
// wants, are counted, and harm nobody else. Those that do what is unusual but allowed are served.
func TestHostileRecords(t *testing.T) {
	source, client, _ := securedBy(t)
	f := start(t, Config{Source: source, HandshakeTimeout: patience}, map[string]*Route{"/": {Handler: echo, Inline: true}})
	neighbour, _ := f.connectTLS(t, client, fmt.Sprintf(request, "/"))
	neighbour.head()
	const echoes = 1000 // instead of an alert: the client's message is echoed
	frame := func(text string) string { return string(ws.AppendMaskedFrame(nil, ws.OpText, 7, []byte(text))) }
	echoed := func(c *forger) []byte { return c.seal(dataRecord, frame("still here")) }
	for _, row := range []struct {
		name  string
		alert int
		bytes func(c *forger) []byte
	}{
		{"§4.6.3 a few KeyUpdates", echoes, func(c *forger) []byte { return append(c.updates(10, keyUpdate), echoed(c)...) }},
		{"§4.6.3 KeyUpdates that want an answer", echoes, func(c *forger) []byte {
			return append(c.updates(10, keyUpdateRequest), echoed(c)...)
		}},
		{"a KeyUpdate in five records", echoes, func(c *forger) (b []byte) {
			for i := range keyUpdate {
				b = append(b, c.seal(handshakeRecord, keyUpdate[i:i+1])...)
			}
			c.out.next()
			return append(b, echoed(c)...)
		}},
		{"a flood of KeyUpdates", 10, func(c *forger) []byte { return c.updates(17, keyUpdate) }},
		{"a flood of KeyUpdates that want an answer", 10, func(c *forger) []byte { return c.updates(17, keyUpdateRequest) }},
		{"a KeyUpdate that does not end its record", 10, func(c *forger) []byte {
			return c.seal(handshakeRecord, keyUpdate+keyUpdate)
		}},
		{"a KeyUpdate of a wrong length", 50, func(c *forger) []byte { return c.seal(handshakeRecord, "\x18\x00\x00\x02\x00") }},
		{"a KeyUpdate with an unknown request", 47, func(c *forger) []byte { return c.seal(handshakeRecord, keyUpdate[:4]+"\x02") }},
		{"an alert amidst a KeyUpdate", 10, func(c *forger) []byte {
			return append(c.seal(handshakeRecord, keyUpdate[:2]), c.seal(alertRecord, "\x01\x00")...)
		}},
		{"§4.6.1 a NewSessionTicket", 10, func(c *forger) []byte { return c.seal(handshakeRecord, "\x04\x00\x00\x00") }},
		{"§4.6.2 a Certificate", 10, func(c *forger) []byte { return c.seal(handshakeRecord, "\x0b\x00\x00\x00") }},
		{"§4.6.2 a CertificateRequest", 10, func(c *forger) []byte { return c.seal(handshakeRecord, "\x0d\x00\x00\x00") }},
		{"§4.1.2 a ClientHello", 10, func(c *forger) []byte { return c.seal(handshakeRecord, "\x01\x00\x00\x00") }},
		{"a ClientHello in the clear", 10, func(*forger) []byte { return []byte("\x16\x03\x01\x00\x04\x01\x00\x00\x00") }},
		{"an empty handshake record", 10, func(c *forger) []byte { return c.seal(handshakeRecord, "") }},
		{"§5 change_cipher_spec", 10, func(*forger) []byte { return []byte("\x14\x03\x03\x00\x01\x01") }},
		{"the same, encrypted", 10, func(c *forger) []byte { return c.seal(cipherRecord, "\x01") }},
		{"a heartbeat", 10, func(c *forger) []byte { return c.seal(24, "\x01\x40\x00") }},
		{"an alert in the clear", 10, func(*forger) []byte { return []byte("\x15\x03\x03\x00\x02\x01\x00") }},
		{"HTTP in the clear", 10, func(*forger) []byte { return []byte("GET / HTTP/1.1\r\n\r\n") }},
		{"§5.4 padding of 16 KiB", echoes, func(c *forger) []byte {
			text := frame("still here")
			return c.seal(dataRecord, text, make([]byte, 1<<14-len(text))...)
		}},
		{"§5.4 nothing but padding", 10, func(c *forger) []byte { return c.seal(0, "", make([]byte, 100)...) }},
		{"§5.4 an empty alert", 10, func(c *forger) []byte { return c.seal(alertRecord, "") }},
		{"empty records", echoes, func(c *forger) []byte { return append(c.seals(16, dataRecord, ""), echoed(c)...) }},
		{"a flood of empty records", 10, func(c *forger) []byte { return c.seals(17, dataRecord, "") }},
		{"a byte in each record", echoes, func(c *forger) (b []byte) {
			for _, one := range []byte(frame(strings.Repeat("x", 3000)) + frame("still here")) {
				b = append(b, c.seal(dataRecord, string([]byte{one}))...)
			}
			return b
		}},
		{"§5.1 a content of 16 KiB and a byte", 22, func(c *forger) []byte {
			return c.seal(dataRecord, string(make([]byte, 1<<14+1)))
		}},
		{"§5.2 a record that is too long", 22, func(*forger) []byte { return []byte("\x17\x03\x03\x41\x01") }},
		{"§5.2 a changed record", 20, func(c *forger) []byte {
			b := echoed(c)
			b[len(b)-1] ^= 1
			return b
		}},
		{"a record without a tag", 20, func(*forger) []byte { return []byte("\x17\x03\x03\x00\x00") }},
		{"a record that comes twice", 20, func(c *forger) []byte {
			b := c.seal(dataRecord, frame("once"))
			return append(b, b...)
		}},
		{"records in a wrong order", 20, func(c *forger) []byte {
			first := c.seal(dataRecord, frame("first"))
			return append(c.seal(dataRecord, frame("second")), first...)
		}},
		{"§6.1 close_notify, and data", 0, func(c *forger) []byte { return append(c.seal(alertRecord, "\x01\x00"), echoed(c)...) }},
		{"§6.1 user_canceled", echoes, func(c *forger) []byte { return append(c.seal(alertRecord, "\x01\x5a"), echoed(c)...) }},
		{"a flood of user_canceled", 10, func(c *forger) []byte { return c.seals(17, alertRecord, "\x01\x5a") }},
		{"§6.2 a fatal alert", noAlert, func(c *forger) []byte { return c.seal(alertRecord, "\x02\x28") }},
		{"§6.2 a warning", noAlert, func(c *forger) []byte { return c.seal(alertRecord, "\x01\x64") }},
		{"§6 an unknown alert", noAlert, func(c *forger) []byte { return c.seal(alertRecord, "\x01\xff") }},
		{"half an alert", 50, func(c *forger) []byte { return c.seal(alertRecord, "\x02") }},
		{"two alerts in a record", 50, func(c *forger) []byte { return c.seal(alertRecord, "\x01\x5a\x01\x5a") }},
	} {
		c := f.forge(t, client)
		before := f.Stats().Limits["tls_violation"]
		if _, err := c.raw.Write(c.seal(dataRecord, fmt.Sprintf(request, "/"))); err != nil {
			t.Fatal(err)
		}
		if alert, err := c.answer("\r\n\r\n"); alert != noAlert || err != nil {
			t.Fatalf("%s: opened with %d, %v", row.name, alert, err)
		}
		// The system may have dropped what the server has not read, and the connection with it.
		_, _ = c.raw.Write(row.bytes(c))
		want, text := row.alert, ""
		if want == echoes {
			want, text = noAlert, "still here"
		}
		if alert, err := c.answer(text); err != nil || alert != want && alert != leftOut {
			t.Errorf("%s: got %d, %v, want %d", row.name, alert, err, want)
		}
		broken := row.alert != echoes && row.alert > 0
		until(t, row.name+": it is counted", func() bool {
			return f.Stats().Limits["tls_violation"] == before+uint64(btoi(broken))
		})
		_ = c.raw.Close()
		served(t, neighbour)
	}
	until(t, "all but one are gone", func() bool { return f.Len() == 1 })
	if arriving, leaving := f.loop.Sealed(); arriving != 0 || leaving != 0 {
		t.Errorf("%d and %d bytes are counted when nobody has them", arriving, leaving)
	}
	if log := f.logs.String(); !strings.Contains(log, "a client has broken TLS") || !strings.Contains(log, "remote=127.0.0.1") {
		t.Errorf("it is not logged: %s", log)
	}
}

// served expects that an open client gets an echo.
func served(t *testing.T, p *peer) {
	t.Helper()
	if err := p.conn.SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	p.send(ws.OpText, []byte("hello"))
	p.want(ws.OpText, []byte("hello"))
}

func btoi(b bool) int {
	if b {
		return 1
	}
	return 0
}

// hello is a ClientHello of TLS 1.3 with further extensions, in records of at most size bytes.
func hello(size int, more ...[]byte) (b []byte) {
	extension := func(kind uint16, content string) []byte {
		n := len(content)
		return append([]byte{byte(kind >> 8), byte(kind), byte(n >> 8), byte(n)}, content...)
	}
	extensions := bytes.Join(append([][]byte{
		extension(43, "\x02\x03\x04"), extension(10, "\x00\x02\x00\x1d"), extension(13, "\x00\x02\x04\x03"),
		extension(51, "\x00\x24\x00\x1d\x00\x20\x09"+strings.Repeat("\x00", 31)),
	}, more...), nil)
	body := "\x03\x03" + strings.Repeat("r", 32) + "\x20" + strings.Repeat("s", 32) + "\x00\x02\x13\x01\x01\x00"
	n := len(extensions)
	body += string([]byte{byte(n >> 8), byte(n)}) + string(extensions)
	n = len(body)
	body = string([]byte{1, byte(n >> 16), byte(n >> 8), byte(n)}) + body
	for len(body) > 0 {
		n := min(size, len(body))
		b = append(append(b, 22, 3, 1, byte(n>>8), byte(n)), body[:n]...)
		body = body[n:]
	}
	return b
}

// listed is an extension with a list of n copies of an entry, whose length has two bytes.
func listed(kind byte, n int, entry string, after string) []byte {
	list := strings.Repeat(entry, n)
	content := string([]byte{byte(len(list) >> 8), byte(len(list))}) + list + after
	return append([]byte{0, kind, byte(len(content) >> 8), byte(len(content))}, content...)
}

// TestHostileHandshakes: whatever a client sends instead of a handshake, it fails or waits for its deadline, is counted
// and told by a line of bounded length, and harms nobody else.
func TestHostileHandshakes(t *testing.T) {
	source, client, server := securedBy(t)
	f := start(t, Config{Source: source, HandshakeTimeout: patience}, map[string]*Route{"/": {Handler: echo, Inline: true}})
	neighbour, _ := f.connectTLS(t, client, fmt.Sprintf(request, "/"))
	neighbour.head()
	const whole = 1 << 14
	manyExtensions := func(n int) (b []byte) {
		for i := range n {
			b = append(b, 0x7f, byte(i>>8)&0x0f|0x10, byte(i), 0, 0)
		}
		return b[:len(b)/5*4]
	}
	for name, sent := range map[string][]byte{
		"noise":                           bytes.Repeat([]byte{0x80, 0x2e, 1, 0, 2}, 100),
		"a record that is too long":       []byte("\x16\x03\x01\xff\xff"),
		"an alert":                        []byte("\x15\x03\x01\x00\x02\x02\x28"),
		"data":                            []byte("\x17\x03\x03\x00\x05hello"),
		"empty handshake records":         bytes.Repeat([]byte("\x16\x03\x01\x00\x00"), 100),
		"change_cipher_spec":              bytes.Repeat([]byte("\x14\x03\x03\x00\x01\x01"), 100),
		"warnings":                        bytes.Repeat([]byte("\x15\x03\x03\x00\x02\x01\x5a"), 100),
		"a Finished first":                []byte("\x16\x03\x03\x00\x04\x14\x00\x00\x00"),
		"a long ClientHello":              hello(whole, make([]byte, 40<<10)),
		"a message of 16 MiB":             []byte("\x16\x03\x01\x00\x04\x01\xff\xff\xff"),
		"thousands of extensions":         hello(whole, manyExtensions(5000)),
		"an extension twice":              hello(whole, []byte("\x00\x2b\x00\x03\x02\x03\x04")),
		"thousands of names":              hello(whole, listed(0, 2000, "\x00\x00\x04test", "")),
		"thousands of ALPN names":         hello(whole, listed(16, 6000, "\x04evil", "")),
		"ALPN names of control bytes":     hello(whole, listed(16, 6000, "\x04\n\x1b\x00\x80", "")),
		"key shares":                      hello(whole, listed(51, 1000, "\x00\x17\x00\x01x", "")),
		"early data":                      hello(whole, []byte("\x00\x2a\x00\x00")),
		"two ClientHellos at once":        append(hello(whole), hello(whole)...),
		"a byte in each record":           append(hello(1), "\x15\x03\x03\x00\x02\x02\x28"...),
		"half a ClientHello, and the end": hello(whole)[:60],
	} {
		before := server.Counts()
		p := f.connect(t, "")
		_, _ = p.conn.Write(sent) // the connection may be gone meanwhile
		_ = p.conn.(*net.TCPConn).CloseWrite()
		if err := p.ends(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		until(t, name+": it is counted", func() bool {
			after := server.Counts()
			return after["failed"]+after["abandoned"] == before["failed"]+before["abandoned"]+1
		})
		served(t, neighbour)
	}
	strangers := hello(whole, []byte("\x00\x2d\x00\x02\x01\x01"), // and tickets of strangers, which must come last
		listed(41, 5, "\x00\x64"+strings.Repeat("t", 100)+"\x00\x00\x00\x00", listedBinders(5)))
	p := f.connect(t, "")
	p.write(strangers)
	if b := make([]byte, 6); true {
		if _, err := io.ReadFull(p.conn, b); err != nil || b[0] != 22 || b[5] != 2 {
			t.Errorf("tickets of strangers: got %x, %v, want a ServerHello", b, err)
		}
	}
	_ = p.conn.Close()
	log := f.logs.String()
	for line := range strings.Lines(log) {
		if len(line) > 1000 {
			t.Errorf("a line of %d bytes: %.100s", len(line), line)
		}
	}
	if !strings.Contains(log, "TLS handshake failed") || !strings.Contains(log, "remote=127.0.0.1") {
		t.Errorf("it is not logged: %s", log)
	}
	until(t, "all but one are gone", func() bool { return f.Stats().Handshaking == 0 })
}

// listedBinders are n binders of a pre_shared_key.
func listedBinders(n int) string {
	list := strings.Repeat("\x20"+strings.Repeat("b", 32), n)
	return string([]byte{byte(len(list) >> 8), byte(len(list))}) + list
}

// ends reads up to the end of the connection.
func (p *peer) ends() error {
	_, err := io.Copy(io.Discard, p.conn)
	if err != nil && strings.Contains(err.Error(), "reset") {
		return nil
	}
	return err
}

// TestStalledHandshakes: a handshake of TLS that stops at any message, or that comes byte by byte, ends in time. The
// oldest of too many give way to others.
func TestStalledHandshakes(t *testing.T) {
	source, client, _ := securedBy(t)
	f := start(t, Config{Source: source, HandshakeTimeout: 2 * time.Second}, map[string]*Route{"/": {Handler: echo}})
	var neighbour *peer
	until(t, "a client has opened a connection in time", func() bool {
		neighbour = f.connect(t, "")
		neighbour.conn = tls.Client(neighbour.conn, client)
		_, _ = fmt.Fprintf(neighbour.conn, request, "/")
		return neighbour.fill() == nil && bytes.HasPrefix(neighbour.head(), []byte("HTTP/1.1 101 "))
	})
	before := f.Stats().Limits["head_time"]
	noShare := bytes.Replace(hello(1<<14), []byte("\x00\x33\x00\x26\x00\x24\x00\x1d\x00\x20\x09"), []byte("\x00\x33\x00\x26\x00\x24\x00\x1e\x00\x20\x09"), 1)
	stalled := map[string]func(p *peer){
		"nothing is sent":         func(*peer) {},
		"half a ClientHello":      func(p *peer) { _, _ = p.conn.Write(hello(1 << 14)[:60]) },
		"after a ClientHello":     func(p *peer) { _, _ = p.conn.Write(hello(1 << 14)) },
		"after HelloRetryRequest": func(p *peer) { _, _ = p.conn.Write(noShare) },
		"half a Finished": func(p *peer) {
			c := tls.Client(&stingy{Conn: p.conn, writes: 1, more: 10}, client)
			_ = c.Handshake()
		},
		"TLS 1.2, after a ClientHello": func(p *peer) {
			cfg := client.Clone()
			cfg.MaxVersion = tls.VersionTLS12
			_ = p.conn.SetReadDeadline(time.Now().Add(time.Second))
			_ = tls.Client(&stingy{Conn: p.conn, writes: 1}, cfg).Handshake()
		},
		"after Finished": func(p *peer) { _ = tls.Client(p.conn, client).Handshake() },
		"half a request": func(p *peer) {
			_, _ = tls.Client(p.conn, client).Write([]byte("GET / HT"))
		},
		"half a record": func(p *peer) {
			_ = tls.Client(p.conn, client).Handshake()
			_, _ = p.conn.Write(halfRecord())
		},
	}
	var open []*peer
	for _, stop := range stalled {
		p := f.connect(t, "")
		stop(p)
		_ = p.conn.SetReadDeadline(time.Now().Add(patience))
		open = append(open, p)
	}
	slow := f.connect(t, "")
	ended := make(chan struct{})
	go func() { // ends with the connection
		defer close(ended)
		tick := time.NewTicker(50 * time.Millisecond)
		defer tick.Stop()
		for _, b := range hello(1 << 14) {
			if _, err := slow.conn.Write([]byte{b}); err != nil {
				return
			}
			<-tick.C
		}
	}()
	for _, p := range append(open, slow) {
		if err := p.ends(); err != nil {
			t.Error(err)
		}
	}
	_ = slow.conn.Close()
	<-ended
	served(t, neighbour)
	until(t, "all are gone", func() bool { return f.Stats().Handshaking == 0 })
	if n := f.Stats().Limits["head_time"] - before; n != uint64(len(stalled)+1) {
		t.Errorf("head_time is %d, want %d", n, len(stalled)+1)
	}
}

// stingy sends as many writes, and bytes of the next one; the rest is lost.
type stingy struct {
	net.Conn
	writes, more int
}

func (c *stingy) Write(p []byte) (int, error) {
	if c.writes--; c.writes < 0 {
		n := min(c.more, len(p))
		c.more -= n
		_, err := c.Conn.Write(p[:n])
		return len(p), err
	}
	return c.Conn.Write(p)
}

// TestRenegotiation: TLS 1.2 ends at a second ClientHello.
func TestRenegotiation(t *testing.T) {
	source, client, _ := securedBy(t)
	f := start(t, Config{Source: source}, map[string]*Route{"/": {Handler: echo}})
	cfg := client.Clone()
	cfg.MaxVersion = tls.VersionTLS12
	raw := &retyped{Conn: f.connect(t, "").conn}
	c := tls.Client(raw, cfg)
	if err := c.Handshake(); err != nil {
		t.Fatal(err)
	}
	raw.on = true
	if _, err := c.Write([]byte("\x01\x00\x00\x00")); err != nil {
		t.Fatal(err)
	}
	_, err := c.Read(make([]byte, 1))
	if op, ok := errors.AsType[*net.OpError](err); !ok && !errors.Is(err, io.EOF) || ok && op.Op != "remote error" {
		t.Errorf("got %v, want an alert", err)
	}
	until(t, "it is gone", func() bool { return f.Stats().Handshaking == 0 })
}

// retyped turns the records that it sends into handshake records. Their tag is wrong then, which ends TLS 1.2, too.
type retyped struct {
	net.Conn
	on bool
}

func (c *retyped) Write(p []byte) (int, error) {
	if c.on {
		p = append([]byte{handshakeRecord}, p[1:]...)
	}
	return c.Conn.Write(p)
}
