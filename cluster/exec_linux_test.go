package cluster

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// primaryProcess is an execPrimary that a test controls through its standard input and output.
type primaryProcess struct {
	t      *testing.T
	cmd    *exec.Cmd
	in     io.WriteCloser
	lines  chan string
	stderr string // the file with its workers' standard error
	veto   string // the file that makes trials fail while it exists
}

// startPrimaryProcess starts a primary in a process of its own.
func startPrimaryProcess(t *testing.T, play string, env ...string) *primaryProcess {
	t.Helper()
	l := &primaryProcess{
		t: t, lines: make(chan string, 10000),
		stderr: filepath.Join(t.TempDir(), "stderr"), veto: filepath.Join(t.TempDir(), "veto"),
	}
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	l.cmd = exec.Command(exe)
	l.cmd.Env = append(append(os.Environ(), execPrimaryEnv+"="+play, stderrEnv+"="+l.stderr, vetoEnv+"="+l.veto,
		"GORACE=atexit_sleep_ms=0"), env...)
	words := new(tail)
	words.to = io.Discard
	l.cmd.Stderr = words
	out, err := l.cmd.StdoutPipe()
	if err == nil {
		l.in, err = l.cmd.StdinPipe()
	}
	if err == nil {
		err = l.cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	read := make(chan struct{})
	go func() { // ends with the process
		defer close(read)
		s := bufio.NewScanner(out)
		s.Buffer(nil, 1<<20)
		for s.Scan() {
			l.lines <- s.Text()
		}
		close(l.lines)
	}()
	t.Cleanup(func() {
		_ = l.in.Close()
		late := time.AfterFunc(patience, func() { _ = l.cmd.Process.Kill() })
		defer late.Stop()
		<-read
		if err := l.cmd.Wait(); err != nil {
			t.Errorf("the primary ended with %v: %s", err, words)
		}
	})
	l.await("started 1 ")
	return l
}

// await returns the rest of the next line that begins with the given words.
func (l *primaryProcess) await(begin string) string {
	l.t.Helper()
	limit := time.After(patience)
	var seen []string
	for {
		select {
		case s, ok := <-l.lines:
			if rest, found := strings.CutPrefix(s, begin); found {
				return rest
			}
			seen = append(seen, s)
			if !ok {
				l.t.Fatalf("the primary has ended; no %q among %q", begin, seen)
			}
		case <-limit:
			l.t.Fatalf("no %q among %q", begin, seen)
		}
	}
}

// order sends an order to the primary.
func (l *primaryProcess) order(format string, args ...any) {
	l.t.Helper()
	if _, err := fmt.Fprintf(l.in, format+"\n", args...); err != nil {
		l.t.Fatal(err)
	}
}

// exec makes the primary replace its program.
func (l *primaryProcess) exec(generation int) {
	l.t.Helper()
	l.order("exec")
	if got := l.await(fmt.Sprintf("started %d ", generation)); got != `"hello"` {
		l.t.Errorf("the file says %s, want hello", got)
	}
}

// status asks the primary for its status.
func (l *primaryProcess) status() (s status) {
	l.t.Helper()
	l.order("status")
	if err := json.Unmarshal([]byte(l.await("status ")), &s); err != nil {
		l.t.Fatal(err)
	}
	return s
}

// dial connects to its workers.
func (l *primaryProcess) dial(addr string) client {
	l.t.Helper()
	c, err := dialAt(l.t, "tcp", addr)
	if err != nil {
		l.t.Fatal(err)
	}
	return c
}

func TestExecKeepsWorkersAndCounters(t *testing.T) {
	for _, policy := range []Policy{RoundRobin, LeastConnections, None} {
		t.Run(policy.String(), func(t *testing.T) {
			l := startPrimaryProcess(t, "move", policyEnv+"="+policy.String())
			if policy == None {
				l = startPrimaryProcess(t, "serve", policyEnv+"="+policy.String())
			}
			before := l.status()
			for range 10 {
				l.dial(before.Addr)
			}
			_ = syscall.Kill(before.Workers[1].PID, syscall.SIGKILL)
			l.await("event ready 2.2")
			l.order("reload")
			if got := l.await("rolled "); got != "2 <nil>" {
				t.Fatal(got)
			}
			l.order("text some")
			l.await("done")
			rests := 0
			eventually(t, "everything rests", func() bool { // workers report their load at intervals
				last := before
				if before = l.status(); fmt.Sprintf("%+v", last) != fmt.Sprintf("%+v", before) {
					rests = 0
				}
				rests++
				return rests > 20
			})
			for generation := 2; generation <= 4; generation++ {
				l.exec(generation)
				after := l.status()
				if after.Generation != generation {
					t.Errorf("generation %d, want %d", after.Generation, generation)
				}
				after.Generation = before.Generation
				if fmt.Sprintf("%+v", after) != fmt.Sprintf("%+v", before) {
					t.Errorf("after exec\n%+v, before\n%+v", after, before)
				}
			}
			for range 20 {
				if c := l.dial(before.Addr); c.generation < 2 {
					t.Errorf("served by %d.%d", c.slot, c.generation)
				}
			}
			l.order("reload")
			if got := l.await("rolled "); got != "2 <nil>" {
				t.Fatal(got)
			}
			after := l.status()
			if old := before.Workers[1].ID; after.Workers[0].ID <= old || after.Workers[0].Generation != 3 {
				t.Errorf("worker %+v after one with id %d", after.Workers[0], old)
			}
			if after.Rolled.Moved < before.Rolled.Moved || after.Ledger.Text != "some" || after.Stats.Restarts != 1 {
				t.Errorf("sums %+v, text %q, %+v", after.Rolled, after.Ledger.Text, after.Stats)
			}
			for _, w := range before.Workers {
				if !processIsGone(w.PID) {
					t.Errorf("the old process %d is there", w.PID)
				}
			}
		})
	}
}

// Under load in both directions, with fragmented messages and with handles, nothing is lost, repeated or reordered,
// and no line of the workers' output is missing.
func TestExecUnderLoadLosesNothing(t *testing.T) {
	l := startPrimaryProcess(t, "number")
	pids := []int{l.status().Workers[0].PID, l.status().Workers[1].PID}
	l.order("talk")
	l.await("done")
	for generation := 2; generation <= 11; generation++ {
		l.exec(generation)
		l.order("talk")
		l.await("done")
		up := l.status().Ledger.Up
		eventually(t, "messages come from all", func() bool { // there is load again
			now := l.status().Ledger.Up
			return now[1] > up[1]+60 && now[2] > up[2]+60
		})
	}
	s := l.status()
	if len(s.Ledger.Errors) > 0 {
		t.Errorf("the primary reports: %q", s.Ledger.Errors[:min(len(s.Ledger.Errors), 10)])
	}
	for i, w := range s.Workers {
		if w.PID != pids[i] || w.Generation != 1 {
			t.Errorf("worker %d.%d is process %d, want %d", w.Slot, w.Generation, w.PID, pids[i])
		}
		l.order("say %d tell", w.Slot)
		var sent, last int
		var faults string
		text := l.await(fmt.Sprintf("message %d ", w.Slot))
		said, err := strconv.Unquote(text)
		if err == nil {
			_, err = fmt.Sscanf(said, "sent %d last %d faults %q", &sent, &last, &faults)
		}
		if err != nil || faults != "" || last < s.Ledger.Down[w.ID] {
			t.Errorf("worker %d: %q, %v; %d were sent to it", w.Slot, text, err, s.Ledger.Down[w.ID])
		}
	}
	if s.Stats.HandlesLost != 0 || s.Stats.Restarts != 0 {
		t.Errorf("counters %+v", s.Stats)
	}
	judgeLines(t, l.stderr)
}

// judgeLines checks that no numbers are missing in the output of workers, except at the end.
func judgeLines(t *testing.T, name string) {
	t.Helper()
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	last := make(map[int]int)
	faults := 0
	for line := range strings.Lines(string(text)) {
		var id, n int
		if !strings.HasSuffix(line, "\n") {
			continue
		}
		if _, err := fmt.Sscanf(line, "line %d %d\n", &id, &n); err != nil || n != last[id]+1 {
			if faults++; faults < 5 {
				t.Errorf("%q after %d (%v)", line, last[id], err)
			}
		}
		last[id] = n
	}
	if len(last) != 2 {
		t.Errorf("lines of %d workers, want 2", len(last))
	}
}

func TestHandlesAndSharedSocketsAfterExec(t *testing.T) {
	l := startPrimaryProcess(t, "ask")
	l.order("say 1 listen tcp %s", anyPort)
	addr := strings.Trim(l.await("message 1 "), `"`)
	for generation := 2; generation <= 3; generation++ {
		l.exec(generation)
		if c := l.dial(addr); c.slot != 1 {
			t.Errorf("the shared socket is served by %d", c.slot)
		}
		l.order("say 2 send pipe")
		if got := l.await("handle 2 "); got != `"from the worker"` {
			t.Errorf("handle %s", got)
		}
		l.await("message 2 ")
		l.order("give")
		if got := l.await("message 1 "); got != `"take content <nil>"` {
			t.Errorf("the worker says %s", got)
		}
	}
	// The primary still has the socket: the other worker gets the same one, and so does the successor of the first.
	l.order("say 2 listen tcp %s", anyPort)
	if got := strings.Trim(l.await("message 2 "), `"`); got != addr {
		t.Errorf("the other worker listens at %s, want %s", got, addr)
	}
	_ = syscall.Kill(l.status().Workers[0].PID, syscall.SIGKILL)
	l.await("event ready 1.2")
	l.order("say 1 listen tcp %s", anyPort)
	if got := strings.Trim(l.await("message 1 "), `"`); got != addr {
		t.Errorf("the next worker listens at %s, want %s", got, addr)
	}
	// The last worker that closes it closes the socket: the users were inherited, too.
	for slot := 1; slot <= 2; slot++ {
		l.order("say %d unlisten", slot)
		l.await(fmt.Sprintf("message %d ", slot))
	}
	eventually(t, "the socket is closed", func() bool {
		c, err := net.Dial("tcp", addr)
		if err == nil {
			_ = c.Close()
		}
		return err != nil
	})
}

func TestWorkersThatDieAroundAnExec(t *testing.T) {
	l := startPrimaryProcess(t, "serve")
	l.exec(2)
	_ = syscall.Kill(l.status().Workers[0].PID, syscall.SIGKILL)
	l.await("event exit 1.1")
	l.await("event ready 1.2")
	for i, how := range []string{"kill", "reap"} { // just before the exec; the previous program sees it, or not
		l.order("exec %s %d", how, l.status().Workers[1].PID)
		l.await("event inherit 2.")
		l.await(fmt.Sprintf("event exit 2.%d", i+1)) // before or after the report of the start
		l.await(fmt.Sprintf("event ready 2.%d", i+2))
		s := l.status()
		for range 4 {
			l.dial(s.Addr)
		}
		if s.Workers[0].Generation != 2 || s.Stats.Restarts != uint64(i+2) {
			t.Errorf("%s: workers %+v, %+v", how, s.Workers, s.Stats)
		}
	}
}

// Signals that arrive at any time during an exec are handled by one of the two programs, and kill neither.
func TestSignalsDuringExec(t *testing.T) {
	// TERM and INT are not tested: in the first milliseconds of a program they end it, which is their purpose.
	for _, sig := range []syscall.Signal{syscall.SIGUSR1, syscall.SIGHUP} {
		t.Run(sig.String(), func(t *testing.T) { judgeSignals(t, sig) })
	}
}

func judgeSignals(t *testing.T, sig syscall.Signal) {
	l := startPrimaryProcess(t, "serve")
	var sent atomic.Int64
	quit, ended := make(chan struct{}), make(chan int, 1)
	stop := sync.OnceFunc(func() { close(quit) })
	go func() { // ends with quit
		tick := time.NewTicker(500 * time.Microsecond)
		defer tick.Stop()
		for n := 0; ; n++ {
			select {
			case <-tick.C:
				_ = l.cmd.Process.Signal(sig)
				sent.Add(1)
			case <-quit:
				ended <- n
				return
			}
		}
	}()
	defer func() {
		stop()
		<-ended
	}()
	generation := 2
	for ; generation < 8 || sent.Load() < 100; generation++ {
		l.exec(generation)
	}
	stop()
	n := <-ended
	ended <- n
	l.exec(generation) // it has handled the pending signals
	s := l.status()
	t.Logf("%d of %d signals were handled", s.Ledger.Signals, n) // pending signals of one kind are merged
	if n < 100 || s.Ledger.Signals == 0 {
		t.Errorf("%d of %d signals were handled", s.Ledger.Signals, n)
	}
	for _, w := range s.Workers {
		if w.Generation != 1 {
			t.Errorf("worker %d.%d", w.Slot, w.Generation)
		}
	}
}
