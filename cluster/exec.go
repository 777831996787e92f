package cluster

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"time"
)

// ErrExec says that the program could not be replaced; the primary goes on as it was.
var ErrExec = errors.New("cluster: primary not replaced")

// errNotTaken says that a worker hangs.
var errNotTaken = errors.New("a worker does not take the connections that were passed to it")

// ExecOptions tell what goes along when a primary replaces itself.
type ExecOptions struct {
	// State is called when nothing comes from workers any more, and Worker.Send takes nothing (it fails with
	// ErrOverloaded): what it returns is given to the next program as Inheritance.State. It is called once before that,
	// too, for the trial. Nil is nothing.
	State func() ([]byte, error)
	// Answered receives what the next program, on trial, gave to Inheritance.Answer; nothing if it gave none. It returns
	// entries (NAME=value) of the environment of all processes of that program, and further ones of its workers, which
	// win over Settings.Env. An error refuses the program. Nil changes nothing.
	Answered func(answer []byte) (env, workers []string, err error)
	// Files go along by name, for Inheritance.File. They stay open here if the exec fails.
	Files map[string]*os.File
	// Before is called last, when it is certain that the program is able to go on. Nil is nothing.
	Before func()
}

const (
	// quietLimit is how long workers may take to let the primary come to rest.
	quietLimit = 3 * time.Second
	// holdLimit is how long Send may fail, and the primary's own goroutine stand still, because the last messages to
	// workers leave.
	holdLimit = 500 * time.Millisecond
	// flushLimit is how long Stdout and Stderr may take what workers have written. The rest is dropped.
	flushLimit = 100 * time.Millisecond
	// checkLimit is how long the next program may take to say that it could go on.
	checkLimit = 30 * time.Second
	// maxAnswer is the number of bytes that are read of the answer of a program on trial.
	maxAnswer = 1 << 20
)

// Exec replaces the program of this process by the one that is on disk now, in place: the process, its children, its
// sockets and what is on its way stay. The next program must call Inherit and Start. On success it does not return.
// With an error nothing has changed: ErrBusy while connections move, ErrExec if a worker does not let the primary
// come to rest or if the program on disk says, when it is tried first, that it could not go on.
func (p *Primary) Exec(ctx context.Context, o ExecOptions) error {
	if !p.rolling.CompareAndSwap(false, true) {
		return ErrBusy
	}
	defer p.rolling.Store(false)
	if p.hasEnded() || p.isStopping() {
		return ErrStopped
	}
	defer p.closePrograms()
	next, err := p.execProgram()
	if err == nil && !p.wasTried(next) {
		err = p.tryNext(ctx, next, o)
	}
	if err != nil {
		return fmt.Errorf("%w: %w", ErrExec, err)
	}
	wake, err := p.rest(ctx)
	if err == nil {
		p.doNow(func() { err = p.holdAndExec(next, o) })
	}
	wake()
	return fmt.Errorf("%w: %w", ErrExec, err)
}

// tryNext runs the program on disk with a copy of the state, to see whether it could go on.
func (p *Primary) tryNext(ctx context.Context, next *program, o ExecOptions) error {
	var h *inheritance
	p.doNow(func() { h, _ = p.inheritance(nil) })
	if h == nil {
		return ErrStopped
	}
	f, err := o.seal(h)
	if err != nil {
		return err
	}
	defer f.Close()
	ctx, cancel := context.WithTimeout(ctx, checkLimit)
	defer cancel()
	answer, err := memoryFile("answer")
	if err != nil {
		return err
	}
	defer answer.Close()
	cmd := exec.CommandContext(ctx, next.path, os.Args[1:]...)
	cmd.Dir = next.dir
	cmd.ExtraFiles = []*os.File{f}
	cmd.Env = append(os.Environ(), inheritanceEnv+"="+fmt.Sprintf(inheritanceFormat, linkFD, true))
	next.setCommand(cmd)
	cmd.ExtraFiles = append(cmd.ExtraFiles, answer)
	cmd.Env = append(cmd.Env, fmt.Sprintf("%s=%d", answerEnv, linkFD+len(cmd.ExtraFiles)-1))
	cmd.WaitDelay = outputDelay
	out, err := cmd.CombinedOutput()
	if err != nil {
		return &TrialError{Program: next.path, Err: err, Output: string(out[max(len(out)-tailSize, 0):])}
	}
	if o.Answered == nil {
		return nil
	}
	b, err := io.ReadAll(io.NewSectionReader(answer, 0, maxAnswer))
	if err != nil {
		return err
	}
	next.env, next.workerEnv, err = o.Answered(b)
	return err
}

