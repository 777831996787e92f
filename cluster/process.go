package cluster

import (
	"errors"
	"io"
	"os"
	"os/exec"
	"sync"
	"time"
)

// process is a worker's process. The program that started it may have been another one, in this same process: see
// Primary.Exec.
type process struct {
	os     *os.Process
	state  *os.ProcessState // how it ended; after wait, nil if that is not known
	output []*output
}

// output passes on what a process writes.
type output struct {
	pipe *os.File
	done chan struct{}

	mu      sync.Mutex
	changed sync.Cond
	held    bool // nothing is to be read
	resting bool // nothing is read, and all that was is passed on
}

// pass starts to pass on what comes out of a pipe.
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

// rest waits while the output is held.
func (o *output) rest() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.resting = true
	for o.held {
		o.changed.Wait()
	}
	o.resting = false
}

// hold stops the reading: what is read and not passed on would be lost with the program. It comes to rest later.
func (o *output) hold() {
	o.mu.Lock()
	o.held = true
	o.mu.Unlock()
	_ = o.pipe.SetReadDeadline(time.Unix(1, 0)) // it may have ended
}

// release ends hold.
func (o *output) release() {
	_ = o.pipe.SetReadDeadline(time.Time{})
	o.mu.Lock()
	o.held = false
	o.changed.Signal()
	o.mu.Unlock()
}

// atRest says whether hold has had its effect.
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

// outlet is where a process may write so that it is passed on to a writer; the process's end has to be closed here.
// Files are no exception: a process that had one of its own would wait when that takes nothing.
func (p *process) outlet(to io.Writer) (theirs *os.File, err error) {
	r, w, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	p.output = append(p.output, pass(r, to))
	return w, nil
}

// wait waits for the end of the process, and of what it had to say, as exec.Cmd.Wait does.
func (p *process) wait() error {
	state, err := p.os.Wait()
	p.state = state
	// Whoever inherited the process's standard error must not keep us waiting for its end.
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
	if err != nil { // it ended while nobody looked
		return errors.Join(errors.New("its end was not seen"), err)
	}
	return nil
}

// drop stops passing on.
func (p *process) drop() {
	for _, o := range p.output {
		_ = o.pipe.Close()
		<-o.done
	}
}

func (p *process) kill() { _ = p.os.Kill() } // it may have ended by now
