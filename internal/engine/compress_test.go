package engine

import (
	"bytes"
	"compress/flate"
	"encoding/binary"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/expedite-go/expedite/ws"
	"github.com/expedite-go/expedite/ws/deflate"
)

// squeezer is a client with permessage-deflate. Its codec is compress/flate of the standard library, which knows
// nothing of the server's.
type squeezer struct {
	*peer
	params         deflate.Params
	sent, received []byte // plaintext of the compressed messages of each direction
	short          int    // messages that arrived compressed
}

// squeeze opens a WebSocket that offers permessage-deflate with parameters, such as "; client_max_window_bits".
func (f *fixture) squeeze(t *testing.T, path, parameters string) *squeezer {
	t.Helper()
	return f.connect(t, "").squeeze(path, parameters)
}

// squeeze does so on the connection of p.
func (p *peer) squeeze(path, parameters string) *squeezer {
	t := p.t
	t.Helper()
	p.write([]byte(strings.Replace(fmt.Sprintf(request, path), "\r\n\r\n",
		"\r\nSec-WebSocket-Extensions: permessage-deflate"+parameters+"\r\n\r\n", 1)))
	head := string(p.head())
	if !strings.HasPrefix(head, "HTTP/1.1 101 ") {
		t.Fatalf("handshake: got %q", head)
	}
	_, answer, ok := strings.Cut(head, "Sec-WebSocket-Extensions: ")
	if !ok {
		t.Fatalf("the server declines: %q", head)
	}
	answer, _, _ = strings.Cut(answer, "\r\n")
	c := &squeezer{peer: p, params: deflate.Params{ServerMaxWindowBits: 15, ClientMaxWindowBits: 15}}
	c.params.ServerNoContextTakeover = strings.Contains(answer, "server_no_context_takeover")
	c.params.ClientNoContextTakeover = strings.Contains(answer, "client_no_context_takeover")
	for name, bits := range map[string]*uint8{
		"server_max_window_bits=%d": &c.params.ServerMaxWindowBits, "client_max_window_bits=%d": &c.params.ClientMaxWindowBits,
	} {
		if _, rest, ok := strings.Cut(answer, name[:strings.Index(name, "%")]); ok {
			if _, err := fmt.Sscanf(rest, "%d", bits); err != nil {
				t.Fatal(err)
			}
		}
	}
	p.rsv = true
	return c
}

func lastBytes(b []byte, n int) []byte { return b[max(0, len(b)-n):] }

// pack compresses a message.
func (c *squeezer) pack(plain []byte) []byte {
	c.t.Helper()
	var dict []byte
	if !c.params.ClientNoContextTakeover {
		dict = lastBytes(c.sent, 1<<c.params.ClientMaxWindowBits)
	}
	var b bytes.Buffer
	w, err := flate.NewWriterDict(&b, flate.BestCompression, dict)
	if err == nil {
		_, err = w.Write(plain)
	}
	if err == nil {
		err = w.Flush()
	}
	if err != nil {
		c.t.Fatal(err)
	}
	c.sent = append(c.sent, plain...)
	return b.Bytes()[:b.Len()-4]
}

// unpack decompresses a message with no more window than was agreed on.
func (c *squeezer) unpack(packed []byte) ([]byte, error) {
	var dict []byte
	if !c.params.ServerNoContextTakeover {
		dict = lastBytes(c.received, 1<<c.params.ServerMaxWindowBits)
	}
	packed = append(bytes.Clone(packed), "\x00\x00\xff\xff\x01\x00\x00\xff\xff"...)
	plain, err := io.ReadAll(flate.NewReaderDict(bytes.NewReader(packed), dict))
	c.received = append(c.received, plain...)
	return plain, err
}

// frame encodes one frame of a client.
func frame(fin bool, op ws.Opcode, rsv byte, payload []byte) []byte {
	b := ws.AppendMaskedFrame(nil, op, 0xa1b2c3d4, payload)
	b[0] |= rsv
	if !fin {
		b[0] &^= 0x80
	}
	return b
}

// sendPacked sends a compressed message.
func (c *squeezer) sendPacked(op ws.Opcode, plain []byte) {
	c.t.Helper()
	c.write(frame(true, op, rsv1, c.pack(plain)))
}

