package cluster

import (
	"errors"
	"io"
	"os"
	"os/exec"
	"sync"
	"time"
)

// process is the process of a worker. It may have been started by the program that this process ran before
// Primary.Exec.
type process struct {
	os     *os.Process
	state  *os.ProcessState // set by wait; nil if the exit status is unknown
	output []*output
}

// output copies one stream that a process writes.
type output struct {
	pipe *os.File
	done chan struct{}

	mu      sync.Mutex
	changed sync.Cond
	held    bool // reading must stop
	resting bool // reading has stopped, and all that was read is copied
}

// pass starts to copy a pipe to a writer.
func pass(pipe *os.File, to io.Writer) *output {
	o := &output{pipe: pipe, done: make(chan struct{})}
	o.changed.L = &o.mu
	go func() { // ends with the last writer, or when the pipe is closed
		defer close(o.done)
		for {
			if _, err := io.Copy(to, pipe); !errors.Is(err, os.ErrDeadlineExceeded) {
				return
			}
			o.rest()
		}
	}()
	return o
}

// rest blocks while the output is held.
func (o *output) rest() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.resting = true
	for o.held {
		o.changed.Wait()
	}
	o.resting = false
}

// hold makes reading stop soon, as atRest reports: what was read but not copied would be lost when the program is
// replaced.
func (o *output) hold() {
	o.mu.Lock()
	o.held = true
	o.mu.Unlock()
	_ = o.pipe.SetReadDeadline(time.Unix(1, 0)) // fails if the process has ended
}

// release ends hold.
func (o *output) release() {
	_ = o.pipe.SetReadDeadline(time.Time{})
	o.mu.Lock()
	o.held = false
	o.changed.Signal()
	o.mu.Unlock()
}

// atRest reports whether reading has stopped.
func (o *output) atRest() bool {
	select {
	case <-o.done:
		return true
	default:
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.resting
}

// outlet makes a pipe that is copied to a writer. The caller gives the returned end to the process and closes it here.
// Even files are written through a pipe: a process that wrote to one directly would block when the file does.
func (p *process) outlet(to io.Writer) (theirs *os.File, err error) {
	r, w, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	p.output = append(p.output, pass(r, to))
	return w, nil
}

// wait blocks until the process has ended and its output is copied, as exec.Cmd.Wait does.
func (p *process) wait() error {
	state, err := p.os.Wait()
	p.state = state
	// Another process may have inherited the pipe and keep it open.
	limit := time.NewTimer(outputDelay)
	defer limit.Stop()
	for _, o := range p.output {
		select {
		case <-o.done:
		case <-limit.C:
			limit.Reset(0)
		}
		_ = o.pipe.Close()
		<-o.done
	}
	if err == nil && !state.Success() {
		return &exec.ExitError{ProcessState: state}
	}
	if err != nil { // another process, or the previous program, has waited for it
		return errors.Join(errors.New("exit status unknown"), err)
	}
	return nil
}

// drop stops copying.
func (p *process) drop() {
	for _, o := range p.output {
		_ = o.pipe.Close()
		<-o.done
	}
}

func (p *process) kill() { _ = p.os.Kill() } // fails if it has ended
