package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

const (
	// sampling is the time between two looks at a process.
	sampling = 100 * time.Millisecond
	// tick is the unit of the processor time in /proc.
	tick = 10 * time.Millisecond
	page = 4096
)

// usage is what a run of the tests took.
type usage struct {
	cpu  time.Duration
	idle time.Duration // the longest time in which no thread ran or wanted to run
	size int           // resident memory in bytes
}

// exceeds reports whether a run has taken so much more than the unchanged package that it does not end: it waits for
// what never comes, or it loops, or it allocates. None of that depends on how busy the machine is.
func (u usage) exceeds(unchanged usage) bool {
	return u.idle > 3*time.Second+3*unchanged.idle || u.cpu > 10*time.Second+10*unchanged.cpu ||
		u.size > 1<<30+4*unchanged.size
}

// watch looks at a process until stop is closed, or until its use exceeds a limit. Then it kills the process and
// reports true. Without /proc it returns at once.
func watch(p *os.Process, unchanged *usage, stop <-chan struct{}) (u usage, exceeded bool) {
	ticker := time.NewTicker(sampling)
	defer ticker.Stop()
	var idle time.Duration
	for {
		select {
		case <-stop:
			return u, false
		case <-ticker.C:
		}
		now, ok := look(p.Pid)
		if !ok {
			return u, false
		}
		if now.runnable || now.cpu-u.cpu > tick {
			idle = 0
		} else {
			idle += sampling
		}
		u.cpu, u.size, u.idle = now.cpu, max(u.size, now.size), max(u.idle, idle)
		if unchanged != nil && u.exceeds(*unchanged) {
			_ = p.Kill()
			return u, true
		}
	}
}

// sample is the state of a process at one moment.
type sample struct {
	cpu      time.Duration
	size     int
	runnable bool // a thread runs or waits for a processor
}

func look(pid int) (s sample, ok bool) {
	folder := filepath.Join("/proc", strconv.Itoa(pid))
	fields, ok := stat(folder)
	if !ok {
		return s, false
	}
	for _, i := range []int{11, 12} { // utime, stime
		n, err := strconv.Atoi(fields[i])
		if err != nil {
			return s, false
		}
		s.cpu += time.Duration(n) * tick
	}
	pages, err := strconv.Atoi(fields[21])
	if err != nil {
		return s, false
	}
	s.size = pages * page
	threads, err := filepath.Glob(folder + "/task/*")
	if err != nil {
		return s, false
	}
	for _, t := range threads {
		if f, ok := stat(t); ok && f[0] != "S" {
			s.runnable = true
		}
	}
	return s, true
}

// watches reports whether this system shows what a process uses.
func watches() bool {
	_, ok := look(os.Getpid())
	return ok
}

// stat returns the fields of a stat file of /proc from the state on, which comes after the name in parentheses.
func stat(folder string) ([]string, bool) {
	b, err := os.ReadFile(folder + "/stat")
	if err != nil {
		return nil, false
	}
	text := string(b)
	fields := strings.Fields(text[strings.LastIndexByte(text, ')')+1:])
	return fields, len(fields) > 21
}

// runWatched runs a command and watches it. The command must have ended before it returns.
func runWatched(cmd *exec.Cmd, unchanged *usage) (u usage, exceeded bool, err error) {
	if err := cmd.Start(); err != nil {
		return u, false, err
	}
	stop, ended := make(chan struct{}), make(chan struct{})
	go func() { // ends when the command has ended
		defer close(ended)
		u, exceeded = watch(cmd.Process, unchanged, stop)
	}()
	err = cmd.Wait()
	close(stop)
	<-ended
	u.cpu = cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()
	return u, exceeded, err
}