// message reads the next message.
func (c *squeezer) message() (ws.Opcode, []byte) {
	c.t.Helper()
	ev, err := c.next()
	if err != nil || ev.Kind != ws.KindData {
		c.t.Fatalf("got event %d with code %d (%s), %v; want a message", ev.Kind, ev.Code, ev.Data, err)
	}
	if !ev.Compressed {
		return ev.Opcode, ev.Data
	}
	c.short++
	plain, err := c.unpack(ev.Data)
	if err != nil {
		c.t.Fatalf("a message of %d bytes cannot be decompressed: %v", len(ev.Data), err)
	}
	return ev.Opcode, plain
}

// wantPlain reads the next message and compares it.
func (c *squeezer) wantPlain(op ws.Opcode, want []byte) {
	c.t.Helper()
	if got, plain := c.message(); got != op || !bytes.Equal(plain, want) {
		c.t.Fatalf("got %s of %d bytes (%.60q), want %s of %d (%.60q)", got, len(plain), plain, op, len(want), want)
	}
}

// chat returns text that looks like the messages of a chat: compressible, and similar to earlier ones.
func chat(r *rand.Rand, size int) []byte {
	words := strings.Fields("the quick brown fox jumps over lazy dogs while seven wizards examine boxes of pink quartz")
	var b bytes.Buffer
	for b.Len() < size {
		fmt.Fprintf(&b, `{"id":"%08x","from":"user-%d","room":"general","text":"`, r.Uint32(), r.IntN(50))
		for range 6 {
			b.WriteString(words[r.IntN(len(words))] + " ")
		}
		b.WriteString(`"}`)
	}
	return b.Bytes()[:size]
}

// noise returns bytes that cannot be compressed.
func noise(r *rand.Rand, size int) []byte {
	b := make([]byte, 0, size+8)
	for len(b) < size {
		b = binary.LittleEndian.AppendUint64(b, r.Uint64())
	}
	return b[:size]
}

// offers are parameters of permessage-deflate that a client may offer, and which sides then have context takeover.
var offers = []struct{ name, parameters string }{
	{"nothing", ""},
	{"Chromium", "; client_max_window_bits"},
	{"server without takeover", "; server_no_context_takeover"},
	{"client without takeover", "; client_no_context_takeover"},
	{"both without takeover", "; server_no_context_takeover; client_no_context_takeover"},
	{"server window 8", "; server_max_window_bits=8"},
	{"server window 9", "; server_max_window_bits=9; client_max_window_bits=9"},
	{"client window 10", "; client_max_window_bits=10; server_max_window_bits=12"},
}

// TestCompressedEcho: messages of all sizes are echoed, in pieces and whole, with every agreement, on the loop and on a
// goroutine. Incompressible messages and short ones are sent uncompressed, and windows do not include them.
func TestCompressedEcho(t *testing.T) {
	for _, takeover := range []bool{false, true} {
		routes := map[string]*Route{}
		for _, inline := range []bool{false, true} {
			routes[fmt.Sprintf("/%v", inline)] = &Route{
				Inline: inline, Handler: echo, Compression: &deflate.Config{Takeover: takeover}, Reader: ws.ReaderConfig{MaxMessage: 4 << 20},
				QueueLimit: 1 << 30,
			}
		}
		onEachTransport(t, func(t *testing.T, on bool) {
			f := start(t, portable(on), routes)
			for path := range routes {
				for _, o := range offers {
					t.Run(fmt.Sprintf("takeover %v/inline %s/%s", takeover, path[1:], o.name), func(t *testing.T) {
						echoesCompressed(t, f.squeeze(t, path, o.parameters))
					})
				}
			}
		})
	}
}

