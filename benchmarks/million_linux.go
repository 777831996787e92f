package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// million is a run of the million benchmark, with server and clients on one machine.
type million struct {
	connections, perProcess int
	rate                    int
	report                  string
	tls                     bool

	dir, command, control, addr string
	server, clients             *exec.Cmd
	clientOut                   *bytes.Buffer
	workers                     int
	crowd                       []*child // the clients, with TLS
	began                       time.Time
	base                        usage // of the server before the first client
	res                         millionResult
}

// millionResult holds the figures that the benchmark measures.
type millionResult struct {
	Connections, Workers     int
	Opened                   int // of Connections; less if some failed
	Open                     time.Duration
	OpenCPU, OpenClientCPU   time.Duration // of the server and of the clients
	BasePerWorker            float64       // bytes of private memory before the first client
	UserPerConnection        float64       // bytes of private memory beyond the base, of workers and primary
	PrimaryPerConnection     float64       // the primary's part of it
	KernelPerSocket          float64       // bytes of slab memory
	Idle                     float64       // cores used by the server
	IdleTime                 time.Duration
	Publish                  time.Duration
	Reload                   time.Duration
	Moved, Failed, Drained   int
	AfterReload              float64 // UserPerConnection after the reload
	TLS                      bool
	UserPerClient            float64 // with TLS
	Lost                     int
	Received                 int
	ClientCPU                time.Duration
	ClientFailed, ClientPeak int
	Free                     float64 // lowest MemAvailable seen, in GiB
}

// status is the part of `expedite status --json` that the benchmark uses.
type status struct {
	PID       int      `json:"pid"`
	Addresses []string `json:"addresses"`
	Workers   []struct {
		PID         int    `json:"pid"`
		State       string `json:"state"`
		Connections int    `json:"connections"`
	} `json:"workers"`
	Totals struct {
		Connections int    `json:"connections"`
		MessagesOut uint64 `json:"messages_out"`
	} `json:"totals"`
}

const (
	millionPatience = 20 * time.Minute
	stuckTime       = time.Minute     // after this time without a new connection, the rest counts as failed
	idleTime        = 2 * time.Minute // the runtime forces a garbage collection at least once in this time
	// settleTime is how long the workers need to detect that they are idle and to release memory.
	settleTime   = time.Minute
	millionTopic = "lobby"
)

// runMillion opens the connections, each with an identity, a session and a subscription. It then publishes to all of
// them, moves all of them and closes them.
func runMillion(args []string) error {
	m := &million{clientOut: new(bytes.Buffer), began: time.Now()}
	flags := flag.NewFlagSet("million", flag.ExitOnError)
	flags.IntVar(&m.connections, "n", 1_000_000, "connections")
	flags.IntVar(&m.perProcess, "per-worker", 18_900, "connections of a worker, or of a process of clients")
	flags.IntVar(&m.rate, "rate", 2200, "connections opened per second")
	flags.BoolVar(&m.tls, "tls", false, "wss:// without identities: clients that cost little, in processes of their own")
	flags.StringVar(&m.report, "o", "", "file for the report; empty prints only")
	if err := flags.Parse(args); err != nil {
		return err
	}
	m.workers = max((m.connections+m.perProcess-1)/m.perProcess, 2)
	m.res.Connections, m.res.Workers, m.res.Free = m.connections, m.workers, 1e9
	dir, err := os.MkdirTemp("", "million")
	if err != nil {
		return err
	}
	m.res.TLS = m.tls
	if m.tls {
		remove, err := certify()
		if err != nil {
			return err
		}
		defer remove()
	}
	m.dir, m.command, m.control = dir, filepath.Join(dir, "expedite"), filepath.Join(dir, "c")
	defer os.RemoveAll(dir)
	defer m.end()
	go m.watch()
	for _, step := range []struct {
		name string
		do   func() error
	}{
		{"build", m.build},
		{"serve", m.serve},
		{"open", pick(m.tls, m.openSealed, m.open)},
		{"measure", m.measure},
		{"publish", m.publish},
		{"reload", m.reload},
		{"close", pick(m.tls, m.closeSealed, m.close)},
	} {
		m.say("%s", step.name)
		if err := step.do(); err != nil {
			return fmt.Errorf("million: %s: %w", step.name, err)
		}
	}
	text := m.res.text()
	fmt.Print(text)
	if m.report != "" {
		if err := os.WriteFile(m.report, []byte(text), 0o644); err != nil {
			return err
		}
	}
	return m.res.verdict()
}

// say prints progress to standard error.
func (m *million) say(format string, args ...any) {
	fmt.Fprintf(os.Stderr, "%6.1f s  %s\n", time.Since(m.began).Seconds(), fmt.Sprintf(format, args...))
}

