package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// serverNames in the order of the report: ours first.
var serverNames = []string{"expedite", "gws"}

const (
	serverCore = 0
	clientCore = 1
)

// server is a process under test. It is asked for its memory over its standard input.
type server struct {
	cmd  *exec.Cmd
	in   io.WriteCloser
	out  *bufio.Reader
	addr netip.AddrPort
}

// startServer starts a server on its core. The caller's goroutine must be locked to its thread.
func startServer(name string) (*server, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	s := &server{cmd: exec.Command(self, "server", name)}
	s.cmd.Env = append(os.Environ(), "GOMAXPROCS=1")
	s.cmd.Stderr = os.Stderr
	if s.in, err = s.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	out, err := s.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	s.out = bufio.NewReader(out)
	pin(serverCore) // the child inherits it
	err = s.cmd.Start()
	pin(clientCore)
	if err != nil {
		return nil, err
	}
	line, err := s.out.ReadString('\n')
	if err != nil {
		return nil, err
	}
	s.addr, err = netip.ParseAddrPort(strings.TrimSpace(line))
	return s, err
}

// pin keeps the calling thread on a core, if the machine has it.
func pin(core int) {
	if core >= runtime.NumCPU() {
		return
	}
	var set unix.CPUSet
	set.Set(core)
	_ = unix.SchedSetaffinity(0, &set) // without it the figures are noisier, not wrong
}

func (s *server) stop() {
	_ = s.in.Close()
	_ = s.cmd.Wait()
}

// cpu is the processor time that all threads of the server have used.
func (s *server) cpu() time.Duration {
	var sum time.Duration
	dir := fmt.Sprintf("/proc/%d/task/", s.cmd.Process.Pid)
	tasks, _ := os.ReadDir(dir)
	for _, t := range tasks {
		b, err := os.ReadFile(dir + t.Name() + "/schedstat")
		if err != nil {
			continue // the thread has ended
		}
		ns, _, _ := strings.Cut(string(b), " ")
		n, _ := strconv.ParseInt(ns, 10, 64)
		sum += time.Duration(n)
	}
	return sum
}

// memory is what a server uses.
type memory struct {
	InUse    int64 // bytes of heap objects and stacks
	Resident int64 // bytes
}

func (s *server) memory() (m memory, err error) {
	if _, err := io.WriteString(s.in, "memory\n"); err != nil {
		return m, err
	}
	line, err := s.out.ReadBytes('\n')
	if err != nil {
		return m, err
	}
	return m, json.Unmarshal(line, &m)
}

// runServer is the other side: it serves until its standard input ends.
func runServer(name string) error {
	start := map[string]func() (string, error){"expedite": startExpedite, "gws": startGWS}[name]
	if start == nil {
		return fmt.Errorf("unknown server %q", name)
	}
	addr, err := start()
	if err != nil {
		return err
	}
	fmt.Println(addr)
	in := bufio.NewReader(os.Stdin)
	for {
		if _, err := in.ReadString('\n'); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
		if err := json.NewEncoder(os.Stdout).Encode(ownMemory()); err != nil {
			return err
		}
	}
}

func ownMemory() memory {
	runtime.GC()
	debug.FreeOSMemory()
	var st runtime.MemStats
	runtime.ReadMemStats(&st)
	m := memory{InUse: int64(st.HeapAlloc + st.StackInuse)}
	if b, err := os.ReadFile("/proc/self/statm"); err == nil {
		if f := strings.Fields(string(b)); len(f) > 1 {
			pages, _ := strconv.ParseInt(f[1], 10, 64)
			m.Resident = pages * int64(os.Getpagesize())
		}
	}
	return m
}