func echoesCompressed(t *testing.T, c *squeezer) {
	r := rand.New(rand.NewPCG(1, 2))
	sizes := []int{0, 1, 20, 125, 126, 127, 128, 129, 255, 256, 257, 300, 1000, 1024, 5000, 8192, 16 << 10, 32 << 10, 70_000, 300_000}
	for i, size := range sizes {
		for _, text := range [][]byte{chat(r, size), noise(r, size), chat(r, size)} {
			switch i % 3 {
			case 0:
				c.sendPacked(ws.OpBinary, text)
			case 1: // uncompressed: neither side's window changes by what the client sends
				c.send(ws.OpBinary, text)
			case 2:
				packed := c.pack(text)
				at := len(packed) / 3
				c.write(frame(false, ws.OpBinary, rsv1, packed[:at]))
				c.write(frame(true, ws.OpPing, 0, []byte("between")))
				c.write(frame(false, ws.OpContinuation, 0, nil))
				c.write(frame(true, ws.OpContinuation, 0, packed[at:]))
				if ev, err := c.next(); err != nil || ev.Kind != ws.KindPong {
					t.Fatalf("got %v, %v; want a pong", ev, err)
				}
			}
			c.wantPlain(ws.OpBinary, text)
		}
	}
	if c.short < len(sizes) {
		t.Errorf("%d messages were compressed, want at least %d", c.short, len(sizes))
	}
}

// TestCompressionFaults: what a client must not do, and how its connection ends.
func TestCompressionFaults(t *testing.T) {
	const limit = 64 << 10
	r := rand.New(rand.NewPCG(3, 4))
	type fault struct {
		name    string
		bytes   func(*squeezer) []byte
		code    ws.CloseCode
		counter string
	}
	packed := func(text []byte) func(*squeezer) []byte {
		return func(c *squeezer) []byte { return frame(true, ws.OpText, rsv1, c.pack(text)) }
	}
	tests := []fault{
		{"a bomb", packed(make([]byte, limit+1)), ws.CloseMessageTooBig, "inflated_size"},
		{"a large bomb", packed(make([]byte, 1000*limit)), ws.CloseMessageTooBig, "inflated_size"},
		{"text that is not UTF-8", packed([]byte("abc\xff")), ws.CloseInvalidPayload, ""},
		{"text that ends within a character", packed([]byte("abc\xe2\x82")), ws.CloseInvalidPayload, ""},
		{"a reserved block type", func(*squeezer) []byte { return frame(true, ws.OpText, rsv1, []byte{0xff, 0xff}) }, ws.CloseInvalidPayload, "deflate_data"},
		{"noise", func(*squeezer) []byte { return frame(true, ws.OpBinary, rsv1, noise(r, 300)) }, ws.CloseInvalidPayload, "deflate_data"},
		{"a compressed ping", func(*squeezer) []byte { return frame(true, ws.OpPing, rsv1, nil) }, ws.CloseProtocolError, ""},
		{"a compressed continuation", func(c *squeezer) []byte {
			return append(frame(false, ws.OpText, rsv1, c.pack([]byte("x"))), frame(true, ws.OpContinuation, rsv1, nil)...)
		}, ws.CloseProtocolError, ""},
		{"another reserved bit", func(c *squeezer) []byte { return frame(true, ws.OpText, rsv1|0x20, c.pack([]byte("x"))) }, ws.CloseProtocolError, ""},
	}
	for _, takeover := range []bool{false, true} {
		for _, inline := range []bool{false, true} {
			for _, tt := range tests {
				t.Run(fmt.Sprintf("takeover %v/inline %v/%s", takeover, inline, tt.name), func(t *testing.T) {
					f := start(t, Config{}, map[string]*Route{"/": {
						Inline: inline, Handler: echo, Compression: &deflate.Config{Takeover: takeover},
						Reader: ws.ReaderConfig{MaxMessage: limit}, CloseTimeout: patience,
					}})
					c := f.squeeze(t, "/", "")
					before := chat(r, limit)
					c.sendPacked(ws.OpText, before)
					c.wantPlain(ws.OpText, before)
					c.write(tt.bytes(c))
					c.wantClose(tt.code)
					if tt.counter != "" && f.Stats().Limits[tt.counter] != 1 {
						t.Errorf("counters: got %v, want one %s", f.Stats().Limits, tt.counter)
					}
				})
			}
		}
	}
}

