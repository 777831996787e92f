package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

const (
	perProcess = 10000                  // idle connections per client process
	spareFDs   = 100                    // descriptors of a worker beyond its connections
	calmBefore = 3 * time.Second        // how long to measure echoes before the first reload
	calmAfter  = 500 * time.Millisecond // pause between reloads
	checkTime  = 10 * time.Second       // time limit for one message to all idle connections
)

// handoff is a run of the handoff benchmark.
type handoff struct {
	idle, rolls, echoes int
	tls                 bool

	server  *child
	addr    netip.AddrPort
	control *http.Client
	clients []*child
	echoer  *echoer
	calm    span          // the time before the first reload
	calmCPU time.Duration // the server's CPU time in calm
	done    []roll
}

// roll holds the measurements of one reload.
type roll struct {
	whole, move       span
	wholeCPU, moveCPU time.Duration // of all processes of the server
	result            rollResult
}

// rollResult is the result that the server reports; see control.RollResult.
type rollResult struct {
	Moved      int     `json:"moved"`
	Drained    int     `json:"drained"`
	Failed     int     `json:"failed"`
	Seconds    float64 `json:"seconds"`
	StateBytes int     `json:"state_bytes"` // 0 if not reported
}

// rollLine is one line of the response to a reload request.
type rollLine struct {
	Progress *struct {
		Step string `json:"step"`
	} `json:"progress"`
	Result *rollResult     `json:"result"`
	Error  json.RawMessage `json:"error"`
}

// runHandoff repeatedly replaces a worker with idle connections while other connections echo.
func runHandoff(args []string) error {
	h := &handoff{}
	flags := flag.NewFlagSet("handoff", flag.ExitOnError)
	flags.IntVar(&h.idle, "connections", 15000, "idle connections")
	flags.IntVar(&h.rolls, "rolls", 5, "reloads")
	flags.IntVar(&h.echoes, "echoes", 50, "connections that echo meanwhile, 100 messages a second each")
	flags.BoolVar(&h.tls, "tls", false, "the connections use TLS")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if h.tls {
		remove, err := certify()
		if err != nil {
			return err
		}
		defer remove()
	}
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		return err
	}
	most := int(min(limit.Cur, 1<<20)) - spareFDs
	if h.idle < 1 || h.rolls < 1 || h.echoes < 1 || flags.NArg() > 0 || h.idle+h.echoes > most {
		return fmt.Errorf("want numbers from 1, and at most %d connections in all (limit of open files)", most)
	}
	dir, err := os.MkdirTemp("", "expedite-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	defer h.close()
	if err := h.start(filepath.Join(dir, "control")); err != nil {
		return err
	}
	if err := h.measure(); err != nil {
		return err
	}
	h.print()
	return h.check()
}

// start starts the server and opens the connections.
func (h *handoff) start(socket string) (err error) {
	if h.server, err = startChild(nil, "handoff-server", socket); err != nil {
		return err
	}
	h.control = &http.Client{Transport: &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", socket)
		},
	}}
	if h.addr, err = h.server.address(); err != nil {
		return err
	}
	for first := 0; first < h.idle; first += perProcess {
		n := min(perProcess, h.idle-first)
		c, err := startChild(nil, "handoff-clients", h.addr.String(), strconv.Itoa(n), strconv.Itoa(first))
		if err != nil {
			return err
		}
		h.clients = append(h.clients, c)
		if line, err := c.out.ReadString('\n'); err != nil || line != "open\n" {
			return fmt.Errorf("clients: %q, %w", line, err)
		}
	}
	l, err := newShaped(h.addr, "/echo", h.echoes, shape{payloadLen, h.tls})
	if err != nil {
		return err
	}
	h.echoer, err = newEchoer(l)
	return err
}

func (h *handoff) close() {
	for _, c := range h.clients {
		c.stop()
	}
	if h.echoer != nil {
		h.echoer.close()
	}
	if h.server != nil {
		h.server.stop()
	}
}

// measure performs the reloads.
func (h *handoff) measure() error {
	time.Sleep(time.Second) // time to collect the garbage of the handshakes
	before := h.cpu()
	h.calm.from = time.Now()
	time.Sleep(calmBefore)
	h.calm.to = time.Now()
	h.calmCPU = h.cpu() - before
	for range h.rolls {
		r, err := h.reload()
		if err != nil {
			return fmt.Errorf("reload %d: %w", len(h.done)+1, err)
		}
		h.done = append(h.done, r)
		time.Sleep(calmAfter)
	}
	return h.echoer.stop()
}

// reload replaces the worker. The move lasts from the line that reports its start to the line that reports its end.
func (h *handoff) reload() (r roll, err error) {
	cpu := h.cpu()
	r.whole.from = time.Now()
	request := strings.NewReader(`{"keep_primary":true,"canary_seconds":0}`)
	answer, err := h.control.Post("http://expedite/reload", "application/json", request)
	if err != nil {
		return r, err
	}
	defer answer.Body.Close()
	lines := json.NewDecoder(answer.Body)
	var moveCPU time.Duration
	for {
		var l rollLine
		if err := lines.Decode(&l); err != nil {
			return r, errors.Join(io.ErrUnexpectedEOF, err)
		}
		now := time.Now()
		switch {
		case l.Error != nil:
			return r, fmt.Errorf("the server reports %s", l.Error)
		case l.Result != nil:
			r.whole.to, r.wholeCPU, r.result = now, h.cpu()-cpu, *l.Result
			if r.move.from.IsZero() || r.move.to.IsZero() {
				return r, errors.New("the server did not report when the connections moved")
			}
			return r, nil
		case l.Progress == nil:
		case l.Progress.Step == "moving" && r.move.from.IsZero():
			r.move.from, moveCPU = now, h.cpu()
		case l.Progress.Step == "draining":
			r.move.to, r.moveCPU = now, h.cpu()-moveCPU
		}
	}
}

