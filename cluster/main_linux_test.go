package cluster

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/sys/unix"
)

// The environment determines the role of a copy of this test binary.
const (
	playEnv    = "EXPEDITE_TEST_PLAY"    // one word per slot; the last one is also for all later slots
	primaryEnv = "EXPEDITE_TEST_PRIMARY" // a primary that a test kills
)

func TestMain(m *testing.M) {
	switch {
	case IsWorker():
		os.Exit(work())
	case os.Getenv(primaryEnv) != "":
		os.Exit(runKilledPrimary())
	case os.Getenv(execPrimaryEnv) != "":
		os.Exit(runExecPrimary())
	}
	goleak.VerifyTestMain(m)
}

// runKilledPrimary is the main function of a primary that a test kills.
func runKilledPrimary() int {
	p, err := Start(context.Background(), Config{Args: []string{}, Env: []string{playEnv + "=tell"}, Workers: 2})
	if err != nil {
		fmt.Println(err)
		return 1
	}
	fmt.Println("started")
	<-p.Done()
	return 0
}

// testWorker is a worker in the tests.
type testWorker struct {
	self *Self
	open atomic.Int64
	quit chan int

	reports sync.Mutex
}

// work runs the role in the environment and returns the exit code.
func work() int {
	self, err := Join()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	plays := strings.Fields(os.Getenv(playEnv))
	play := plays[min(self.Slot(), len(plays))-1]
	switch play {
	case "fail":
		fmt.Fprintln(os.Stderr, "first line\ncannot open the thing")
		return 3
	case "crash":
		if self.Generation() > 1 {
			return 3
		}
	case "spoiled":
		if self.Generation() > 1 {
			fmt.Fprintln(os.Stderr, "first line\ncannot open the thing")
			return 3
		}
	}
	if play == "eager" && self.Generation() > 1 {
		_ = self.Send([]byte("early"))
	}
	w := &testWorker{self: self, quit: make(chan int, 8)}
	self.Serve(w.hooks(play))
	if ln := self.Listener(); ln != nil && play != "tags" {
		go w.accept(ln) // ends with the process
	}
	if play != "stuck" {
		if err := self.Ready(); err != nil {
			return 1
		}
	}
	code := <-w.quit
	_ = self.Close()
	return code
}

func (w *testWorker) hooks(play string) Hooks {
	h := Hooks{
		Conns: func(fds []int) int {
			for _, fd := range fds {
				f := os.NewFile(uintptr(fd), "conn")
				c, err := net.FileConn(f)
				_ = f.Close()
				if err == nil {
					go w.serve(c) // ends with the connection
				}
			}
			return len(fds)
		},
		Message: func(m []byte) {
			if err := w.self.Send(m); err != nil {
				fmt.Fprintln(os.Stderr, err)
				w.quit <- 4
			}
		},
		Drain: func(time.Time) { w.quit <- 0 },
		Lost:  func() { w.quit <- 5 },
	}
	take := h.Conns
	switch play {
	case "refuse":
		h.Conns = func([]int) int { return 0 }
	case "half":
		h.Conns = func(fds []int) int { return take(fds[:len(fds)/2]) }
	case "die":
		h.Conns = func([]int) int {
			_ = unix.Kill(os.Getpid(), unix.SIGKILL)
			select {}
		}
	case "ask", "short":
		w.listenToOrders(&h)
		if play == "short" {
			h.Conns = w.takeAsFiles
		}
	case "move", "reluctant", "unwilling", "unwilling-last", "takerdies", "giverdies", "stuck-taker", "pretend":
		w.moves(&h, play)
	case "number":
		w.numbers(&h)
	case "tags":
		w.tags(&h)
	case "stubborn":
		h.Drain = func(time.Time) {}
	case "leave":
		h.Message = func([]byte) {
			_ = w.self.Report(0, []byte(os.Getenv(roleEnv))) // the variable must be unset
			w.quit <- 0
		}
	case "hasty":
		h.Message = func([]byte) {
			for n := range 20000 {
				_ = w.self.Send(fmt.Append(nil, n))
			}
			_ = w.self.Flush(context.Background())
			os.Exit(0)
		}
	case "wordy":
		h.Message = func(m []byte) {
			line := append(bytes.Repeat([]byte("x"), 1023), '\n')
			for range 4 << 10 { // to stdout and stderr each, four times the limit
				_, _ = os.Stdout.Write(line)
				_, _ = os.Stderr.Write(line)
			}
			_ = w.self.Send(m)
		}
	case "deaf":
		h.Message = func([]byte) { select {} }
		h.Drain = nil
	case "tell":
		// Its output goes through the primary, and ends with it.
		out, err := os.OpenFile(fmt.Sprintf("/proc/%d/fd/1", os.Getppid()), os.O_WRONLY, 0)
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			w.quit <- 4
		}
		h.Lost = func() { _, _ = fmt.Fprintln(out, "lost", w.self.Slot()); w.quit <- 0 }
	}
	return h
}