// watch reports when the machine did not schedule this process for a second or more. It ends with the process.
func (m *million) watch() {
	const period, late = 100 * time.Millisecond, time.Second
	for last := time.Now(); ; {
		time.Sleep(period)
		now := time.Now()
		if gap := now.Sub(last) - period; gap > late {
			m.say("the machine has held this process for %.1f s", gap.Seconds())
		}
		last = now
	}
}

func (m *million) build() error {
	build := exec.Command("go", "build", "-C", "..", "-o", m.command, "./cmd/expedite") // separate module
	build.Stderr = os.Stderr
	return build.Run()
}

// serve starts the server and measures its memory before the first client.
func (m *million) serve() error {
	var secret [32]byte
	_, _ = rand.Read(secret[:]) // never fails: crypto/rand ends the process instead
	env := append(os.Environ(), "EXPEDITE_AUTH_SECRET="+hex.EncodeToString(secret[:]))
	m.server = exec.Command(m.command, "serve", "--addr", "127.0.0.1:0", "--admin", "off", "--control", m.control,
		"--workers", strconv.Itoa(m.workers), "--log-level", "warn", "--ping-interval", "0s", "--idle-timeout", "0s")
	if m.tls {
		files := serverTLS("expedite tls")
		m.server.Args = append(m.server.Args, "--tls-cert", files.Cert[0], "--tls-key", files.Key[0])
	} else {
		m.server.Args = append(m.server.Args, "--auth", "required")
	}
	m.server.Env, m.server.Dir = env, m.dir
	m.server.Stderr = os.Stderr
	if err := m.server.Start(); err != nil {
		return err
	}
	m.clients = exec.Command(m.command)
	m.clients.Env, m.clients.Dir = env, m.dir
	st, err := m.await("all workers are ready", func(st status) bool {
		for _, w := range st.Workers {
			if w.State != "ready" {
				return false
			}
		}
		return len(st.Workers) == m.workers && len(st.Addresses) > 0
	})
	if err != nil {
		return err
	}
	m.addr = st.Addresses[0]
	if m.base, err = m.usage(); err != nil {
		return err
	}
	m.res.BasePerWorker = m.base.workers / float64(m.workers)
	return nil
}

// open starts the clients and waits until all are connected.
func (m *million) open() error {
	m.clients.Args = append(m.clients.Args, "bench", "ws://"+m.addr+"/", "--connections", strconv.Itoa(m.connections),
		"--ramp", fmt.Sprint(m.rate, "/s"), "--mode", "idle", "--duration", "0s", "--timeout", "60s",
		"--token-key", "EXPEDITE_AUTH_SECRET", "--json",
		"--processes", strconv.Itoa((m.connections+m.perProcess-1)/m.perProcess))
	m.clients.Stdout = m.clientOut
	progress, err := m.clients.StderrPipe()
	if err != nil {
		return err
	}
	start := time.Now()
	if err := m.clients.Start(); err != nil {
		return err
	}
	go func() { // ends with the clients
		lines := bufio.NewScanner(progress)
		for lines.Scan() {
			m.say("clients: %s", lines.Text())
		}
	}()
	if err := m.awaitOpen(start); err != nil {
		return err
	}
	m.res.OpenClientCPU, err = m.clientCPU()
	return err
}

// awaitOpen waits until all clients are connected, or no more come.
func (m *million) awaitOpen(start time.Time) error {
	said, grown, open := start, start, 0
	_, err := m.await("all are connected", func(st status) bool {
		now := time.Now()
		if now.Sub(said) > 10*time.Second {
			said = now
			m.say("%d connected", st.Totals.Connections)
		}
		if st.Totals.Connections != open {
			open, grown = st.Totals.Connections, now
		}
		return open >= m.connections || now.Sub(grown) > stuckTime
	})
	if err != nil {
		return err
	}
	m.res.Opened, m.res.Open = open, grown.Sub(start)
	if open < m.connections {
		m.say("only %d connected: continuing with these", open)
	}
	m.res.OpenCPU, err = m.cpu()
	return err
}

// measure measures memory and CPU time while the server is idle.
func (m *million) measure() error {
	time.Sleep(settleTime)
	u, err := m.usage()
	if err != nil {
		return err
	}
	n := float64(m.res.Opened)
	m.res.UserPerConnection = (u.workers + u.primary - m.base.workers - m.base.primary) / n
	m.res.PrimaryPerConnection = (u.primary - m.base.primary) / n
	m.res.KernelPerSocket = (u.slab - m.base.slab) / n / 2
	before, err := m.cpu()
	if err != nil {
		return err
	}
	time.Sleep(idleTime)
	after, err := m.cpu()
	m.res.Idle, m.res.IdleTime = (after-before).Seconds()/idleTime.Seconds(), idleTime
	return err
}

