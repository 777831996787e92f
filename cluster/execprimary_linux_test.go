package cluster

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

// execPrimaryEnv makes a copy of this test binary a primary that replaces its program, and holds the roles of its
// workers. It reads orders from standard input, one per line, and reports on standard output: a word, and the rest in
// quotes.
const execPrimaryEnv = "EXPEDITE_TEST_EXEC_PRIMARY"

// Files of an execPrimary: the standard error of its workers and, if it exists, the reason for which trials fail.
const (
	stderrEnv = "EXPEDITE_TEST_STDERR"
	vetoEnv   = "EXPEDITE_TEST_VETO"
)

// ledger records what an execPrimary has sent and received. The next program inherits it.
type ledger struct {
	Up, Down map[uint64]int // the last number of each worker
	Errors   []string
	Signals  int
	Text     string
}

// execPrimary is a primary that replaces its program, in a process of its own.
type execPrimary struct {
	p *Primary

	mu  sync.Mutex
	log ledger
}

func tellf(format string, args ...any) { _, _ = fmt.Fprintf(os.Stdout, format+"\n", args...) }

// runExecPrimary is the main function of an execPrimary. It returns the exit code.
func runExecPrimary() int {
	b := &execPrimary{log: ledger{Up: make(map[uint64]int), Down: make(map[uint64]int)}}
	signals := make(chan os.Signal, 10000)
	left, err := Inherit()
	if err == nil && left != nil {
		err = json.Unmarshal(left.State, &b.log)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	if left != nil && left.Trial {
		if why, err := os.ReadFile(os.Getenv(vetoEnv)); err == nil {
			fmt.Fprint(os.Stderr, "on trial\n", string(why))
			return 1
		}
		return 0
	}
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGUSR1)
	go b.count(signals) // ends with the process
	errFile, err := os.OpenFile(os.Getenv(stderrEnv), os.O_APPEND|os.O_WRONLY|os.O_CREATE, 0o600)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	policy, _ := ParsePolicy(os.Getenv(policyEnv))
	file := ""
	if left != nil {
		if f := left.File("greeting"); f != nil && left.File("greeting") == nil && left.File("other") == nil {
			text, _ := io.ReadAll(f)
			_ = f.Close()
			file = string(text)
		}
	}
	b.p, err = Start(context.Background(), Config{
		Args: []string{}, Env: []string{playEnv + "=" + os.Getenv(execPrimaryEnv), execPrimaryEnv + "=", "GORACE=atexit_sleep_ms=0"},
		Workers: 2, Listen: anyPort, Inherit: left, Logger: slog.New(slog.DiscardHandler), Scheduling: policy,
		Stdout: io.Discard, Stderr: struct{ io.Writer }{errFile}, Restart: Restart{MaxCrashes: -1},
		OnEvent: func(e Event) {
			if e.Worker != nil {
				tellf("event %v %d.%d", e.Kind, e.Worker.Slot(), e.Worker.Generation())
			}
		},
		OnMessage: b.receiveMessage, OnHandle: b.receive,
	})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	tellf("started %d %q", b.p.Generation(), file)
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		if !b.execute(strings.Fields(lines.Text())) {
			return 0
		}
	}
	b.p.Stop()
	return 0
}

// policyEnv is the scheduling policy of an execPrimary.
const policyEnv = "EXPEDITE_TEST_POLICY"

func (b *execPrimary) count(signals <-chan os.Signal) {
	for range signals {
		b.mu.Lock()
		b.log.Signals++
		b.mu.Unlock()
	}
}

// receiveMessage checks the numbers that workers send, and reports other messages.
func (b *execPrimary) receiveMessage(w *Worker, m []byte) {
	n, ok := bytes.CutPrefix(m, []byte("up "))
	if !ok {
		tellf("message %d %q", w.Slot(), m)
		return
	}
	b.up(w, n)
}

// up records a number, which must be the next one.
func (b *execPrimary) up(w *Worker, m []byte) {
	number, _, _ := bytes.Cut(m, []byte(" "))
	n, err := strconv.Atoi(string(number))
	b.mu.Lock()
	defer b.mu.Unlock()
	if last := b.log.Up[w.ID()]; err != nil || n != last+1 {
		b.log.Errors = append(b.log.Errors, fmt.Sprintf("worker %d says %q after %d", w.Slot(), number, last))
	}
	b.log.Up[w.ID()] = n
}

func (b *execPrimary) receive(w *Worker, m []byte, h Handle) {
	n, ok := bytes.CutPrefix(m, []byte("up "))
	if h == nil {
		tellf("handle %d nil", w.Slot())
		return
	}
	defer h.Close()
	if ok {
		b.up(w, n)
		return
	}
	text, _ := io.ReadAll(h.(*os.File))
	tellf("handle %d %q", w.Slot(), text)
}

// talk sends numbers to all workers until the process ends.
func (b *execPrimary) talk() {
	big := strings.Repeat("x", 100_000)
	for range time.Tick(200 * time.Microsecond) {
		for _, w := range b.p.Workers() {
			b.mu.Lock()
			n := b.log.Down[w.ID()] + 1
			text := ""
			if n%100 == 0 {
				text = big
			}
			if w.Send(fmt.Appendf(nil, "down %d %s", n, text)) == nil {
				b.log.Down[w.ID()] = n
			}
			b.mu.Unlock()
		}
	}
}