// TestUnnegotiatedCompression: without an agreement the bit of compression is an error, and nothing is compressed.
func TestUnnegotiatedCompression(t *testing.T) {
	f := start(t, Config{}, map[string]*Route{
		"/off": {Inline: true, Handler: echo},
		"/on":  {Inline: true, Handler: echo, Compression: &deflate.Config{}},
	})
	text := chat(rand.New(rand.NewPCG(5, 6)), 2000)
	for _, path := range []string{"/off", "/on"} {
		p := f.dial(t, path)
		p.send(ws.OpText, text)
		p.want(ws.OpText, text)
		p.write(frame(true, ws.OpText, rsv1, []byte{0}))
		p.wantClose(ws.CloseProtocolError)
	}
	if n := f.Stats().Compressions; n != 0 {
		t.Errorf("%d messages were compressed, want none", n)
	}
}

// TestPlainMessages: messages that must not be compressed are not, and leave the windows as they are.
func TestPlainMessages(t *testing.T) {
	f := start(t, Config{}, map[string]*Route{
		"/": {Inline: true, Compression: &deflate.Config{Takeover: true}, Handler: funcs{message: func(c *Conn, op ws.Opcode, p []byte) {
			c.Send(op|Plain, p)
			c.Send(op, p)
		}}},
		"/never": {Inline: true, Handler: echo, Compression: &deflate.Config{}, CompressAbove: -1},
	})
	r := rand.New(rand.NewPCG(7, 8))
	c := f.squeeze(t, "/", "")
	for i := range 10 {
		text := chat(r, 500)
		c.sendPacked(ws.OpText, text)
		c.wantPlain(ws.OpText, text)
		if c.short != i {
			t.Fatalf("message %d was compressed", i)
		}
		c.wantPlain(ws.OpText, text)
		if c.short != i+1 {
			t.Fatalf("message %d was not compressed", i)
		}
	}
	c = f.squeeze(t, "/never", "")
	text := chat(r, 5000)
	c.sendPacked(ws.OpText, text)
	c.wantPlain(ws.OpText, text)
	if c.short != 0 {
		t.Error("a message was compressed")
	}
}

// TestCompressedEchoAllocatesNothing: an inline echo of compressed messages without context takeover.
func TestCompressedEchoAllocatesNothing(t *testing.T) {
	opened := make(chan *Conn, 1)
	f := start(t, Config{}, map[string]*Route{"/": {
		Inline: true, Compression: &deflate.Config{},
		Handler: funcs{open: func(c *Conn) { opened <- c }, message: echo.message},
	}})
	c := f.squeeze(t, "/", "")
	conn := <-opened
	go swallow(c.conn)
	packed := frame(true, ws.OpText, rsv1, c.pack(chat(rand.New(rand.NewPCG(9, 10)), 1024)))
	in := make([]byte, len(packed))
	f.onLoop(func() {
		got := testing.AllocsPerRun(1000, func() {
			copy(in, packed)
			conn.feed(in)
			conn.flush(false)
		})
		if got != 0 && !raceEnabled {
			t.Errorf("got %v allocations per message, want 0", got)
		}
	})
	if s := f.Stats(); s.Inflated.Messages < 1000 || s.Deflated.Messages != s.Inflated.Messages || s.Compressions != s.Inflated.Messages {
		t.Errorf("got %d messages in, %d out, %d compressions", s.Inflated.Messages, s.Deflated.Messages, s.Compressions)
	}
}

// TestFullSize: a message of the maximum length arrives even if it is longer when it is compressed.
func TestFullSize(t *testing.T) {
	const limit = 256 << 10
	f := start(t, Config{}, map[string]*Route{"/": {
		Inline: true, Handler: echo, Compression: &deflate.Config{}, Reader: ws.ReaderConfig{MaxMessage: limit},
	}})
	c := f.squeeze(t, "/", "")
	text := noise(rand.New(rand.NewPCG(31, 32)), limit)
	packed := c.pack(text)
	if len(packed) <= limit {
		t.Fatalf("%d bytes compressed to %d", limit, len(packed))
	}
	c.write(frame(true, ws.OpBinary, rsv1, packed))
	c.wantPlain(ws.OpBinary, text)
	c.write(frame(true, ws.OpBinary, rsv1, make([]byte, limit+limit/16+65)))
	c.wantClose(ws.CloseMessageTooBig)
}
