package reactor_test

import (
	"errors"
	"io"
	"net"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/expedite-go/expedite/internal/reactor"
)

// patience is the limit of waits that would otherwise hang. Nothing is measured by it.
const patience = 60 * time.Second

// kind is a kind of socket. The same tests run over all of them.
type kind struct {
	name string
	opt  reactor.Options
	// add adds the server's end to a loop, which then owns it.
	add func(l *reactor.Loop, c *net.TCPConn) (reactor.Key, reactor.Socket, error)
	// dial makes a connection, and returns what adds its server's end instead of add. Nil is TCP.
	dial func(t testing.TB) (peer, adder)
}

// adder adds a server's end to a loop.
type adder func(l *reactor.Loop) (reactor.Key, reactor.Socket, error)

// peer is the client's end of a connection.
type peer interface {
	net.Conn
	CloseWrite() error
	SetLinger(sec int) error
}

func addConn(l *reactor.Loop, c *net.TCPConn) (reactor.Key, reactor.Socket, error) {
	return l.AddConn(c)
}

// portableKinds are the kinds of every platform.
func portableKinds() []kind {
	return []kind{
		{"pump", reactor.Options{Portable: true, Tick: time.Millisecond}, addConn, nil},
		{"pump beside the poller", reactor.Options{Tick: time.Millisecond}, addConn, nil},
	}
}

// forEachKind runs test once per kind.
func forEachKind(t *testing.T, test func(t *testing.T, kd kind)) {
	for _, kd := range slices.Concat(platformKinds(), portableKinds()) {
		t.Run(kd.name, func(t *testing.T) { test(t, kd) })
	}
}

// script is a handler made of functions. A missing one does nothing.
type script struct {
	ready   func(k reactor.Key, ev reactor.Events)
	timeout func(k reactor.Key)
	flush   func()
}

func (s *script) Ready(k reactor.Key, ev reactor.Events) {
	if s.ready != nil {
		s.ready(k, ev)
	}
}

func (s *script) Timeout(k reactor.Key) {
	if s.timeout != nil {
		s.timeout(k)
	}
}

func (s *script) Flush() {
	if s.flush != nil {
		s.flush()
	}
}

// rig is a running loop with the sockets that a test has added.
type rig struct {
	t    testing.TB
	kind kind
	loop *reactor.Loop
	ends []*end // on the loop
}

// end is the server's side of a connection.
type end struct {
	key    reactor.Key
	sock   reactor.Socket
	client peer
}

// newRig returns a rig whose loop does not run yet.
func newRig(t testing.TB, kd kind, h reactor.Handler) *rig {
	t.Helper()
	l, err := reactor.New(h, kd.opt)
	if err != nil {
		t.Fatal(err)
	}
	return &rig{t: t, kind: kd, loop: l}
}

// start runs the loop until the test ends.
func (r *rig) start() {
	ended := make(chan error, 1)
	go func() { ended <- r.loop.Run() }()
	r.t.Cleanup(func() {
		r.loop.Stop()
		select {
		case err := <-ended:
			if err != nil {
				r.t.Errorf("Run: %v", err)
			}
		case <-time.After(patience):
			r.t.Fatal("Run does not return after Stop")
		}
		for _, e := range r.ends {
			r.loop.Close(e.key, e.sock)
			_ = e.client.Close()
		}
	})
}

// do runs f on the loop and waits until it has returned.
func (r *rig) do(f func()) {
	r.t.Helper()
	done := make(chan struct{})
	if !r.loop.Post(func() { defer close(done); f() }) {
		r.t.Fatal("the loop has ended")
	}
	await(r.t, done, "a post to run")
}

// connect makes a connection and adds its server end to the loop, on the loop's own goroutine.
func (r *rig) connect() *end {
	r.t.Helper()
	client, add := r.kind.connect(r.t)
	e := &end{client: client}
	r.do(func() {
		var err error
		if e.key, e.sock, err = add(r.loop); err != nil {
			r.t.Error(err)
		}
		r.ends = append(r.ends, e)
	})
	return e
}

