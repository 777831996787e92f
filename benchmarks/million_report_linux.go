package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// usage is memory in bytes: the private memory of the processes, and the kernel's slab.
type usage struct{ workers, primary, slab float64 }

// usage measures the server.
func (m *million) usage() (u usage, err error) {
	st, err := m.status()
	if err != nil {
		return u, err
	}
	if u.primary, err = privateMemory(st.PID); err != nil {
		return u, err
	}
	for _, w := range st.Workers {
		b, err := privateMemory(w.PID)
		if err != nil {
			return u, err
		}
		u.workers += b
	}
	u.slab = memoryInfo("Slab")
	return u, nil
}

// privateMemory returns the memory that a process does not share with others.
func privateMemory(pid int) (bytes float64, err error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", pid))
	if err != nil {
		return 0, err
	}
	for line := range strings.SplitSeq(string(b), "\n") {
		f := strings.Fields(line)
		if len(f) > 1 && (f[0] == "Private_Clean:" || f[0] == "Private_Dirty:") {
			kib, err := strconv.ParseFloat(f[1], 64)
			if err != nil {
				return 0, err
			}
			bytes += kib * 1024
		}
	}
	return bytes, nil
}

// cpu returns the CPU time of the server's current processes since their start. It excludes processes that a reload has
// ended.
func (m *million) cpu() (time.Duration, error) {
	st, err := m.status()
	if err != nil {
		return 0, err
	}
	pids := []int{st.PID}
	for _, w := range st.Workers {
		pids = append(pids, w.PID)
	}
	return processorTime(pids)
}

// clientCPU returns the CPU time of the client processes since their start.
func (m *million) clientCPU() (time.Duration, error) {
	parent := m.clients.Process.Pid
	pids := []int{parent}
	all, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		return 0, err
	}
	for _, dir := range all {
		pid, err := strconv.Atoi(filepath.Base(dir))
		if err != nil {
			return 0, err
		}
		if f, err := processStat(pid); err == nil && f[1] == strconv.Itoa(parent) { // processes may end meanwhile
			pids = append(pids, pid)
		}
	}
	return processorTime(pids)
}

// processStat returns the fields of /proc/PID/stat after the name: state, parent and so on.
func processStat(pid int) ([]string, error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return nil, err
	}
	return strings.Fields(string(b[bytes.LastIndexByte(b, ')')+1:])), nil
}

// processorTime returns the CPU time of processes since their start.
func processorTime(pids []int) (sum time.Duration, err error) {
	for _, pid := range pids {
		f, err := processStat(pid)
		if err != nil {
			return 0, err
		}
		for _, text := range f[11:13] { // utime and stime, in ticks of 10 ms
			ticks, err := strconv.ParseInt(text, 10, 64)
			if err != nil {
				return 0, err
			}
			sum += time.Duration(ticks) * 10 * time.Millisecond
		}
	}
	return sum, nil
}

// Targets; verdict warns if a figure exceeds its target.
const (
	wantUser    = 1229 // bytes: 1.2 KiB
	wantUserTLS = 2304 // bytes: 2.25 KiB
	wantBase    = 12 << 20
	wantIdle    = 0.02
	wantPublish = 15 * time.Second
)

