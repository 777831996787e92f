package cluster

import (
	"errors"
	"io"
	"os"
	"os/exec"
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
}

// pass starts to pass on what comes out of a pipe.
func pass(pipe *os.File, to io.Writer) *output {
	o := &output{pipe: pipe, done: make(chan struct{})}
	go func() { // ends with the last writer, or when the pipe is closed
		defer close(o.done)
		_, _ = io.Copy(to, pipe)
	}()
	return o
}

// outlet is where a process may write so that it is passed on to a writer; the process's end has to be closed here. A
// file needs nobody to pass on.
func (p *process) outlet(to io.Writer) (theirs *os.File, ours bool, err error) {
	if f, ok := to.(*os.File); ok {
		return f, false, nil
	}
	r, w, err := os.Pipe()
	if err != nil {
		return nil, false, err
	}
	p.output = append(p.output, pass(r, to))
	return w, true, nil
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