// connect makes a connection, and returns what adds its server's end.
func (kd *kind) connect(t testing.TB) (peer, adder) {
	if kd.dial != nil {
		return kd.dial(t)
	}
	client, server := tcpPair(t)
	return client, func(l *reactor.Loop) (reactor.Key, reactor.Socket, error) { return kd.add(l, server) }
}

// find returns the end of a key. On the loop.
func (r *rig) find(k reactor.Key) *end {
	for _, e := range r.ends {
		if e.key == k {
			return e
		}
	}
	return nil
}

// tcpPair returns both ends of a loopback connection.
func tcpPair(t testing.TB) (client, server *net.TCPConn) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	var (
		accepted net.Conn
		failed   error
		wg       sync.WaitGroup
	)
	wg.Go(func() { accepted, failed = ln.Accept() })
	dialed, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	wg.Wait()
	if failed != nil {
		t.Fatal(failed)
	}
	_ = dialed.SetDeadline(time.Now().Add(patience))
	return dialed.(*net.TCPConn), accepted.(*net.TCPConn)
}

func await[T any](t testing.TB, ch <-chan T, what string) (v T) {
	t.Helper()
	select {
	case v = <-ch:
	case <-time.After(patience):
		t.Fatalf("waited in vain for %s", what)
	}
	return v
}

// readAll reads a socket until nothing more is available. The error is then nil.
func readAll(s reactor.Socket, buf []byte, got func(b []byte)) error {
	for {
		n, err := s.Read(buf)
		if n > 0 {
			got(buf[:n])
		}
		if errors.Is(err, reactor.ErrAgain) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// echoer sends back what it reads, and waits for room if there is none.
type echoer struct {
	rig     *rig
	waiting map[reactor.Key][]byte
	ended   chan error // receives the error that ended a connection, if it has room
}

func newEchoer() *echoer {
	return &echoer{waiting: map[reactor.Key][]byte{}, ended: make(chan error, 1024)}
}

func (e *echoer) Ready(k reactor.Key, _ reactor.Events) {
	end := e.rig.find(k)
	if end == nil {
		return // the event came before connect had recorded the end; connect repeats it
	}
	err := readAll(end.sock, e.rig.loop.Buffer(), func(b []byte) { e.waiting[k] = append(e.waiting[k], b...) })
	e.push(k, end)
	if err != nil {
		e.rig.loop.Close(k, end.sock)
		e.ended <- err
	}
}

func (e *echoer) push(k reactor.Key, end *end) {
	for len(e.waiting[k]) > 0 {
		n, err := end.sock.Write(e.waiting[k])
		e.waiting[k] = e.waiting[k][n:]
		if err != nil {
			if !errors.Is(err, reactor.ErrAgain) {
				delete(e.waiting, k)
			}
			return
		}
	}
	delete(e.waiting, k)
}

func (*echoer) Timeout(reactor.Key) {}
func (*echoer) Flush()              {}

// newEchoRig returns a rig that echoes.
func newEchoRig(t testing.TB, kd kind) (*rig, *echoer) {
	e := newEchoer()
	r := newRig(t, kd, e)
	e.rig = r
	r.start()
	return r, e
}

// pattern returns n bytes whose values depend on their position.
func pattern(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(i*7 + i>>8*13)
	}
	return b
}

// exchange sends b and expects it back.
func exchange(c net.Conn, b []byte) error {
	var wg sync.WaitGroup
	var sendErr error
	wg.Go(func() { _, sendErr = c.Write(b) })
	got := make([]byte, len(b))
	_, err := io.ReadFull(c, got)
	wg.Wait()
	if err = errors.Join(err, sendErr); err != nil {
		return err
	}
	if !slices.Equal(got, b) {
		return errors.New("other bytes came back")
	}
	return nil
}
