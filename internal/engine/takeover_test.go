package engine

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/expedite-go/expedite/ws"
	"github.com/expedite-go/expedite/ws/deflate"
)

// numberedChat returns a chat message that begins with a number and resembles the others.
func numberedChat(r *rand.Rand, i, size int) []byte {
	return append(binary.LittleEndian.AppendUint32(nil, uint32(i)), chat(r, size)...)
}

// TestCompressedPublish: a publication is compressed once for each window size that its subscribers have, whatever
// their context takeover, and not at all for those without compression. Messages to single connections in between refer
// to what those have received, publications included.
func TestCompressedPublish(t *testing.T) {
	for _, inline := range []bool{true, false} {
		t.Run(fmt.Sprintf("inline %v", inline), func(t *testing.T) {
			conns := make(chan *Conn, 100)
			h := subscribing(t)
			subscribe := h.open
			h.open = func(c *Conn) { subscribe(c); conns <- c }
			f := start(t, Config{}, map[string]*Route{
				"/":       {Inline: inline, Handler: h, Compression: &deflate.Config{Takeover: true}},
				"/shared": {Inline: inline, Handler: h, Compression: &deflate.Config{}},
			})
			r := rand.New(rand.NewPCG(11, 12))
			plain := f.subscribers(t, "/", 2)
			for range plain {
				<-conns
			}
			publish := func(op ws.Opcode, b []byte) { f.onLoop(func() { f.Publish(0, "all", op, b) }) }
			publish(ws.OpText, chat(r, 4000))
			if n := f.Stats().Compressions; n != 0 {
				t.Fatalf("%d compressions for nobody", n)
			}
			for _, p := range plain {
				if ev, err := p.next(); err != nil || len(ev.Data) != 4000 {
					t.Fatal(ev, err)
				}
			}
			var clients []*squeezer
			var ours []*Conn
			for _, o := range offers {
				for _, path := range []string{"/", "/shared"} {
					clients = append(clients, f.squeeze(t, path, o.parameters))
					ours = append(ours, <-conns)
				}
			}
			for i := range 40 {
				before := f.Stats().Compressions
				text := numberedChat(r, i, 40+r.IntN(6000))
				publish(ws.OpBinary, text)
				for k, c := range clients {
					c.wantPlain(ws.OpBinary, text)
					direct := numberedChat(r, i, r.IntN(1000))
					ours[k].Send(ws.OpBinary, direct)
					c.wantPlain(ws.OpBinary, direct)
				}
				for _, p := range plain {
					p.want(ws.OpBinary, text)
				}
				if i > 0 {
					continue
				}
				publish(ws.OpBinary, text)
				sizes := f.Stats().Compressions - before
				for _, c := range clients {
					c.wantPlain(ws.OpBinary, text)
				}
				for _, p := range plain {
					p.want(ws.OpBinary, text)
				}
				if sizes == 0 {
					t.Error("nothing was compressed")
				}
			}
			before := f.Stats().Compressions
			publish(ws.OpText, chat(r, 5000))
			publish(ws.OpText|Plain, chat(r, 5000))
			publish(ws.OpText, chat(r, DefaultCompressAbove-1))
			publish(ws.OpText, noise(r, 0))
			if n := f.Stats().Compressions - before; n != 4 {
				t.Errorf("%d compressions, want one for each of the windows 8, 9, 12 and 15", n)
			}
		})
	}
}

// TestWindowsMatter: a server that forgets to add a publication to what later messages refer to is noticed.
func TestWindowsMatter(t *testing.T) {
	for _, sabotage := range []bool{false, true} {
		t.Run(fmt.Sprintf("sabotage %v", sabotage), func(t *testing.T) {
			conns := make(chan *Conn, 1)
			h := subscribing(t)
			subscribe := h.open
			h.open = func(c *Conn) { subscribe(c); conns <- c }
			f := start(t, Config{}, map[string]*Route{"/": {Inline: true, Handler: h, Compression: &deflate.Config{Takeover: true}}})
			c := f.squeeze(t, "/", "")
			conn := <-conns
			r := rand.New(rand.NewPCG(13, 14))
			first, news := chat(r, 1000), chat(r, 1000)
			conn.Send(ws.OpText, first)
			c.wantPlain(ws.OpText, first)
			f.onLoop(func() {
				w := conn.windows()
				before := bytes.Clone(w.out.Bytes())
				f.Publish(0, "all", ws.OpText, news)
				if sabotage {
					w.out.Reset()
					w.out.Append(before, sentWindow)
				}
			})
			c.wantPlain(ws.OpText, news)
			conn.Send(ws.OpText, first)
			ev, err := c.next()
			if err != nil || !ev.Compressed {
				t.Fatal(ev, err)
			}
			got, err := c.unpack(ev.Data)
			if right := err == nil && bytes.Equal(got, first); right == sabotage {
				t.Errorf("the message was read: %v, %v; want that only without sabotage", right, err)
			}
		})
	}
}