func (w *testWorker) accept(ln net.Listener) {
	for {
		c, err := ln.Accept()
		if err != nil {
			return
		}
		go w.serve(c) // ends with the connection
	}
}

// serve sends the worker's name and waits for the end of the connection.
func (w *testWorker) serve(c io.ReadWriteCloser) {
	defer c.Close()
	w.report(1, nil)
	_, _ = fmt.Fprintln(c, w.self.Slot(), w.self.Generation())
	for b := make([]byte, 64); ; w.report(0, nil) {
		if _, err := c.Read(b); err != nil {
			break
		}
	}
	w.report(-1, []byte("closed"))
}

// report reports the number of clients. A later report never has an older number.
func (w *testWorker) report(more int64, words []byte) {
	w.reports.Lock()
	defer w.reports.Unlock()
	_ = w.self.Report(int(w.open.Add(more)), words)
}

// group is a primary under test.
type group struct {
	*Primary
	t      *testing.T
	events chan Event
}

// start starts a primary whose workers have the given roles. The end of the test stops it.
func start(t *testing.T, cfg Config, play string) *group {
	t.Helper()
	g, err := tryStart(t, cfg, play)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { g.Stop() })
	return g
}

func tryStart(t *testing.T, cfg Config, play string) (*group, error) {
	t.Helper()
	g := &group{t: t, events: make(chan Event, 1000)}
	cfg.Args = []string{}
	// The race detector delays the exit of a process by a second.
	cfg.Env = append(cfg.Env, playEnv+"="+play, "GORACE=atexit_sleep_ms=0")
	cfg.Logger = slog.New(slog.DiscardHandler)
	if cfg.Stderr == nil {
		cfg.Stderr = io.Discard
	}
	if cfg.Stdout == nil {
		cfg.Stdout = io.Discard
	}
	watch := cfg.OnEvent
	cfg.OnEvent = func(e Event) {
		if watch != nil {
			watch(e)
		}
		g.events <- e
	}
	var err error
	g.Primary, err = Start(t.Context(), cfg)
	return g, err
}

// patience is how long a test waits for something that must happen.
const patience = 60 * time.Second

// await returns the next event of a kind in a slot, with 0 for any or none. It drops the events before it.
func (g *group) await(kind EventKind, slot int) Event {
	g.t.Helper()
	limit := time.After(patience)
	for {
		select {
		case e := <-g.events:
			if e.Kind == kind && (slot == 0 || e.Worker.Slot() == slot) {
				return e
			}
		case <-limit:
			g.t.Fatalf("no event %v of worker %d", kind, slot)
		}
	}
}

// client is a connection and the name of the worker that serves it.
type client struct {
	net.Conn
	slot, generation int
}

// dial connects and reads the worker's name.
func (g *group) dial() (client, error) {
	c, err := net.DialTimeout("tcp", g.Addr().String(), patience)
	if err != nil {
		return client{}, err
	}
	g.t.Cleanup(func() { _ = c.Close() })
	return greet(c)
}

func greet(c net.Conn) (client, error) {
	_ = c.SetReadDeadline(time.Now().Add(patience))
	line, err := bufio.NewReader(c).ReadString('\n')
	if err != nil {
		return client{}, err
	}
	k := client{Conn: c}
	_, err = fmt.Sscan(line, &k.slot, &k.generation)
	return k, err
}

// settle waits until the primary knows the exact number of clients of each worker. A report that crosses the
// acknowledgement of a socket counts that twice until the next report, which data of a client causes.
func (g *group) settle(clients []client) (by map[int]int) {
	g.t.Helper()
	by = make(map[int]int)
	for _, c := range clients {
		by[c.slot]++
	}
	eventually(g.t, "loads are known", func() bool {
		known := true
		for _, w := range g.Workers() {
			known = known && int(w.load.Load()) == by[w.slot] && w.passed.Load() == 0
		}
		for _, c := range clients {
			if !known {
				_, _ = io.WriteString(c, "x") // its worker may have exited
			}
		}
		return known
	})
	return by
}

// dialMany makes n connections at once and counts them by slot.
func (g *group) dialMany(n int) map[int]int {
	g.t.Helper()
	type result struct {
		c   client
		err error
	}
	results := make(chan result, n)
	for range n {
		go func() { // ends when it is served
			c, err := g.dial()
			results <- result{c, err}
		}()
	}
	by := make(map[int]int)
	for range n {
		r := <-results
		if r.err != nil {
			g.t.Error(r.err)
			continue
		}
		by[r.c.slot]++
	}
	return by
}

// openFDs returns the number of open descriptors of a process.
func openFDs(t *testing.T, pid int) int {
	t.Helper()
	list, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", pid))
	if err != nil {
		t.Fatal(err)
	}
	return len(list)
}

// eventually waits until a condition holds for which there is no event.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	limit := time.After(patience)
	for !ok() {
		select {
		case <-tick.C:
		case <-limit:
			t.Fatalf("not in time: %s", what)
		}
	}
}
