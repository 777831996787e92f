package engine

import (
	"bytes"
	"sync/atomic"
	"testing"

	"github.com/expedite-go/expedite/ws"
	"github.com/expedite-go/expedite/ws/deflate"
)

// TestDecompressionIsShared checks that other clients are served while many messages wait to be decompressed, and that
// all messages arrive.
func TestDecompressionIsShared(t *testing.T) {
	const clients, messages, size = 8, 60, 1 << 20
	for _, takeover := range []bool{false, true} {
		var handled atomic.Int64
		before := make(chan int64, 1)
		f := start(t, Config{}, map[string]*Route{
			"/": {Inline: true, Compression: &deflate.Config{Takeover: takeover}, Handler: funcs{
				message: func(*Conn, ws.Opcode, []byte) { handled.Add(1) },
			}},
			"/other": {Inline: true, Handler: funcs{message: func(c *Conn, op ws.Opcode, p []byte) {
				before <- handled.Load()
				c.Send(op, p)
			}}},
		})
		other := f.dial(t, "/other")
		var hostile []*squeezer
		var burst []byte
		for range clients {
			hostile = append(hostile, f.squeeze(t, "/", ""))
		}
		burst = bytes.Repeat(frame(true, ws.OpBinary, rsv1, hostile[0].pack(make([]byte, size))), messages)
		f.onLoop(func() { // all of it waits in the sockets
			for _, c := range hostile {
				c.write(burst)
			}
			other.send(ws.OpText, []byte("innocent"))
		})
		if n := <-before; n > 16 {
			t.Errorf("takeover %v: %d messages were decompressed before another client was served", takeover, n)
		}
		other.want(ws.OpText, []byte("innocent"))
		until(t, "all messages have come", func() bool { return handled.Load() == clients*messages })
		if n := f.Stats().Limits["inflate_turn"]; n == 0 {
			t.Errorf("takeover %v: nobody has waited", takeover)
		}
	}
}
