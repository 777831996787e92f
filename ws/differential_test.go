package ws_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/expedite-go/expedite/ws"
)

// exchange is what a server understands of a stream of a client.
type exchange struct {
	messages [][]byte // the opcode before the payload
	end      string   // "more", "close" or "fault"
	code     int      // of a close frame
	reason   string   // of a close frame
	fault    *ws.ProtocolError
}

// ours reads a stream with a Reader.
func ours(stream []byte) (x exchange) {
	var r ws.Reader
	cfg := &ws.ReaderConfig{Role: ws.Server, MaxMessage: -1, MaxFragments: 1 << 30}
	var message []byte
	for in := slices.Clone(stream); ; {
		ev, rest, err := r.Next(in, cfg)
		switch {
		case errors.As(err, &x.fault):
			x.end = "fault"
			return x
		case ev.Kind == ws.KindNeedMore:
			x.end = "more"
			return x
		case ev.Kind == ws.KindClose:
			x.end, x.code, x.reason = "close", int(ev.Code), string(ev.Data)
			return x
		case ev.Kind == ws.KindData:
			if ev.First {
				message = []byte{byte(ev.Opcode)}
			}
			if message = append(message, ev.Data...); ev.Last {
				x.messages = append(x.messages, message)
			}
		}
		in = rest
	}
}

// theirs reads a stream with the server of coder/websocket.
func theirs(t *testing.T, stream []byte) (x exchange) {
	t.Helper()
	r := httptest.NewRequest(http.MethodGet, "http://a/", nil)
	r.Header = http.Header{
		"Connection": {"Upgrade"}, "Upgrade": {"websocket"}, "Sec-Websocket-Version": {"13"},
		"Sec-Websocket-Key": {"dGhlIHNhbXBsZSBub25jZQ=="},
	}
	c, err := websocket.Accept(&hijack{header: http.Header{}, in: bytes.NewReader(stream)}, r, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.CloseNow() }()
	c.SetReadLimit(-1)
	for {
		kind, data, err := c.Read(context.Background())
		var closed websocket.CloseError
		switch {
		case errors.As(err, &closed):
			x.end, x.code, x.reason = "close", int(closed.Code), closed.Reason
			return x
		case errors.Is(err, errCut):
			x.end = "more"
			return x
		case err != nil:
			x.end = "fault"
			return x
		}
		x.messages = append(x.messages, append([]byte{byte(kind)}, data...))
	}
}

// hijack is the connection of a client that sends a stream and reads nothing.
type hijack struct {
	header http.Header
	in     *bytes.Reader
}

func (h *hijack) Header() http.Header         { return h.header }
func (h *hijack) WriteHeader(int)             {}
func (h *hijack) Write(b []byte) (int, error) { return len(b), nil }
func (h *hijack) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	c := &silent{h.in}
	return c, bufio.NewReadWriter(bufio.NewReader(c), bufio.NewWriter(c)), nil
}

type silent struct{ in *bytes.Reader }

// errCut ends a stream. coder/websocket takes io.EOF within a frame for the end of the message.
var errCut = errors.New("no more input")

func (s silent) Read(b []byte) (int, error) {
	n, err := s.in.Read(b)
	if errors.Is(err, io.EOF) {
		err = errCut
	}
	return n, err
}

func (silent) Write(b []byte) (int, error)      { return len(b), nil }
func (silent) Close() error                     { return nil }
func (silent) LocalAddr() net.Addr              { return &net.TCPAddr{} }
func (silent) RemoteAddr() net.Addr             { return &net.TCPAddr{} }
func (silent) SetDeadline(time.Time) error      { return nil }
func (silent) SetReadDeadline(time.Time) error  { return nil }
func (silent) SetWriteDeadline(time.Time) error { return nil }

// FuzzDifferential compares the Reader with an independent implementation. They agree on the messages of any stream and
// on how it ends, except for rules that coder/websocket leaves to the application or ignores: the text is valid UTF-8,
// and lengths are in their shortest form. A stream that breaks one of these ends earlier for us.
func FuzzDifferential(f *testing.F) {
	key := []byte{1, 2, 3, 4}
	frame := func(first byte, payload string) []byte {
		b := []byte{first, 0x80 | byte(len(payload))}
		b = append(b, key...)
		for i := range payload {
			b = append(b, payload[i]^key[i%4])
		}
		return b
	}
	f.Add(slices.Concat(frame(0x81, "text"), frame(0x82, "binary"), frame(0x88, "\x03\xe8bye")))
	f.Add(slices.Concat(frame(0x01, "a"), frame(0x89, "ping"), frame(0x00, "b"), frame(0x80, "c"), frame(0x8a, "")))
	f.Add(slices.Concat(frame(0x01, "a"), frame(0x81, "b")))
	f.Add(slices.Concat(frame(0x80, "a"), frame(0x81, "b")))
	f.Add(slices.Concat(frame(0x88, ""), frame(0x81, "after")))
	f.Add(frame(0x88, "\x03"))
	f.Add(frame(0x88, "\x03\xed"))
	f.Add(frame(0x09, "part"))
	f.Add(frame(0xc1, "rsv"))
	f.Add(frame(0x83, "reserved"))
	f.Add(frame(0x81, "\xff\xfe"))
	f.Add([]byte{0x81, 0xfe, 0, 1, 0, 0, 0, 0, 'a'})
	f.Add([]byte{0x81, 0x01, 'a'})
	f.Add([]byte{0x82, 0xff, 0x80, 0, 0, 0, 0, 0, 0, 0, 1, 2, 3, 4})
	f.Add([]byte{0x89, 0xfe, 0, 126, 0, 0, 0, 0})
	f.Fuzz(func(t *testing.T, stream []byte) {
		we, they := ours(stream), theirs(t, stream)
		switch {
		case we.fault != nil && lenient(we.fault):
			they.end = "fault"
			they.messages = they.messages[:min(len(they.messages), len(we.messages))]
			they.code, they.reason = 0, ""
		case we.fault != nil && they.end == "more": // we do not wait for the rest of the header
			they.end = "fault"
		}
		same := slices.EqualFunc(we.messages, they.messages, bytes.Equal)
		if !same || we.end != they.end || we.code != they.code || we.reason != they.reason {
			t.Fatalf("got %+v, %v, coder/websocket %+v", we, we.fault, they)
		}
	})
}

// lenient reports whether a fault is one that coder/websocket does not look for.
func lenient(fault *ws.ProtocolError) bool {
	return fault.Code == ws.CloseInvalidPayload || strings.Contains(fault.Error(), "shortest form")
}