// print prints the figures.
func (h *handoff) print() {
	var rates, seconds []float64
	var moves, wholes []span
	var moved, state int
	var moveCPU, wholeCPU time.Duration
	echoes := func(s span) time.Duration { // CPU time of the echoes, which is not part of the handoff
		return time.Duration(float64(h.calmCPU) * float64(s.length()) / float64(h.calm.length()))
	}
	for _, r := range h.done {
		rates = append(rates, float64(r.result.Moved)/r.move.length().Seconds())
		seconds = append(seconds, r.whole.length().Seconds())
		moves, wholes = append(moves, r.move), append(wholes, r.whole)
		moved += r.result.Moved
		state += r.result.StateBytes
		moveCPU += r.moveCPU - echoes(r.move)
		wholeCPU += r.wholeCPU - echoes(r.whole)
	}
	million := 1e6 / float64(max(moved, 1))
	fmt.Printf("handoff, TLS %v, %d idle connections, %d that echo, %d reloads of one worker\n",
		h.tls, h.idle, h.echoes, h.rolls)
	fmt.Printf("  moved     %8.0f connections/s per pair of workers (best %.0f)\n", median(rates), slices.Max(rates))
	fmt.Printf("  reload    %8.3f s, the process's start and end included (least %.3f)\n",
		median(seconds), slices.Min(seconds))
	if state > 0 {
		fmt.Printf("  state     %8.1f bytes per connection\n", float64(state)/float64(max(moved, 1)))
	}
	fmt.Printf("  cpu       %8.2f s per 1,000,000 moves; %.2f s with the processes' start and end\n",
		moveCPU.Seconds()*million, wholeCPU.Seconds()*million)
	before, during := h.echoer.latency(h.calm), h.echoer.latency(wholes...)
	fmt.Printf("  echo      before       %v\n", before)
	fmt.Printf("            in reloads   %v  p99 %+.3f ms\n", during, ms(during.p99-before.p99))
	during = h.echoer.latency(moves...)
	fmt.Printf("            in moves     %v  p99 %+.3f ms\n", during, ms(during.p99-before.p99))
}

// check returns an error if a connection was lost. It publishes one message, which must be the first that each idle
// connection receives.
func (h *handoff) check() error {
	publisher, err := newShaped(h.addr, "/publish", 1, shape{payloadLen, h.tls})
	if err != nil {
		return err
	}
	defer publisher.close()
	if err := publisher.begin(1, 1); err != nil {
		return err
	}
	reached := 0
	for i, c := range h.clients {
		n, err := c.ask()
		want := min(perProcess, h.idle-i*perProcess)
		for end := time.Now().Add(checkTime); err == nil && n.got+n.lost < want && time.Now().Before(end); n, err = c.ask() {
			time.Sleep(calmAfter / 10)
		}
		if err != nil {
			return err
		}
		reached += n.got
	}
	fmt.Printf("  lost      %8d connections: one message to their topic reached %d\n", h.idle-reached, reached)
	if reached != h.idle {
		return errors.New("connections were lost")
	}
	for i, r := range h.done {
		if r.result.Failed+r.result.Drained > 0 || r.result.Moved != h.idle+h.echoes {
			return fmt.Errorf("reload %d, with %d connections: %+v", i+1, h.idle+h.echoes, r.result)
		}
	}
	return nil
}

// cpu returns the CPU time of all processes of the server so far, ended ones included.
func (h *handoff) cpu() time.Duration {
	primary := h.server.cmd.Process.Pid
	for {
		ended := endedCPU(primary)
		// Retry if a process ends meanwhile: neither sum would include it.
		if sum, ok := familyCPU(primary); ok && ended == endedCPU(primary) {
			return ended + sum
		}
	}
}

// familyCPU returns the CPU time of a process and its children. It reports false if a child has ended.
func familyCPU(pid int) (sum time.Duration, ok bool) {
	for i, one := range familyPIDs(pid) {
		used, ok := processCPU(one)
		if !ok {
			return 0, i == 0 // if the server itself has ended, the caller's next request detects that
		}
		sum += used
	}
	return sum, true
}

// familyPIDs returns a process and its children.
func familyPIDs(pid int) []int {
	all := []int{pid}
	lists, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid))
	for _, file := range lists {
		b, _ := os.ReadFile(file)
		for _, f := range bytes.Fields(b) {
			if child, err := strconv.Atoi(string(f)); err == nil {
				all = append(all, child)
			}
		}
	}
	return all
}

// processCPU returns the CPU time of a process that has not been waited for.
func processCPU(pid int) (used time.Duration, ok bool) {
	var ts unix.Timespec
	// clock_getcpuclockid(3) builds this id of the process's CPU clock.
	err := unix.ClockGettime(int32(^pid<<3|2), &ts)
	return time.Duration(ts.Nano()), err == nil
}

// endedCPU returns the CPU time of those children of a process that have ended and been waited for, to 10 ms.
func endedCPU(pid int) time.Duration {
	b, _ := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	f := bytes.Fields(b[bytes.LastIndexByte(b, ')')+1:])
	if len(f) < 15 {
		return 0
	}
	user, _ := strconv.Atoi(string(f[13]))
	system, _ := strconv.Atoi(string(f[14]))
	return time.Duration(user+system) * 10 * time.Millisecond
}
