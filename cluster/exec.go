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

// ErrExec is returned if the program could not be replaced. The primary continues as before.
var ErrExec = errors.New("cluster: primary not replaced")

// errNotTaken is returned if a worker hangs.
var errNotTaken = errors.New("a worker does not take the connections that were passed to it")

// ExecOptions determine what the next program of a primary receives.
type ExecOptions struct {
	// State returns the application's state, which the next program receives as Inheritance.State. It is called when
	// nothing arrives from workers any more and Worker.Send accepts nothing (it returns ErrOverloaded). It is also
	// called once before that, for the trial. Nil is no state.
	State func() ([]byte, error)
	// Answered receives what the next program, on trial, passed to Inheritance.Answer; nothing if it did not call that.
	// It returns entries (NAME=value) for the environment of all processes of that program, and more for its workers,
	// which override Settings.Env. If it returns an error, the program is refused. Nil changes nothing.
	Answered func(answer []byte) (env, workers []string, err error)
	// Files are passed on by name, for Inheritance.File. They stay open in this program if the exec fails.
	Files map[string]*os.File
	// Before is called last, when all checks have succeeded. Nil is allowed.
	Before func()
}

const (
	// quietLimit is how long workers may take to let the primary come to rest.
	quietLimit = 3 * time.Second
	// holdLimit is how long Send may fail, and the loop may block, while the last messages to workers are written.
	holdLimit = 500 * time.Millisecond
	// flushLimit is how long Stdout and Stderr may take to accept what workers have written. The rest is dropped.
	flushLimit = 100 * time.Millisecond
	// checkLimit is how long the trial of the next program may take.
	checkLimit = 30 * time.Second
	// maxAnswer is the longest answer of a program on trial, in bytes.
	maxAnswer = 1 << 20
)

// Exec replaces the program of this process, in place, by the one that is on disk now. The process, its children, its
// sockets and all data in transit are kept. The next program must call Inherit and Start. On success, Exec does not
// return. On an error nothing has changed: it returns ErrBusy while connections move, and ErrExec if a worker does not
// let the primary come to rest or if the trial of the next program fails.
func (p *Primary) Exec(ctx context.Context, o ExecOptions) error {
	s := p.s
	if !s.rolls.acquire() {
		return ErrBusy
	}
	defer s.rolls.release()
	if s.loop.hasEnded() || s.isStopping() {
		return ErrStopped
	}
	defer s.closePrograms()
	next, err := s.launcher.forExec()
	if err != nil {
		return fmt.Errorf("%w: %w", ErrExec, err)
	}
	x := &execution{s: s, o: o, next: next}
	if !s.launcher.wasTried(next) {
		if err := x.try(ctx); err != nil {
			return fmt.Errorf("%w: %w", ErrExec, err)
		}
	}
	wake, err := x.rest(ctx)
	if err == nil {
		err = ErrStopped
		s.loop.call(func() { err = x.holdAndExec() })
	}
	wake()
	return fmt.Errorf("%w: %w", ErrExec, err)
}

// execution is an attempt to replace the program of a primary.
type execution struct {
	s    *supervisor
	o    ExecOptions
	next *program
}

// try runs the next program with a copy of the state, to find out whether it could continue.
func (x *execution) try(ctx context.Context) error {
	var h *inheritance
	x.s.loop.call(func() { h, _ = x.s.inheritance(nil) })
	if h == nil {
		return ErrStopped
	}
	f, err := x.seal(h)
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
	next := x.next
	cmd := exec.CommandContext(ctx, next.path, os.Args[1:]...)
	cmd.Dir = next.dir
	cmd.ExtraFiles = []*os.File{f}
	cmd.Env = append(os.Environ(), inheritanceEnv+"="+fmt.Sprintf(inheritanceFormat, linkFD, true))
	next.setCommand(cmd)
	cmd.ExtraFiles = append(cmd.ExtraFiles, answer)
	cmd.Env = append(cmd.Env, fmt.Sprintf("%s=%d", answerEnv, linkFD+len(cmd.ExtraFiles)-1))
	cmd.WaitDelay = outputDelay
	out, failed := cmd.CombinedOutput()
	b, err := io.ReadAll(io.NewSectionReader(answer, 0, maxAnswer))
	if err != nil {
		return err
	}
	if failed != nil && len(b) == 0 { // after its answer the program is free to end as it likes
		return &TrialError{Program: next.path, Err: failed, Output: string(out[max(len(out)-tailSize, 0):])}
	}
	if x.o.Answered == nil {
		return nil
	}
	next.env, next.workerEnv, err = x.o.Answered(b)
	return err
}

// seal writes the inheritance and the application's state to a file for the next program.
func (x *execution) seal(h *inheritance) (*os.File, error) {
	var app []byte
	var err error
	if x.o.State != nil {
		if app, err = x.o.State(); err != nil {
			return nil, err
		}
	}
	b, err := h.encode(app)
	if err != nil {
		return nil, err
	}
	return sealed(b)
}

