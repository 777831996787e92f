package traffic

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/expedite-go/expedite/internal/control"
	"github.com/expedite-go/expedite/ws"
)

// caller is a plain client that sends nothing on its own. A test finds out whether its connection still works by
// sending a message and waiting for the answer.
type caller struct {
	link
	heard chan string  // received messages; a test must not leave more than heardRoom unread
	told  ws.CloseCode // code of the server's close frame, or 0 if none came; valid after gone is closed
	end   error        // why the connection ended; valid after gone is closed
}

// heardRoom is the number of received messages that a caller buffers.
const heardRoom = 64

// callers are plain clients. They are closed when the test ends.
type callers struct {
	t    *testing.T
	list []*caller
	stop chan struct{}
	work sync.WaitGroup
}

// call opens n plain clients; target returns the path and query of client i.
func (s *server) call(n int, target func(i int) string) *callers {
	s.t.Helper()
	f := &callers{t: s.t, stop: make(chan struct{}), list: make([]*caller, n)}
	s.t.Cleanup(f.hangUp)
	ctx, cancel := context.WithTimeout(context.Background(), forever)
	defer cancel()
	slots, errs := make(chan struct{}, maxOpening), make(chan error, n)
	for i := range f.list {
		slots <- struct{}{}
		go func() { // ends with the handshake, which ctx bounds
			c := &caller{heard: make(chan string, heardRoom)}
			c.link.stop, c.gone, c.rng = f.stop, make(chan struct{}), rand.New(rand.NewPCG(1, uint64(i)))
			f.list[i] = c
			errs <- c.open(ctx, s.addr, target(i), cut{})
			<-slots
		}()
	}
	var err error
	for range f.list {
		err = errors.Join(err, <-errs)
	}
	if err != nil {
		s.t.Fatal(err)
	}
	for _, c := range f.list {
		f.work.Go(c.listenOn)
	}
	return f
}

// echoers opens n plain clients of /echo.
func (s *server) echoers(n int) *callers { return s.call(n, func(int) string { return pathEcho }) }

func (c *caller) listenOn() {
	defer close(c.gone)
	var text strings.Builder
	c.end = c.listen(nil, func(ev ws.Event) {
		switch ev.Kind {
		case ws.KindClose:
			c.told = ev.Code
		case ws.KindData:
			text.Write(ev.Data)
			if !ev.Last {
				return
			}
			select {
			case c.heard <- text.String():
			case <-c.stop:
			}
			text.Reset()
		}
	})
	_ = c.nc.Close()
}

// hangUp closes the remaining connections without a close frame.
func (f *callers) hangUp() {
	select {
	case <-f.stop:
	default:
		close(f.stop)
	}
	for _, c := range f.list {
		if c != nil && c.nc != nil {
			_ = c.nc.Close()
		}
	}
	f.work.Wait()
}

// hear returns the next message.
func (c *caller) hear() (string, error) {
	late := time.NewTimer(forever)
	defer late.Stop()
	select {
	case m := <-c.heard:
		return m, nil
	case <-late.C:
		return "", errors.New("no message in time")
	case <-c.gone:
	}
	select {
	case m := <-c.heard: // it arrived before the end
		return m, nil
	default:
		return "", fmt.Errorf("the connection ended: %d, %w", c.told, c.end)
	}
}

func (c *caller) say(text string) error { return c.send(ws.OpText, []byte(text), cut{}) }

// exchange sends text and returns an error unless the answer is want.
func (c *caller) exchange(text, want string) error {
	if err := c.say(text); err != nil {
		return err
	}
	if got, err := c.hear(); err != nil || got != want {
		return fmt.Errorf("got %.60q, %w, want %.60q", got, err, want)
	}
	return nil
}

// alive returns how many callers of /echo get an answer. It fails the test if one of the others received a close frame.
func (f *callers) alive() (n int) {
	f.t.Helper()
	for _, c := range f.list {
		_ = c.say("still there?") // the answer shows whether this worked
	}
	for i, c := range f.list {
		switch m, err := c.hear(); {
		case err == nil && m == "still there?":
			n++
		case err == nil:
			f.t.Errorf("caller %d: got %.60q, want its own message", i, m)
		case c.told != 0:
			f.t.Errorf("caller %d: closed by %d, want the end of the connection or an answer", i, c.told)
		}
	}
	return n
}