// text returns the report in Markdown.
func (r *millionResult) text() string {
	var b strings.Builder
	var name unix.Utsname
	_ = unix.Uname(&name) // on failure, the report omits the kernel version
	fmt.Fprintf(&b, "# %d connections on one machine, both ends\n\n", r.Connections)
	command, each := "make million", "Each client has a token of its own (HS256), a session in the primary, "+
		"and a subscription to the topic of the lobby."
	if r.TLS {
		command, each = "make million-tls", "Each client uses TLS 1.3 and has a subscription to the topic of the lobby."
	}
	fmt.Fprintf(&b, "`N=%d %s` on %s, Linux %s, %d cores, %.0f GiB.\n%s\n%d workers; pings are off.\n\n",
		r.Connections, command, time.Now().Format("2006-01-02"), unix.ByteSliceToString(name.Release[:]), cores(),
		memoryInfo("MemTotal")/(1<<30), each, r.Workers)
	fmt.Fprintf(&b, "| | | wanted |\n|---|---|---|\n")
	row := func(what, got, want string) { fmt.Fprintf(&b, "| %s | %s | %s |\n", what, got, want) }
	row("opened", fmt.Sprint(r.Opened), fmt.Sprint(r.Connections))
	row("time to open them", fmt.Sprintf("%.0f s (%.0f CPU-s of the server, %.0f of the clients)",
		r.Open.Seconds(), r.OpenCPU.Seconds(), r.OpenClientCPU.Seconds()), "")
	row("user memory per connection, workers and primary", fmt.Sprintf("%.0f bytes (%.0f of them in the primary)",
		r.UserPerConnection, r.PrimaryPerConnection), pick(r.TLS, "2,304 (2.25 KiB)", "1,229 (1.2 KiB)"))
	row("the same after the reload", fmt.Sprintf("%.0f bytes", r.AfterReload), "")
	row("base of a worker, before the first client", fmt.Sprintf("%.1f MiB", r.BasePerWorker/(1<<20)), "12 MiB")
	row("kernel memory (slab) per socket", fmt.Sprintf("%.0f bytes", r.KernelPerSocket), "")
	row("processors while idle", fmt.Sprintf("%.1f %% of one core, over %.0f s", 100*r.Idle, r.IdleTime.Seconds()), "2 %")
	row("one message to all", fmt.Sprintf("%.1f s", r.Publish.Seconds()), "15 s")
	row("reload that moves all", fmt.Sprintf("%.0f s: %d moved, %d failed, %d drained",
		r.Reload.Seconds(), r.Moved, r.Failed, r.Drained), "0 failed")
	row("connections lost", fmt.Sprint(r.Lost), "0")
	row("messages that clients received", fmt.Sprintf("%d of %d", r.Received, r.messages()), "all")
	if r.TLS {
		row("user memory per client", fmt.Sprintf("%.0f bytes", r.UserPerClient), "")
	}
	row("clients", fmt.Sprintf("%.0f CPU-s; %d failed, %d open at most",
		r.ClientCPU.Seconds(), r.ClientFailed, r.ClientPeak), "")
	row("least memory available", fmt.Sprintf("%.1f GiB", r.Free), "")
	return b.String()
}

// messages returns how many the clients receive: a greeting, which those with TLS do not count, and the publication.
func (r *millionResult) messages() int {
	if r.TLS {
		return r.Opened
	}
	return 2 * r.Opened
}

// verdict returns an error if a connection or message was lost. Memory and times beyond their targets only cause a
// warning.
func (r *millionResult) verdict() error {
	switch {
	case r.Opened < r.Connections:
		return fmt.Errorf("million: %d of %d connections opened", r.Opened, r.Connections)
	case r.Lost > 0 || r.ClientFailed > 0 || r.Failed+r.Drained > 0:
		return errors.New("million: connections were lost")
	case r.Moved < r.Opened:
		return fmt.Errorf("million: %d of %d connections moved", r.Moved, r.Opened)
	case r.Received < r.messages():
		return fmt.Errorf("million: the clients received %d messages, want %d", r.Received, r.messages())
	case r.UserPerConnection > pick[float64](r.TLS, wantUserTLS, wantUser) || r.BasePerWorker > wantBase ||
		r.Idle > wantIdle || r.Publish > wantPublish:
		fmt.Fprintln(os.Stderr, "million: a figure exceeds its target, see the table")
	}
	return nil
}

func cores() int {
	var set unix.CPUSet
	if err := unix.SchedGetaffinity(0, &set); err != nil {
		return 0
	}
	return set.Count()
}