// TestDroppedMessagesAndWindows: messages that a policy drops, or that are dropped because memory is short, are in no
// window. What a client does receive, it can read, before, during and after.
func TestDroppedMessagesAndWindows(t *testing.T) {
	for name, policy := range map[string]Policy{"newest": PolicyDropNewest, "oldest": PolicyDropOldest} {
		for _, shed := range []bool{false, true} {
			for _, careless := range []bool{false, true} {
				if careless && (shed || policy == PolicyDropNewest) {
					continue
				}
				t.Run(fmt.Sprintf("%s/shed %v/careless %v", name, shed, careless), func(t *testing.T) {
					readsWhatIsLeft(t, policy, shed, careless)
				})
			}
		}
	}
}

// readsWhatIsLeft fills the queue of a client that does not read, several times. A careless server does not drop the
// messages that refer to one that it drops.
func readsWhatIsLeft(t *testing.T, policy Policy, shed, careless bool) {
	conns := make(chan *Conn, 1)
	h := subscribing(t)
	subscribe := h.open
	h.open = func(c *Conn) { subscribe(c); conns <- c }
	f := start(t, Config{}, map[string]*Route{"/": {
		Inline: true, Handler: h, Compression: &deflate.Config{Takeover: true}, Policy: policy, QueueLimit: 16 << 10,
	}})
	c := f.squeeze(t, "/", "")
	conn := <-conns
	r := rand.New(rand.NewPCG(15, 16))
	next, last, unread := 0, -1, 0
	read := func(until int) {
		for last != until && unread == 0 {
			ev, err := c.next()
			if err != nil || ev.Kind != ws.KindData {
				t.Fatal(ev, err)
			}
			if ev.Compressed {
				if ev.Data, err = c.unpack(ev.Data); err != nil {
					unread++
					return
				}
			}
			n := int(binary.LittleEndian.Uint32(ev.Data))
			if n <= last || n >= next {
				unread++
				return
			}
			last = n
		}
	}
	drops := func() uint64 {
		return f.Stats().Limits["queue_drop_oldest"] + f.Stats().Limits["queue_drop_newest"]
	}
	for round := range 6 {
		f.onLoop(func() {
			before := drops()
			send := func() {
				size := 100 + r.IntN(800)
				if next%3 == 0 {
					f.Publish(0, "all", ws.OpBinary, numberedChat(r, next, size))
				} else {
					conn.Send(ws.OpBinary, numberedChat(r, next, size))
				}
				next++
			}
			for range 20 { // they refer to each other, and the socket takes none
				send()
			}
			conn.mu.Lock()
			conn.block()
			if careless {
				for i := range conn.out.chunks {
					if conn.out.chunks[i].kind == chunkLinked {
						conn.out.chunks[i].kind = chunkShared
					}
				}
			}
			conn.mu.Unlock()
			for i := 0; i < 150 && (round%2 == 0 || drops() == before); i++ { // in odd rounds, the first of them only
				send()
			}
			if shed {
				f.shedQueues(1, 1, limitQueued)
			}
			for range 10 {
				send()
			}
			conn.flush(true)
		})
		f.onLoop(func() { conn.Send(ws.OpBinary, numberedChat(r, next, 500)); next++ })
		read(next - 1)
	}
	if drops() == 0 {
		t.Error("nothing was dropped")
	}
	if broken := unread > 0; broken != careless {
		t.Errorf("messages could not be read: %v, want %v", broken, careless)
	}
}
