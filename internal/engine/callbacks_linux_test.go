package engine

import (
	"fmt"
	"runtime"
	"sync/atomic"
	"testing"

	"github.com/expedite-go/expedite/ws"
)

// depart moves away a connection whose callback waits for release, and waits for that.
func (p *pair) depart(release chan struct{}) {
	p.t.Helper()
	moved := make(chan struct{})
	go func() {
		defer close(moved)
		p.move()
	}()
	until(p.t, "it is asked to leave", func() bool {
		asked := false
		on(p.t, p.here, func() { asked = len(p.here.dep.asked) > 0 })
		return asked
	})
	close(release)
	<-moved
}

// TestEndMoves: a client that has ended its side moves to another worker while its messages wait. There the messages
// are answered first, and then the end.
func TestEndMoves(t *testing.T) {
	const count = 50
	for name, end := range peerEnds {
		t.Run(name, func(t *testing.T) {
			r, entered, release := newCallLog(), make(chan struct{}), make(chan struct{})
			p := startPair(t, func() map[string]*Route {
				return map[string]*Route{"/": {CloseTimeout: patience, Handler: funcs{
					message: func(c *Conn, op ws.Opcode, b []byte) {
						if string(b) == "0" {
							close(entered)
							<-release
						}
						c.Send(op, b)
						r.note("%s", b)
					},
					close: r.close,
				}}}
			})
			c := p.here.dial(t, "/")
			stream := append(numbered(count), end.bytes(t)...)
			c.write(stream)
			if end.fin {
				if err := c.conn.(closeWriter).CloseWrite(); err != nil {
					t.Fatal(err)
				}
			}
			<-entered
			var there soon
			there.Store(p.here)
			there.hasRead(len(stream))
			p.depart(release)
			want := make([]string, 0, count+1)
			for i := range count {
				c.want(ws.OpText, fmt.Append(nil, i))
				want = append(want, fmt.Sprint(i))
			}
			if end.code != ws.CloseAbnormal {
				c.wantClose(end.code)
			}
			c.wantEnd()
			_ = c.conn.Close()
			r.want(t, append(want, fmt.Sprintf("close %d", end.code))...)
		})
	}
}

// TestOwnCloseMoves: what was dropped because the server has closed stays dropped in the next worker.
func TestOwnCloseMoves(t *testing.T) {
	r, entered, release := newCallLog(), make(chan struct{}), make(chan struct{})
	p := startPair(t, func() map[string]*Route {
		return map[string]*Route{"/": {CloseTimeout: patience, Handler: funcs{
			message: func(c *Conn, _ ws.Opcode, b []byte) {
				r.note("%s", b)
				close(entered)
				<-release
				_ = c.Close(4000, "")
			},
			close: r.close,
		}}}
	})
	c := p.here.dial(t, "/")
	stream := numbered(10)
	c.write(stream)
	<-entered
	var there soon
	there.Store(p.here)
	there.hasRead(len(stream))
	p.depart(release)
	c.wantClose(4000)
	c.write(goodbye(t))
	r.want(t, "0", "close 4000")
}

// TestGoexitMoves: calls of Suspend and Resume that end their goroutine count as failed, and other connections still
// move.
func TestGoexitMoves(t *testing.T) {
	for mode, inline := range modes {
		for _, where := range []string{"suspend", "resume"} {
			t.Run(mode+"/"+where, func(t *testing.T) {
				var calls atomic.Int32
				exit := func(at string) {
					if at == where && calls.Add(1)%2 == 0 {
						runtime.Goexit()
					}
				}
				p := startPair(t, func() map[string]*Route {
					return map[string]*Route{"/": {Inline: inline, Carries: true, Handler: funcs{
						message: echo.message,
						suspend: func(*Conn) ([]byte, error) { exit("suspend"); return nil, nil },
						resume:  func(*Conn, []byte) error { exit("resume"); return nil },
					}}}
				})
				const count = 6
				peers := make([]*peer, count)
				for i := range peers {
					peers[i] = p.here.dial(t, "/")
				}
				moved := p.move()
				if want := map[string]int{"suspend": count / 2, "resume": count}[where]; moved != want {
					t.Errorf("%d connections moved, want %d", moved, want)
				}
				echoed, closed := 0, 0
				for _, c := range peers {
					c.send(ws.OpText, []byte("x"))
					ev, err := c.next()
					switch {
					case err == nil && ev.Kind == ws.KindData:
						echoed++
					case err == nil && ev.Kind == ws.KindClose && ev.Code == ws.CloseInternalError:
						closed++
					default:
						t.Errorf("got %+v, %v", ev, err)
					}
				}
				want := map[string][2]int{"suspend": {count, 0}, "resume": {count / 2, count / 2}}[where]
				if got := [2]int{echoed, closed}; got != want {
					t.Errorf("echoed and closed: got %v, want %v", got, want)
				}
			})
		}
	}
}
