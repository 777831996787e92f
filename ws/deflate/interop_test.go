package deflate

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/expedite-go/expedite/internal/chatjson"
	"github.com/expedite-go/expedite/ws"
)

func findTool(t *testing.T, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		t.Fatalf("%s is not installed: `make test` installs what is missing, if it may", name)
	}
	return path
}

// zlibJob is a connection with context takeover, of which zlib is the peer. []byte is base64 in JSON.
type zlibJob struct {
	Bits     uint8    `json:"bits"`
	Messages [][]byte `json:"messages"`
}

type zlibAnswer struct {
	Inflated [][]byte `json:"inflated"`
	Deflated [][]byte `json:"deflated"`
}

// TestZlib checks every window against zlib, in both directions: zlib inflates what Compress makes with a window of the
// same size, and Decompress inflates what zlib makes, with no more history than the window.
func TestZlib(t *testing.T) {
	for _, peer := range [][]string{{"/usr/bin/python3", "testdata/zlib_peer.py"}, {"node", "testdata/zlib_peer.js"}} {
		t.Run(peer[0], func(t *testing.T) {
			g := chatjson.New(3)
			var plain [][]byte
			for _, n := range []int{300, 1024, 5, 0, 40_000, 1024, 70_000, 300} {
				plain = append(plain, g.Append(nil, n))
			}
			plain[2], plain[3] = []byte("again"), nil
			var codec Codec
			var jobs bytes.Buffer
			for bits := uint8(8); bits <= 15; bits++ {
				job, window := zlibJob{Bits: bits}, Window{}
				for _, p := range plain {
					job.Messages = append(job.Messages, codec.Compress(nil, p, window.Bytes(), bits))
					window.Append(p, 1<<bits)
				}
				if err := json.NewEncoder(&jobs).Encode(job); err != nil {
					t.Fatal(err)
				}
			}
			cmd := exec.CommandContext(t.Context(), findTool(t, peer[0]), peer[1])
			cmd.Stdin = &jobs
			var complaint strings.Builder
			cmd.Stderr = &complaint
			out, err := cmd.Output()
			if err != nil {
				t.Fatalf("%v\n%s", err, complaint.String())
			}
			answers := json.NewDecoder(bytes.NewReader(out))
			for bits := uint8(8); bits <= 15; bits++ {
				var a zlibAnswer
				if err := answers.Decode(&a); err != nil {
					t.Fatal(err)
				}
				checkZlib(t, &codec, bits, a, plain)
			}
		})
	}
}

func checkZlib(t *testing.T, codec *Codec, bits uint8, a zlibAnswer, plain [][]byte) {
	t.Helper()
	var window Window
	for i, p := range plain {
		if !bytes.Equal(a.Inflated[i], p) {
			t.Errorf("%d bits: zlib inflates message %d to %d bytes, want %d", bits, i, len(a.Inflated[i]), len(p))
		}
		got, err := codec.Decompress(nil, a.Deflated[i], window.Bytes(), len(p))
		_, farthest, _ := inflateReference(a.Deflated[i], window.Bytes(), len(p))
		if err != nil || !bytes.Equal(got, p) || farthest > 1<<bits {
			t.Errorf("%d bits: message %d of zlib: got %d bytes, %v, distance %d", bits, i, len(got), err, farthest)
		}
		window.Append(p, 1<<bits)
	}
}

// echoServer answers each message with the same one, compressed. It returns its address.
func echoServer(t *testing.T, c Config) string {
	t.Helper()
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() { // ends when the listener is closed
		defer close(done)
		for {
			nc, err := l.Accept()
			if err != nil {
				return
			}
			if err := echo(nc, c); err != nil {
				t.Errorf("server: %v", err)
			}
			_ = nc.Close()
		}
	}()
	t.Cleanup(func() { _ = l.Close(); <-done })
	return "ws://" + l.Addr().String()
}

// echo serves a connection.
func echo(nc net.Conn, c Config) error {
	if err := nc.SetDeadline(time.Now().Add(time.Minute)); err != nil {
		return err
	}
	buf := make([]byte, 0, 64<<10)
	end := -1
	for end < 0 {
		n, err := nc.Read(buf[len(buf):cap(buf)])
		if err != nil {
			return err
		}
		buf = buf[:len(buf)+n]
		end = ws.HeadEnd(buf, 0)
	}
	r, err := ws.ParseRequest(buf[:end])
	if err != nil {
		return err
	}
	h, err := r.Negotiate(nil)
	if err != nil {
		return err
	}
	p, answer, ok := c.Accept(r.Values("Sec-WebSocket-Extensions"))
	if !ok {
		return fmt.Errorf("no offer in %q", r.Get("Sec-WebSocket-Extensions"))
	}
	h.Extensions = answer
	head, err := ws.AppendResponse(nil, h)
	if err != nil {
		return err
	}
	if _, err := nc.Write(head); err != nil {
		return err
	}
	e := echoConn{nc: nc, params: p}
	return e.run(buf[end:])
}