// seal writes an inheritance, with the application's part, where the next program finds it.
func (o *ExecOptions) seal(h *inheritance) (*os.File, error) {
	app, err := o.state()
	if err != nil {
		return nil, err
	}
	b, err := h.encode(app)
	if err != nil {
		return nil, err
	}
	return sealed(b)
}

func (o *ExecOptions) state() ([]byte, error) {
	if o.State == nil {
		return nil, nil
	}
	return o.State()
}

// rest brings everything to rest: nothing is accepted, read or waiting to be written. wake, which must be called in any
// case, ends that.
func (p *Primary) rest(ctx context.Context) (wake func(), err error) {
	ctx, cancel := context.WithTimeout(ctx, quietLimit)
	defer cancel()
	var undo []func()
	wake = func() {
		for _, f := range slices.Backward(undo) {
			f()
		}
	}
	for _, a := range p.acceptorList() {
		if a.isOn() {
			a.set(false)
			undo = append(undo, func() { a.set(true) })
		}
		if until(ctx, a.busy.TryLock) != nil { // what it has accepted finds no room
			return wake, errNotTaken
		}
		undo = append(undo, a.busy.Unlock)
	}
	if err := until(ctx, p.disp.idle); err != nil {
		return wake, errNotTaken
	}
	for _, w := range p.Workers() {
		if w.IsDead() || !w.link.pause() {
			continue
		}
		undo = append(undo, w.link.resume)
	}
	p.doNow(func() {}) // what was read before is done
	for _, w := range p.Workers() {
		for _, o := range w.proc.output {
			o.hold()
			undo = append(undo, o.release)
			if until(ctx, o.atRest) != nil {
				return wake, fmt.Errorf("worker %d does not cease to write", w.slot)
			}
		}
	}
	flush(flushLimit, p.outlets.queues()...)
	for _, w := range p.Workers() {
		if err := w.awaitIdle(ctx); err != nil {
			return wake, err
		}
	}
	return wake, nil
}

func (p *Primary) acceptorList() (list []*acceptor) {
	p.doNow(func() { list = slices.Clone(p.acceptors) })
	return list
}

