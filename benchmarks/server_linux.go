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

	"github.com/lxzan/gws"
	"golang.org/x/sys/unix"

	"github.com/expedite-go/expedite"
)

// serverNames lists the servers in report order, Expedite first.
var serverNames = []string{"expedite", "gws"}

const (
	serverCore = 0
	clientCore = 1
)

// child is a process that runs this program in another role. It ends when its standard input ends.
type child struct {
	cmd *exec.Cmd
	in  io.WriteCloser
	out *bufio.Reader
}

// startChild starts this program with the given arguments and additional environment.
func startChild(env []string, args ...string) (*child, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	return startProgram(self, env, args...)
}

// startProgram starts a build of this program, this one or another.
func startProgram(path string, env []string, args ...string) (*child, error) {
	c := &child{cmd: exec.Command(path, args...)}
	c.cmd.Env = append(os.Environ(), env...)
	c.cmd.Stderr = os.Stderr
	in, err := c.cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	c.in = in
	out, err := c.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	c.out = bufio.NewReader(out)
	return c, c.cmd.Start()
}

// address reads the first line of a server's output, its address.
func (c *child) address() (netip.AddrPort, error) {
	line, err := c.out.ReadString('\n')
	if err != nil {
		return netip.AddrPort{}, err
	}
	return netip.ParseAddrPort(strings.TrimSpace(line))
}

// stop stops the process.
func (c *child) stop() {
	_ = c.in.Close()
	_ = c.cmd.Wait()
}

// server is a process under test. It reports its memory when asked on its standard input.
type server struct {
	*child
	addr netip.AddrPort
}

// startServer starts a server on its core: one of serverNames, or that of an earlier build of this program, named by
// its file. The calling goroutine must be locked to its thread.
func startServer(name string) (*server, error) {
	path, err := os.Executable()
	if serverOf(name) == nil {
		path, name = name, serverNames[0]
	}
	if err != nil {
		return nil, err
	}
	pin(serverCore) // the child inherits it
	c, err := startProgram(path, []string{"GOMAXPROCS=1"}, "server", name)
	pin(clientCore)
	if err != nil {
		return nil, err
	}
	addr, err := c.address()
	return &server{child: c, addr: addr}, err
}

// pin binds the calling thread to a core, if the machine has that core.
func pin(core int) {
	if core >= runtime.NumCPU() {
		return
	}
	var set unix.CPUSet
	set.Set(core)
	_ = unix.SchedSetaffinity(0, &set) // on failure, the figures are noisier but still valid
}

// cpu returns the CPU time of all threads of the server.
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

// memory is the memory use of a server.
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

// runServer runs the server process until its standard input ends.
func runServer(args []string) error {
	name := strings.Join(args, " ")
	start := serverOf(name)
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

// serverOf returns the function that starts a server, or nil if no server has that name.
func serverOf(name string) func() (string, error) {
	takeover := gws.PermessageDeflate{Enabled: true, ServerContextTakeover: true, ClientContextTakeover: true}
	return map[string]func() (string, error){
		"expedite":          expediteServer(expedite.CompressionOff, false),
		"expedite off":      expediteServer(expedite.CompressionOff, false),
		"expedite shared":   expediteServer(expedite.CompressionShared, false),
		"expedite takeover": expediteServer(expedite.CompressionTakeover, false),
		"expedite each":     expediteServer(expedite.CompressionShared, true),
		"expedite tls":      expediteTLS("expedite tls"),
		"expedite tls std":  expediteTLS("expedite tls std"),
		"gws tls":           gwsTLS,
		"bare tls":          bareTLS,
		"gws":               gwsServer(gws.PermessageDeflate{}),
		"gws shared":        gwsServer(gws.PermessageDeflate{Enabled: true}),
		"gws takeover":      gwsServer(takeover),
	}[name]
}