// state returns the state for the next program.
func (b *execPrimary) state() ([]byte, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return json.Marshal(b.log)
}

// exec replaces the program. die is done just before the exec.
func (b *execPrimary) exec(arg []string) {
	r, w, err := os.Pipe()
	if err != nil {
		tellf("failed %q", err)
		return
	}
	_, _ = w.WriteString("hello")
	_ = w.Close()
	defer r.Close()
	o := ExecOptions{State: b.state, Files: map[string]*os.File{"greeting": r}, Before: func() {
		if len(arg) < 2 {
			return
		}
		pid, _ := strconv.Atoi(arg[1])
		_ = syscall.Kill(pid, syscall.SIGKILL)
		for arg[0] == "reap" && !errors.Is(syscall.Kill(pid, 0), syscall.ESRCH) {
			continue // nothing may happen between the worker's exit and the exec
		}
	}}
	tellf("failed %q", b.p.Exec(context.Background(), o).Error())
}

// execute executes an order. It returns false to end the program.
func (b *execPrimary) execute(words []string) bool {
	switch arg := words[1:]; words[0] {
	case "exec":
		b.exec(arg)
	case "setup":
		b.p.Setup(Settings{Exec: arg[0]})
		tellf("done")
	case "reload":
		res, err := b.p.Reload(context.Background(), RollOptions{})
		tellf("rolled %d %v", res.Workers, err)
	case "text":
		b.mu.Lock()
		b.log.Text += arg[0]
		b.mu.Unlock()
		tellf("done")
	case "talk":
		go b.talk() // ends with the process
		tellf("done")
	case "say":
		slot, _ := strconv.Atoi(arg[0])
		for _, w := range b.p.Workers() {
			if w.Slot() == slot {
				tellf("sent %v", w.Send([]byte(strings.Join(arg[1:], " "))))
			}
		}
	case "give":
		r, w, _ := os.Pipe()
		_, _ = w.WriteString("content")
		_ = w.Close()
		tellf("sent %v", b.p.Workers()[0].SendHandle([]byte("take"), r))
	case "status":
		b.status()
	case "quit":
		b.p.Stop()
		tellf("bye")
		return false
	}
	return true
}

// status describes an execPrimary.
type status struct {
	Generation int
	Addr       string
	Ledger     ledger
	Stats      Stats
	Rolled     RollTotals
	Workers    []workerStatus
	FDs        int
}

type workerStatus struct {
	ID                         uint64
	Slot, Generation, PID      int
	State                      State
	Load                       int
	Passed, Crashes, Overloads uint64
}

func (b *execPrimary) status() {
	s := status{Generation: b.p.Generation(), Stats: b.p.Stats(), Rolled: b.p.RollTotals(), Addr: b.p.Addr().String()}
	list, _ := os.ReadDir("/proc/self/fd")
	s.FDs = len(list)
	for _, w := range b.p.Workers() {
		s.Workers = append(s.Workers, workerStatus{
			ID: w.ID(), Slot: w.Slot(), Generation: w.Generation(), PID: w.PID(), State: w.State(), Load: w.Load(),
			Passed: w.Passed(), Crashes: w.Crashes(), Overloads: w.Overloads(),
		})
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	s.Ledger = b.log
	text, _ := json.Marshal(s)
	tellf("status %s", text)
}

// numbers makes a worker send numbers to its primary, some with much data and some with a handle, and check those
// that it receives. It also writes numbers to standard error.
func (w *testWorker) numbers(h *Hooks) {
	var mu sync.Mutex
	last, sent, faults := 0, 0, ""
	h.Message = func(m []byte) {
		words := strings.SplitN(string(m), " ", 3)
		mu.Lock()
		defer mu.Unlock()
		switch words[0] {
		case "down":
			n, err := strconv.Atoi(words[1])
			if (err != nil || n != last+1) && len(faults) < 1000 {
				faults += fmt.Sprintf("%q after %d;", words[1], last)
			}
			last = n
		case "tell":
			w.say(fmt.Sprintf("sent %d last %d faults %q", sent, last, faults))
		}
	}
	go func() { // ends with the process
		big := strings.Repeat("x", 200_000)
		for range time.Tick(200 * time.Microsecond) {
			mu.Lock()
			n := sent + 1
			mu.Unlock()
			var err error
			switch n % 50 {
			case 0:
				err = w.self.Send([]byte(fmt.Sprint("up ", n, " ", big)))
			case 25:
				var r, to *os.File
				if r, to, err = os.Pipe(); err == nil {
					_ = to.Close()
					err = w.self.SendHandle(fmt.Appendf(nil, "up %d", n), r)
				}
			default:
				err = w.self.Send(fmt.Appendf(nil, "up %d", n))
			}
			if err != nil {
				continue
			}
			mu.Lock()
			sent = n
			mu.Unlock()
			_, _ = fmt.Fprintf(os.Stderr, "line %d %d\n", w.self.ID(), n)
		}
	}()
}
