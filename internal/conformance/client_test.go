package conformance

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"io"
	"math"
	"net"
	"sync"
	"testing"

	"github.com/expedite-go/expedite/internal/loadtest"
	"github.com/expedite-go/expedite/ws"
	"github.com/expedite-go/expedite/ws/deflate"
)

// runClients runs the rules of clients with the load generator, and with packages ws and ws/deflate in a small client
// that ends a failed connection with a close frame.
func runClients(t *testing.T, report *Report) {
	for _, compression := range []bool{false, true} {
		name, features := "", []Feature(nil)
		if compression {
			name, features = ", compression", []Feature{Deflate}
		}
		targets := []ClientTarget{
			{Name: "load generator" + name, Silent: true, Connect: generate(compression)},
			{Name: "client of package ws" + name, Connect: plainClients(compression)},
		}
		for _, target := range targets {
			target.Features, target.Patience = features, forever
			for _, d := range []Delivery{Whole, Bytewise} {
				results, err := RunClients(t.Context(), &target, d, report.Rules)
				if err != nil {
					t.Error(err)
				}
				report.Results = append(report.Results, results...)
				t.Logf("%s, %s: %d runs", target.Name, d, len(results))
			}
		}
	}
}

// TestRulesOfClientsCanFail runs them with a client that takes every answer and every frame.
func TestRulesOfClientsCanFail(t *testing.T) {
	report := &Report{Rules: ClientRules()}
	deaf := &ClientTarget{Name: "deaf", Features: []Feature{Deflate}, Patience: forever, Connect: each(func(conn net.Conn) error {
		key := make([]byte, 16)
		_, _ = rand.Read(key)
		req := ws.ClientRequest{Host: "h", Key: [16]byte(key)}
		head, err := req.AppendRequest(nil)
		if err != nil {
			return err
		}
		if _, err := conn.Write(head); err != nil {
			return err
		}
		for { // answers every read with an unmasked pong
			if _, err := conn.Read(make([]byte, 4096)); err != nil {
				return nil
			}
			if _, err := conn.Write(ws.AppendFrame(nil, ws.OpPong, []byte(afterFailure))); err != nil {
				return nil
			}
		}
	})}
	results, err := RunClients(t.Context(), deaf, Whole, report.Rules)
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range results {
		if r.Outcome != Fail {
			t.Errorf("%s, %s: %s, want that a client without checks fails", r.Rule, r.Case, r.Outcome)
		}
	}
}

// generate returns a function that connects with the load generator.
func generate(compression bool) func(ctx context.Context, addr string, n int) error {
	return func(ctx context.Context, addr string, n int) error {
		_, err := loadtest.Run(ctx, loadtest.Config{
			URL: "ws://" + addr + "/", Connections: n, Ramp: -1, Mode: loadtest.ModeEcho, Timeout: forever, Processes: 1,
			Compression: compression, Subprotocols: []string{SubprotocolA, SubprotocolB}, ServerPID: -1,
		})
		return err
	}
}

// each returns a function that makes connections and calls f for each of them. It returns the first error.
func each(f func(conn net.Conn) error) func(ctx context.Context, addr string, n int) error {
	return func(ctx context.Context, addr string, n int) error {
		var all sync.WaitGroup
		failed := make([]error, n)
		for i := range n {
			all.Go(func() { // ends with its connection
				conn, err := new(net.Dialer).DialContext(ctx, "tcp", addr)
				if err != nil {
					failed[i] = err
					return
				}
				defer conn.Close()
				defer context.AfterFunc(ctx, func() { _ = conn.Close() })()
				failed[i] = f(conn)
			})
		}
		all.Wait()
		return errors.Join(failed...)
	}
}

// plainClients returns a function that connects with packages ws and ws/deflate.
func plainClients(compression bool) func(ctx context.Context, addr string, n int) error {
	return each(func(conn net.Conn) error {
		c := &plainClient{conn: conn, compression: compression}
		rest, err := c.open()
		if err != nil {
			return nil // what the client refuses is judged by the server
		}
		c.serve(rest)
		return nil
	})
}

// plainClient answers pings, and fails the connection as RFC 6455 §7.1.7 recommends.
type plainClient struct {
	conn        net.Conn
	compression bool
	cfg         ws.ReaderConfig
	reader      ws.Reader
	codec       deflate.Codec
	message     []byte // compressed
}

func (c *plainClient) open() (rest []byte, err error) {
	req := ws.ClientRequest{Host: c.conn.RemoteAddr().String(), Subprotocols: []string{SubprotocolA, SubprotocolB}}
	_, _ = rand.Read(req.Key[:])
	if c.compression {
		req.Extensions = deflate.Config{}.Offer()
	}
	head, err := req.AppendRequest(nil)
	if err != nil {
		return nil, err
	}
	if _, err := c.conn.Write(head); err != nil {
		return nil, err
	}
	var in []byte
	for ws.HeadEnd(in, 0) < 0 {
		b := make([]byte, 512)
		n, err := c.conn.Read(b)
		if err != nil {
			return nil, err
		}
		in = append(in, b[:n]...)
	}
	end := ws.HeadEnd(in, 0)
	shake, err := req.ParseResponse(in[:end])
	if err == nil && c.compression {
		_, c.cfg.Compression, err = deflate.Config{}.Agreed(shake.Extensions)
	}
	c.cfg.Role = ws.Client
	return in[end:], err
}

// serve reads until the connection ends.
func (c *plainClient) serve(in []byte) {
	for {
		for len(in) > 0 {
			ev, rest, err := c.reader.Next(in, &c.cfg)
			if err == nil {
				err = c.handle(&ev)
			}
			if err != nil {
				c.fail(err)
				return
			}
			in = rest
		}
		b := make([]byte, 512)
		n, err := c.conn.Read(b)
		if err != nil {
			return
		}
		in = b[:n]
	}
}

// handle answers an event. io.EOF is the end.
func (c *plainClient) handle(ev *ws.Event) (err error) {
	switch ev.Kind {
	case ws.KindPing:
		c.write(ws.AppendMaskedFrame(nil, ws.OpPong, mask(), ev.Data))
	case ws.KindClose:
		b, err := ws.AppendMaskedClose(nil, mask(), ev.Code, "")
		if err == nil {
			c.write(b)
		}
		return io.EOF
	case ws.KindData:
		if !ev.Compressed {
			return nil
		}
		c.message = append(c.message, bytes.Clone(ev.Data)...)
		if ev.Last {
			_, err = c.codec.Decompress(nil, c.message, nil, math.MaxInt32)
			c.message = nil
		}
	}
	return err
}

// fail sends a close frame with the code that belongs to the error. RFC 6455 §7.1.7.
func (c *plainClient) fail(err error) {
	code := ws.CloseInvalidPayload
	if e, ok := errors.AsType[*ws.ProtocolError](err); ok {
		code = e.Code
	} else if errors.Is(err, io.EOF) {
		return
	}
	if b, err := ws.AppendMaskedClose(nil, mask(), code, ""); err == nil {
		c.write(b)
	}
}

// write sends. An error means that the server has closed the connection.
func (c *plainClient) write(b []byte) { _, _ = c.conn.Write(b) }

func mask() uint32 {
	var b [4]byte
	_, _ = rand.Read(b[:])
	return binary.LittleEndian.Uint32(b[:])
}
