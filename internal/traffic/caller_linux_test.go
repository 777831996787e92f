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

// caller is a plain client that says nothing by itself: what becomes of it shows by whether it is answered.
type caller struct {
	link
	heard chan string  // messages; nobody may owe more than it holds
	told  ws.CloseCode // of the server's close frame; 0 is none. After gone
	end   error        // after gone
}

// heardRoom is how many messages a caller may leave unheard.
const heardRoom = 64

// callers are plain clients. They end with the test.
type callers struct {
	t    *testing.T
	list []*caller
	stop chan struct{}
	work sync.WaitGroup
}

// call opens plain clients of a target.
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

// echoers open plain clients of /echo.
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

// hangUp ends those that are left, without a word.
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

// hear is the next message.
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
	case m := <-c.heard: // it came before the end
		return m, nil
	default:
		return "", fmt.Errorf("the connection ended: %d, %w", c.told, c.end)
	}
}

func (c *caller) say(text string) error { return c.send(ws.OpText, []byte(text), cut{}) }

// exchange says something and wants an answer.
func (c *caller) exchange(text, want string) error {
	if err := c.say(text); err != nil {
		return err
	}
	if got, err := c.hear(); err != nil || got != want {
		return fmt.Errorf("got %.60q, %w, want %.60q", got, err, want)
	}
	return nil
}

// alive is how many of the callers of /echo are answered. Those that are not must have ended without a close frame.
func (f *callers) alive() (n int) {
	f.t.Helper()
	for _, c := range f.list {
		_ = c.say("still there?") // the answer tells
	}
	for i, c := range f.list {
		switch m, err := c.hear(); {
		case err == nil && m == "still there?":
			n++
		case err == nil:
			f.t.Errorf("caller %d: got %.60q, want its own words", i, m)
		case c.told != 0:
			f.t.Errorf("caller %d: closed by %d, want the end of the connection or an answer", i, c.told)
		}
	}
	return n
}

// all wants each caller to be answered.
func (f *callers) all() {
	f.t.Helper()
	if n := f.alive(); n != len(f.list) {
		f.t.Errorf("%d of %d connections live, want all", n, len(f.list))
	}
}

// rolled is how a reload or the like has ended.
type rolled struct {
	control.Result
	err error
}

// reloading reloads in the background.
func (s *server) reloading(req control.ReloadRequest) <-chan rolled {
	end := make(chan rolled, 1)
	go func() { // ends with the reload, or forever
		res, err := s.reload(req)
		end <- rolled{res, err}
	}()
	return end
}

// spin looks without a pause until ok: moves are over in some milliseconds.
func spin(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !ok(); runtime.Gosched() {
		if time.Now().After(end) {
			t.Fatal(what + ": not in time")
		}
	}
}

// pair waits until slot 1 has two workers.
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

// descriptors is how many a process has; -1 if there is no such process.
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

// under waits until at least n connections have moved to a process. It reports false if that has ended.
func (s *server) under(next, n int) bool {
	s.t.Helper()
	got := 0
	spin(s.t, "connections that move", func() bool {
		got = descriptors(next)
		return got < 0 || got > n+spareFDs
	})
	return got >= 0
}

// spareFDs is more than a worker without connections has open.
const spareFDs = 40

// settled waits until the workers' reports say that there are n connections.
func (s *server) settled(n int) (st control.Status) {
	s.t.Helper()
	until(s.t, fmt.Sprintf("a status with %d connections", n), func() bool {
		st = s.status()
		return st.Totals.Connections == int64(n)
	})
	return st
}

var movedField = regexp.MustCompile(`roll failed.* moved=(\d+)`)

// movedBeforeFailure is how many connections had moved when the first roll failed: its answer does not tell, the log
// does.
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

// gonePIDs wants no process of the list to be there.
func (s *server) gonePIDs(list []int) {
	s.t.Helper()
	for _, pid := range list {
		if err := syscall.Kill(pid, 0); !errors.Is(err, syscall.ESRCH) {
			s.t.Errorf("process %d is still there: %v", pid, err)
		}
	}
}

// code is the code of a roll's error, or its text.
func code(err error) string {
	if e, ok := errors.AsType[*control.Error](err); ok {
		return e.Code
	}
	return fmt.Sprint(err)
}

// audited ends the server and wants each connection to have been opened and closed once.
func (s *server) audited() {
	s.t.Helper()
	s.end()
	if opens, closes, err := CheckAudit(s.audit); err != nil || opens != closes || opens == 0 {
		s.t.Errorf("%d callbacks of Open, %d of Close: %v", opens, closes, err)
	}
}

// reset ends a connection by RST.
func reset(nc net.Conn) {
	if tcp, ok := nc.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0)
	}
	_ = nc.Close()
}
