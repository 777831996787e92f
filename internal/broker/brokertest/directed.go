package brokertest

import "fmt"

// letters returns a stream of messages from worker i to a connection.
func (b *bench) letters(i int, conn uint64, n int) stream {
	w := b.Worker(i)
	return stream{name: fmt.Sprintf("to%x.from%d", conn, i), n: n, send: func(p []byte) error {
		return w.SendTo(conn, 2, p)
	}}
}

// wantOnly checks that worker at received n envelopes and the others none.
func (b *bench) wantOnly(at, n int) {
	b.Helper()
	for i, r := range b.recorders {
		want := 0
		if i == at {
			want = n
		}
		if got := len(r.got()); got != want {
			b.Errorf("worker %d: got %d envelopes, want %d", i, got, want)
		}
	}
}

func testAtHome(b *bench) {
	conn := b.Conn(1, 7)
	b.recorders[1].live(conn)
	for from := range b.recorders { // including worker 1 itself
		b.must(b.Worker(from).SendTo(conn, 2, []byte("hello")))
	}
	b.settle(b.all())
	b.wantOnly(1, len(b.recorders))
	for _, e := range b.recorders[1].got() {
		if e.Conn != conn || e.Opcode != 2 || string(e.Payload) != "hello" {
			b.Errorf("got %+v", e)
		}
	}
	for _, i := range []int{0, 2, 3} {
		if got := b.recorders[i].timesAsked(conn); got != 0 {
			b.Errorf("worker %d was asked %d times", i, got)
		}
	}
}

func testMoved(b *bench) {
	conn := b.Conn(1, 7)
	b.recorders[2].live(conn)
	for from := range b.recorders { // including the first worker and the current one
		b.must(b.Worker(from).SendTo(conn, 2, fmt.Append(nil, from)))
	}
	b.settle(b.all())
	b.wantOnly(2, len(b.recorders))
}

func testDirectedOrder(b *bench) {
	home, moved := b.Conn(1, 1), b.Conn(1, 2)
	b.recorders[1].live(home)
	b.recorders[2].live(moved)
	streams := []stream{
		b.letters(0, home, 200), b.letters(0, moved, 200), b.letters(2, moved, 200),
		b.letters(3, home, 200), b.letters(3, moved, 200),
	}
	b.run(append(streams, b.publisher(0, 1, 100), b.publisher(1, 1, 100))...)
	b.settle(b.all())
	for _, s := range streams {
		at := 1
		if s.name != b.letters(0, home, 0).name && s.name != b.letters(3, home, 0).name {
			at = 2
		}
		b.wantStream(b.recorders[at].got(), s)
	}
}

func testNobody(b *bench) {
	conn := b.Conn(1, 7)
	b.must(b.Worker(0).SendTo(conn, 1, []byte("lost")))
	b.settle(b.all())
	b.wantOnly(-1, 0)
	for i, r := range b.recorders {
		if got := r.timesAsked(conn); got > 1 {
			b.Errorf("worker %d was asked %d times", i, got)
		}
	}
	b.recorders[1].live(conn)
	b.must(b.Worker(0).SendTo(conn, 1, []byte("found")))
	b.settle(b.all())
	b.wantOnly(1, 1)
}

func testClose(b *bench) {
	home, moved := b.Conn(1, 1), b.Conn(1, 2)
	b.recorders[1].live(home)
	b.recorders[3].live(moved)
	b.must(b.Worker(0).CloseConn(home, 4001, "at home"))
	b.must(b.Worker(0).CloseConn(moved, 4999, ""))
	b.settle(b.all())
	for _, c := range []struct {
		at     int
		conn   uint64
		code   uint16
		reason string
	}{{1, home, 4001, "at home"}, {3, moved, 4999, ""}} {
		got := b.recorders[c.at].got()
		if len(got) != 1 || got[0].Conn != c.conn || got[0].Code != c.code || string(got[0].Payload) != c.reason {
			b.Errorf("worker %d: got %+v, want code %d, reason %q, once", c.at, got, c.code, c.reason)
		}
	}
}