type echoConn struct {
	nc      net.Conn
	params  Params
	codec   Codec
	in, out Window
	message []byte
}

func (e *echoConn) run(in []byte) error {
	var r ws.Reader
	cfg := &ws.ReaderConfig{Compression: true}
	buf := make([]byte, 64<<10)
	for {
		ev, rest, err := r.Next(in, cfg)
		switch {
		case err != nil:
			return err
		case ev.Kind == ws.KindClose:
			frame, err := ws.AppendClose(nil, ev.Code, "")
			if err != nil {
				return err
			}
			_, err = e.nc.Write(frame)
			return err
		case ev.Kind == ws.KindData:
			e.message = append(e.message, ev.Data...)
			if ev.Last {
				if err := e.answer(ev); err != nil {
					return err
				}
				e.message = e.message[:0]
			}
		}
		if in = rest; ev.Kind == ws.KindNeedMore {
			n, err := e.nc.Read(buf)
			if err == io.EOF {
				return nil
			}
			if err != nil {
				return err
			}
			in = buf[:n]
		}
	}
}

// answer decompresses a message, which may not be compressed, and sends it back.
func (e *echoConn) answer(ev ws.Event) error {
	plain := e.message
	if ev.Compressed {
		var err error
		if plain, err = e.codec.Decompress(nil, e.message, e.in.Bytes(), 1<<20); err != nil {
			return err
		}
		if !e.params.ClientNoContextTakeover {
			e.in.Append(plain, 1<<e.params.ClientMaxWindowBits)
		}
	}
	payload := e.codec.Compress(nil, plain, e.out.Bytes(), e.params.ServerMaxWindowBits)
	if !e.params.ServerNoContextTakeover {
		e.out.Append(plain, 1<<e.params.ServerMaxWindowBits)
	}
	frame := ws.AppendHeader(nil, ws.Header{Fin: true, RSV: 4, Opcode: ev.Opcode, Length: uint64(len(payload))})
	_, err := e.nc.Write(append(frame, payload...))
	return err
}

var interopConfigs = map[string]Config{
	"shared":           {},
	"takeover":         {Takeover: true},
	"takeover, 8 KiB":  {Takeover: true, ServerMaxWindowBits: 13, ClientMaxWindowBits: 13},
	"takeover, 8 bits": {Takeover: true, ServerMaxWindowBits: 8, ClientMaxWindowBits: 9},
}

func TestPythonWebsockets(t *testing.T) {
	for name, c := range interopConfigs {
		t.Run(name, func(t *testing.T) {
			url := echoServer(t, c)
			cmd := exec.CommandContext(t.Context(), findTool(t, "/usr/bin/python3"), "testdata/websockets_client.py", url)
			if out, err := cmd.CombinedOutput(); err != nil || string(out) != "ok\n" {
				t.Errorf("got %s, %v", out, err)
			}
		})
	}
}

func TestCoderWebsocket(t *testing.T) {
	for name, c := range interopConfigs {
		for _, mode := range []websocket.CompressionMode{websocket.CompressionContextTakeover, websocket.CompressionNoContextTakeover} {
			t.Run(fmt.Sprintf("%s, mode %d", name, mode), func(t *testing.T) {
				ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
				defer cancel()
				url := echoServer(t, c)
				conn, _, err := websocket.Dial(ctx, url, &websocket.DialOptions{CompressionMode: mode, CompressionThreshold: 1})
				if err != nil {
					t.Fatal(err)
				}
				conn.SetReadLimit(1 << 20)
				g := chatjson.New(4)
				for _, n := range []int{300, 1024, 1024, 100_000, 1024, 300} {
					want := g.Append(nil, n)
					if err := conn.Write(ctx, websocket.MessageText, want); err != nil {
						t.Fatal(err)
					}
					_, got, err := conn.Read(ctx)
					if err != nil || !bytes.Equal(got, want) {
						t.Fatalf("got %d bytes, %v, want %d", len(got), err, len(want))
					}
				}
				if err := conn.Close(websocket.StatusNormalClosure, ""); err != nil {
					t.Error(err)
				}
			})
		}
	}
}