// until waits until ok, asking again and again.
func until(ctx context.Context, ok func() bool) error {
	tick := time.NewTicker(200 * time.Microsecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	return nil
}

// holdAndExec takes no more messages for workers: one that was taken after ExecOptions.State was called, and that the
// application does not know to be sent, would be lost or come twice. On the run loop, at rest.
func (p *Primary) holdAndExec(next *program, o ExecOptions) error {
	if p.stopping {
		return ErrStopped
	}
	for _, w := range p.Workers() {
		w.link.hold()
		defer w.link.release()
	}
	ctx, cancel := context.WithTimeout(context.Background(), holdLimit)
	defer cancel()
	for _, w := range p.Workers() { // what has come since they were at rest
		if err := w.awaitIdle(ctx); err != nil {
			return err
		}
	}
	flush(flushLimit, p.logs)
	for _, q := range p.outlets.queues() {
		q.Drop() // it would be lost uncounted
	}
	return p.exec(next, o)
}

// awaitIdle waits until nothing waits to be written to a worker.
func (w *Worker) awaitIdle(ctx context.Context) error {
	if until(ctx, func() bool { return w.link.idle() || !w.link.connected() }) != nil {
		return fmt.Errorf("worker %d does not read what was sent to it", w.slot)
	}
	return nil
}

// isStopping says whether Drain or Stop was called.
func (p *Primary) isStopping() (yes bool) {
	p.doNow(func() { yes = p.stopping })
	return yes
}

// exec leaves everything to the next program. It returns if that has failed. On the run loop, at rest.
func (p *Primary) exec(next *program, o ExecOptions) error {
	var fds []int
	defer func() { closeFDs(fds) }()
	h, err := p.inheritance(&fds)
	if err != nil {
		return err
	}
	h.Files = make(map[string]int)
	for name, f := range o.Files {
		fd, err := duplicate(f)
		if err != nil {
			return err
		}
		fds = append(fds, fd)
		h.Files[name] = fd
	}
	f, err := o.seal(h)
	if err != nil {
		return err
	}
	defer f.Close()
	fd, err := duplicate(f)
	if err != nil {
		return err
	}
	fds = append(fds, fd)
	if o.Before != nil {
		o.Before()
	}
	env := slices.DeleteFunc(next.environ(), func(kv string) bool { return strings.HasPrefix(kv, inheritanceEnv+"=") })
	env = append(env, inheritanceEnv+"="+fmt.Sprintf(inheritanceFormat, fd, false))
	if back, err := enter(next.dir); err == nil {
		defer back()
	}
	return replaceProgram(next.execPath(), append([]string{os.Args[0]}, os.Args[1:]...), env, fds)
}

// inheritance is what the next program must know. The descriptors are copies, which are appended to fds; with nil there
// are none, which is enough for a trial. On the run loop.
func (p *Primary) inheritance(fds *[]int) (*inheritance, error) {
	h := &inheritance{
		Version: inheritanceVersion, Generation: p.generation, NextID: p.nextID, MoveIDs: p.moveIDs.Load(),
		Rolled: p.RollTotals(), Stats: p.Stats(), Invocation: &p.programs.invocation, Scheduling: &p.cfg.Scheduling,
	}
	var failed error
	carry := func(of Handle) int {
		if fds == nil || failed != nil {
			return -1
		}
		fd, err := duplicate(of)
		if err != nil {
			failed = err
			return -1
		}
		*fds = append(*fds, fd)
		return fd
	}
	for _, a := range p.acceptors {
		h.Acceptors = append(h.Acceptors, carry(a.file))
	}
	for _, s := range p.slots {
		h.Slots = append(h.Slots, inheritedSlot{s.number, s.generation, s.env, s.crashes.Load()})
		if w := s.worker; w != nil {
			h.Workers = append(h.Workers, w.inheritance(carry))
		}
	}
	h.Shared = p.shared.inheritance(carry)
	return h, failed
}

// connHandle is a link as something whose descriptor can be copied.
type connHandle struct{ l *link }

// Close does nothing.
func (connHandle) Close() error { return nil }

// SyscallConn is the link's.
func (c connHandle) SyscallConn() (syscall.RawConn, error) { return c.l.conn.SyscallConn() }

func (w *Worker) inheritance(carry func(Handle) int) inheritedWorker {
	b := inheritedWorker{
		ID: w.id, Slot: w.slot, Generation: w.generation, PID: w.PID(), State: w.State(),
		Wanted: w.wanted, Dismissed: w.dismissed,
		Load: w.load.Load(), Passed: w.total.Load(), Began: w.began,
		Link: -1, Stderr: []byte(w.stderr.String()),
	}
	if w.link.connected() {
		b.Link = carry(connHandle{w.link})
	}
	if b.Link >= 0 { // in a trial the link is read from meanwhile
		rest, fds := w.link.conn.Rest()
		b.Rest = slices.Clone(rest)
		for _, list := range fds {
			copies := make([]int, len(list))
			for i, fd := range list {
				copies[i] = carry(rawHandle(fd))
			}
			b.RestFDs = append(b.RestFDs, copies)
		}
	}
	for _, o := range w.proc.output {
		b.Output = append(b.Output, carry(o.pipe))
	}
	return b
}

// inheritance lists the sockets.
func (s *shared) inheritance(carry func(Handle) int) (list []inheritedSocket) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for key, at := range s.sockets {
		h := inheritedSocket{Key: key, Kind: handleType(at.handle), FD: carry(at.handle)}
		for id := range at.users {
			h.Users = append(h.Users, id)
		}
		list = append(list, h)
	}
	return list
}