// publish publishes one message to all connections.
func (m *million) publish() error {
	st, err := m.status()
	if err != nil {
		return err
	}
	want := st.Totals.MessagesOut + uint64(m.res.Opened)
	start := time.Now()
	if err := m.run("publish", millionTopic, "one message to all"); err != nil {
		return err
	}
	_, err = m.await("all have received the message", func(st status) bool { return st.Totals.MessagesOut >= want })
	m.res.Publish = time.Since(start)
	return err
}

// reload moves all connections to new workers.
func (m *million) reload() error {
	start := time.Now()
	out, err := exec.Command(m.command, "reload", "--json", "--control", m.control).Output()
	m.res.Reload = time.Since(start)
	if err != nil {
		return fmt.Errorf("%w: %s", err, out)
	}
	lines := bytes.Split(bytes.TrimSpace(out), []byte("\n"))
	var r struct{ Moved, Failed, Drained int }
	if err := json.Unmarshal(bytes.TrimSpace(out), &r); err != nil {
		if err := json.Unmarshal(lines[len(lines)-1], &r); err != nil {
			return fmt.Errorf("%w: %s", err, out)
		}
	}
	m.res.Moved, m.res.Failed, m.res.Drained = r.Moved, r.Failed, r.Drained
	time.Sleep(settleTime)
	u, err := m.usage()
	m.res.AfterReload = (u.workers + u.primary - m.base.workers - m.base.primary) / float64(m.res.Opened)
	return err
}

// close stops the clients and reads their report.
func (m *million) close() error {
	if err := m.clients.Process.Signal(os.Interrupt); err != nil {
		return err
	}
	err := m.clients.Wait()
	if m.clients.ProcessState != nil {
		m.res.ClientCPU = m.clients.ProcessState.SystemTime() + m.clients.ProcessState.UserTime()
	}
	if err != nil {
		return fmt.Errorf("the clients: %w: %s", err, m.clientOut)
	}
	var r struct {
		Connections struct {
			Failed, Peak int
			Closed       map[string]int
		}
		Messages struct{ Received int }
		Errors   map[string]int
	}
	if err := json.Unmarshal(m.clientOut.Bytes(), &r); err != nil {
		return fmt.Errorf("the clients: %w: %s", err, m.clientOut)
	}
	for _, n := range r.Connections.Closed {
		m.res.Lost += n
	}
	for cause, n := range r.Errors {
		m.say("clients: %d failed: %s", n, cause)
	}
	m.res.ClientFailed, m.res.ClientPeak, m.res.Received = r.Connections.Failed, r.Connections.Peak, r.Messages.Received
	return nil
}

// end stops the processes that were started.
func (m *million) end() {
	for _, c := range m.crowd {
		c.stop()
	}
	for _, c := range []*exec.Cmd{m.clients, m.server} {
		if c == nil || c.Process == nil || c.ProcessState != nil {
			continue
		}
		_ = c.Process.Signal(os.Interrupt)
		stop := time.AfterFunc(time.Minute, func() { _ = c.Process.Signal(syscall.SIGKILL) })
		_ = c.Wait()
		stop.Stop()
	}
}

func (m *million) run(args ...string) error {
	out, err := exec.Command(m.command, append(args, "--control", m.control)...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("%w: %s", err, out)
	}
	return nil
}

func (m *million) status() (st status, err error) {
	out, err := exec.Command(m.command, "status", "--json", "--control", m.control).Output()
	if err != nil {
		return st, err
	}
	return st, json.Unmarshal(out, &st)
}

// await polls the status until ok accepts it.
func (m *million) await(what string, ok func(status) bool) (st status, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), millionPatience)
	defer cancel()
	tick := time.NewTicker(m.patience())
	defer tick.Stop()
	for {
		if st, err = m.status(); err == nil && ok(st) {
			return st, nil
		}
		m.res.Free = min(m.res.Free, available())
		select {
		case <-tick.C:
		case <-ctx.Done():
			return st, errors.Join(fmt.Errorf("timed out waiting until %s; %d connected", what, st.Totals.Connections), err)
		}
	}
}

// patience returns the polling interval. Each poll starts a process, which is noticeable with a million connections on
// two cores.
func (m *million) patience() time.Duration {
	if m.connections > 100_000 {
		return 2 * time.Second
	}
	return 250 * time.Millisecond
}

// available returns the available memory in GiB.
func available() float64 { return memoryInfo("MemAvailable") / (1 << 30) }

// memoryInfo returns a value of /proc/meminfo in bytes, or 0 if there is none.
func memoryInfo(name string) float64 {
	b, err := os.ReadFile("/proc/meminfo")
	if err != nil {
		return 0
	}
	for line := range strings.SplitSeq(string(b), "\n") {
		f := strings.Fields(line)
		if len(f) > 1 && f[0] == name+":" {
			kib, _ := strconv.ParseFloat(f[1], 64)
			return kib * 1024
		}
	}
	return 0
}