// all fails the test unless each caller gets an answer.
func (f *callers) all() {
	f.t.Helper()
	if n := f.alive(); n != len(f.list) {
		f.t.Errorf("%d of %d connections are alive, want all", n, len(f.list))
	}
}

// rolled is the outcome of a reload, scale or rebalance.
type rolled struct {
	control.Result
	err error
}

// reloading starts a reload in the background and returns a channel that receives its outcome.
func (s *server) reloading(req control.ReloadRequest) <-chan rolled {
	end := make(chan rolled, 1)
	go func() { // ends with the reload, at the latest after forever
		res, err := s.reload(req)
		end <- rolled{res, err}
	}()
	return end
}

// spin polls ok without sleeping, because a move takes only a few milliseconds.
func spin(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !ok(); runtime.Gosched() {
		if time.Now().After(end) {
			t.Fatal(what + ": not in time")
		}
	}
}

// pair waits until slot 1 has two workers, and returns their process ids.
func (s *server) pair() (old, next int) {
	s.t.Helper()
	spin(s.t, "a successor", func() bool {
		old, next = 0, 0
		generation := 0
		for _, w := range s.status().Workers {
			switch {
			case w.Slot != 1 || w.PID == 0:
			case w.Generation > generation:
				old, next, generation = next, w.PID, w.Generation
			default:
				old = w.PID
			}
		}
		return old != 0
	})
	return old, next
}

// descriptors returns the number of open descriptors of a process, or -1 if there is no such process.
func descriptors(pid int) int {
	d, err := os.Open("/proc/" + strconv.Itoa(pid) + "/fd")
	if err != nil {
		return -1
	}
	defer d.Close()
	names, err := d.Readdirnames(-1)
	if err != nil {
		return -1
	}
	return len(names)
}

// under waits until more than n connections have moved to process next. It reports false if that process has ended.
func (s *server) under(next, n int) bool {
	s.t.Helper()
	got := 0
	spin(s.t, "connections that move", func() bool {
		got = descriptors(next)
		return got < 0 || got > n+spareFDs
	})
	return got >= 0
}

// spareFDs is more than the number of descriptors that a worker without connections has open.
const spareFDs = 40

// settled waits until the workers' reports add up to n connections, and returns that status.
func (s *server) settled(n int) (st control.Status) {
	s.t.Helper()
	until(s.t, fmt.Sprintf("a status with %d connections", n), func() bool {
		st = s.status()
		return st.Totals.Connections == int64(n)
	})
	return st
}

var movedField = regexp.MustCompile(` failed.* moved=(\d+)`)

// movedBeforeFailure returns the number of connections that had moved when the first reload failed. It reads the log,
// because the error does not contain the number.
func (s *server) movedBeforeFailure() (n int) {
	s.t.Helper()
	until(s.t, "a roll that failed in the log", func() bool {
		found := movedField.FindStringSubmatch(s.logs.String())
		if found == nil {
			return false
		}
		var err error
		if n, err = strconv.Atoi(found[1]); err != nil {
			s.t.Fatal(err)
		}
		return true
	})
	return n
}

// gonePIDs fails the test if any of the processes still exists.
func (s *server) gonePIDs(list []int) {
	s.t.Helper()
	for _, pid := range list {
		if err := syscall.Kill(pid, 0); !errors.Is(err, syscall.ESRCH) {
			s.t.Errorf("process %d still exists: %v", pid, err)
		}
	}
}

// code returns the code of a control error, or the text of any other error.
func code(err error) string {
	if e, ok := errors.AsType[*control.Error](err); ok {
		return e.Code
	}
	return fmt.Sprint(err)
}

// audited stops the server and fails the test unless each connection was opened and closed exactly once.
func (s *server) audited() {
	s.t.Helper()
	s.end()
	if opens, closes, err := CheckAudit(s.audit); err != nil || opens != closes || opens == 0 {
		s.t.Errorf("%d callbacks of Open, %d of Close: %v", opens, closes, err)
	}
}

// reset closes a connection with a TCP RST.
func reset(nc net.Conn) {
	if tcp, ok := nc.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0)
	}
	_ = nc.Close()
}