// rest brings the primary to rest: nothing is accepted, nothing is read, and nothing waits to be written. The caller
// must call wake, which undoes that, even after an error.
func (x *execution) rest(ctx context.Context) (wake func(), err error) {
	s := x.s
	ctx, cancel := context.WithTimeout(ctx, quietLimit)
	defer cancel()
	var undo []func()
	wake = func() {
		for _, f := range slices.Backward(undo) {
			f()
		}
	}
	if until(ctx, func() bool { return s.acceptors.retiring.Load() == 0 }) != nil {
		return wake, errNotTaken
	}
	var acceptors []*acceptor
	s.loop.call(func() { acceptors = s.acceptors.all() })
	for _, a := range acceptors {
		if a.isOn() {
			a.set(false)
			undo = append(undo, func() { a.set(true) })
		}
		if until(ctx, a.busy.TryLock) != nil { // the dispatcher has no room for what it has accepted
			return wake, errNotTaken
		}
		undo = append(undo, a.busy.Unlock)
	}
	if err := until(ctx, s.disp.idle); err != nil {
		return wake, errNotTaken
	}
	for _, w := range s.roster.workers() {
		if w.IsDead() || !w.link.pause() {
			continue
		}
		undo = append(undo, w.link.resume)
	}
	s.loop.call(func() {}) // waits until everything that was read is handled
	for _, w := range s.roster.workers() {
		for _, o := range w.proc.output {
			o.hold()
			undo = append(undo, o.release)
			if until(ctx, o.atRest) != nil {
				return wake, fmt.Errorf("worker %d does not stop writing", w.slot)
			}
		}
	}
	flush(flushLimit, s.launcher.outlets.queues()...)
	for _, w := range s.roster.workers() {
		if err := w.awaitIdle(ctx); err != nil {
			return wake, err
		}
	}
	return wake, nil
}

// until polls ok until it returns true.
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

// holdAndExec makes links refuse messages to workers and replaces the program. A message that a link accepted after
// ExecOptions.State was called would be lost, or sent twice, because the application's state does not tell that it was
// sent. On the loop, at rest.
func (x *execution) holdAndExec() error {
	s := x.s
	if s.stopping {
		return ErrStopped
	}
	workers := s.roster.workers()
	for _, w := range workers {
		w.link.hold()
		defer w.link.release()
	}
	ctx, cancel := context.WithTimeout(context.Background(), holdLimit)
	defer cancel()
	for _, w := range workers { // messages may have been sent after rest
		if err := w.awaitIdle(ctx); err != nil {
			return err
		}
	}
	flush(flushLimit, s.logs)
	for _, q := range s.launcher.outlets.queues() {
		q.Drop() // counted as lost; the exec would lose it without counting
	}
	return x.exec()
}

// exec leaves everything to the next program and runs it. It returns only if that fails. On the loop, at rest.
func (x *execution) exec() error {
	var fds []int
	defer func() { closeFDs(fds) }()
	h, err := x.s.inheritance(&fds)
	if err != nil {
		return err
	}
	h.Files = make(map[string]int)
	for name, f := range x.o.Files {
		fd, err := duplicate(f)
		if err != nil {
			return err
		}
		fds = append(fds, fd)
		h.Files[name] = fd
	}
	f, err := x.seal(h)
	if err != nil {
		return err
	}
	defer f.Close()
	fd, err := duplicate(f)
	if err != nil {
		return err
	}
	fds = append(fds, fd)
	if x.o.Before != nil {
		x.o.Before()
	}
	next := x.next
	env := slices.DeleteFunc(next.environ(), func(kv string) bool { return strings.HasPrefix(kv, inheritanceEnv+"=") })
	env = append(env, inheritanceEnv+"="+fmt.Sprintf(inheritanceFormat, fd, false))
	if back, err := enter(next.dir); err == nil {
		defer back()
	}
	return replaceProgram(next.execPath(), append([]string{os.Args[0]}, os.Args[1:]...), env, fds)
}

// inheritance returns what the next program must know. The descriptors in it are duplicates, which are appended to
// fds. If fds is nil, there are none, which is enough for a trial. On the loop.
func (s *supervisor) inheritance(fds *[]int) (*inheritance, error) {
	h := &inheritance{
		Version: inheritanceVersion, Generation: s.generation, NextID: s.nextID, MoveIDs: s.moves.ids.Load(),
		Rolled: s.rolls.sum(), Stats: s.stats(), Invocation: s.launcher.invocation(), Scheduling: &s.cfg.Scheduling,
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
	s.acceptors.inheritance(h, carry)
	for _, at := range s.slots {
		h.Slots = append(h.Slots, inheritedSlot{at.number, at.generation, at.env, at.crashes.Load()})
		if w := at.worker; w != nil {
			h.Workers = append(h.Workers, w.inheritance(carry))
		}
	}
	h.Shared = s.shared.inheritance(carry)
	return h, failed
}

// linkHandle is a Handle for a link, whose descriptor duplicate can copy.
type linkHandle struct{ l *link }

// Close does nothing.
func (linkHandle) Close() error { return nil }

// SyscallConn returns the link's socket.
func (c linkHandle) SyscallConn() (syscall.RawConn, error) { return c.l.conn.SyscallConn() }

// inheritance returns what the next program must know about a worker.
func (w *Worker) inheritance(carry func(Handle) int) inheritedWorker {
	b := inheritedWorker{
		ID: w.id, Slot: w.slot, Generation: w.generation, PID: w.PID(), State: w.State(),
		Wanted: w.wanted, Dismissed: w.dismissed,
		Load: w.load.Load(), Passed: w.total.Load(), Began: w.began,
		Link: -1, Stderr: []byte(w.stderr.String()),
	}
	if w.link.connected() {
		b.Link = carry(linkHandle{w.link})
	}
	if b.Link >= 0 { // not during a trial, when the link is being read from
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

// inheritance lists the shared sockets for the next program.
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
