package expedite

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/expedite-go/expedite/cluster"
	"github.com/expedite-go/expedite/internal/control"
)

// Reload replaces the workers by processes of the binary that is on disk now. Their connections move.
func (d *desk) Reload(
	ctx context.Context, req control.ReloadRequest, rep control.Reporter,
) (control.Result, error) {
	if !d.op.TryLock() {
		return control.Result{}, d.rollError(cluster.ErrBusy)
	}
	defer d.release()
	canary := time.Duration(req.CanarySeconds * float64(time.Second))
	lost := d.lost()
	trial, err := d.rehearsal(req)
	if err != nil {
		d.app.Logger().Error("reload refused", "error", err)
		return control.Result{}, err
	}
	if trial != nil {
		defer closeFiles(trial.Files)
	}
	res, err := d.roll(ctx, "reload", rep, func(g *cluster.Primary, o cluster.RollOptions) (cluster.RollResult, error) {
		o.Canary, o.Trial = canary, trial
		return g.Reload(ctx, o)
	})
	if next := d.next.Load(); err == nil && next != nil {
		res.Warnings = next.Warnings
		res.Program = d.crew.cluster().Settings().Exec
		d.app.Logger().Info("workers run the new program", "program", res.Program, "version", next.Version)
	}
	if err != nil || req.KeepPrimary {
		return res, err
	}
	return res, d.replacePrimary(ctx, rep, func() control.Result {
		res.Failed = max(res.Failed, d.lost()-lost) // also of workers that died before and after the roll
		return res
	})
}

// lost is the number of connections that ended with workers which died.
func (d *desk) lost() uint64 {
	if g := d.crew.cluster(); g != nil {
		return g.Stats().ConnectionsLost
	}
	return 0
}

// replacePrimary runs the binary that is on disk now in place of this one. It returns if that has failed.
func (d *desk) replacePrimary(ctx context.Context, rep control.Reporter, result func() control.Result) error {
	p, ok := d.crew.(*primary)
	if !ok {
		return control.ErrUnsupported
	}
	group := p.group.Load()
	rep.Progress(control.Progress{Kind: "reload", Step: control.StepReplacing, Total: result().Moved})
	if err := d.restore(); err != nil {
		d.app.Logger().Warn("control socket not restored", "error", err) // the next program tries again
	}
	o, err := p.bequest()
	if err != nil {
		return d.rollError(err)
	}
	defer closeFiles(o.Files)
	o.Before = func() { rep.Replacing(group.Generation(), result()); d.app.journal.Load().Flush() }
	err = group.Exec(ctx, o)
	d.app.Logger().Error("primary not replaced", "error", err)
	return &control.Error{
		Code: control.CodeExec, Message: "the workers were replaced, the primary was not: " + err.Error(),
	}
}

// rehearsal is what the program on disk is tried with before anything is replaced: it has to say that it could take the
// primary's place, with all that it would have to open anew. Nil is no trial.
func (d *desk) rehearsal(req control.ReloadRequest) (*cluster.ExecOptions, error) {
	p, ok := d.crew.(*primary)
	if !ok || p.group.Load() == nil {
		return nil, nil
	}
	if err := d.restore(); err != nil {
		return nil, d.rollError(fmt.Errorf("nothing was changed: %w", err))
	}
	if req.KeepPrimary { // and its settings
		d.next.Store(nil)
		return nil, nil
	}
	o, err := p.bequest()
	if err != nil {
		return nil, d.rollError(err)
	}
	o.Answered = d.judge
	return &o, nil
}

// later notes that a reload is to follow the roll under way; false says that there is none.
func (d *desk) later() bool {
	if d.op.TryLock() {
		d.op.Unlock()
		return false
	}
	d.again.Store(true)
	if d.op.TryLock() { // it has just ended: whoever takes the note back reloads
		d.op.Unlock()
		return !d.again.CompareAndSwap(true, false)
	}
	return true
}

// release ends a roll, and begins the reload that was asked for meanwhile.
func (d *desk) release() {
	d.op.Unlock()
	if d.again.CompareAndSwap(true, false) {
		go d.reloadAgain() // ends with the reload
	}
}

// reloadAgain reloads for somebody who does not wait for the result.
func (d *desk) reloadAgain() {
	if err := d.app.Reload(context.Background()); err != nil && !errors.Is(err, ErrNotRunning) {
		d.app.Logger().Error("reload failed", "error", err)
	}
}

// restore makes the control socket anew if its file was removed.
func (d *desk) restore() error {
	if d.ctl == nil {
		return nil
	}
	return d.ctl.Restore()
}

// bequest is what the program that replaces this one gets. Its files are to be closed.
func (p *primary) bequest() (o cluster.ExecOptions, err error) {
	if o.Files, err = p.desk.files(); err != nil {
		return o, err
	}
	sessions, err := memoryFile("sessions")
	if err != nil {
		closeFiles(o.Files)
		return o, err
	}
	o.Files[fileSessions] = sessions
	denials, err := memoryFile("denials")
	if err != nil {
		closeFiles(o.Files)
		return o, err
	}
	o.Files[fileDenials] = denials
	o.State = func() ([]byte, error) { return p.state(sessions, denials) }
	return o, nil
}

// Scale changes the number of workers. Connections move.
func (d *desk) Scale(ctx context.Context, req control.ScaleRequest, rep control.Reporter) (control.Result, error) {
	if !d.op.TryLock() {
		return control.Result{}, d.rollError(cluster.ErrBusy)
	}
	defer d.release()
	res, err := d.roll(ctx, "scale", rep, func(g *cluster.Primary, o cluster.RollOptions) (cluster.RollResult, error) {
		return g.Scale(ctx, req.Workers, o)
	})
	res.Workers = req.Workers
	return res, err
}

// Rebalance evens out the connections of the workers.
func (d *desk) Rebalance(ctx context.Context, rep control.Reporter) (control.Result, error) {
	if !d.op.TryLock() {
		return control.Result{}, d.rollError(cluster.ErrBusy)
	}
	defer d.release()
	res, err := d.roll(ctx, "rebalance", rep, func(g *cluster.Primary, o cluster.RollOptions) (cluster.RollResult, error) {
		return g.Rebalance(ctx, o)
	})
	if g := d.crew.cluster(); g != nil {
		res.Workers = len(g.Workers())
	}
	return res, err
}

type rollFunc func(*cluster.Primary, cluster.RollOptions) (cluster.RollResult, error)

// roll does what f does, and tells how far it is.
func (d *desk) roll(ctx context.Context, kind string, rep control.Reporter, f rollFunc) (control.Result, error) {
	group := d.crew.cluster()
	if group == nil {
		return control.Result{}, control.ErrUnsupported
	}
	before := d.totals.Sum().Stays
	res, err := f(group, cluster.RollOptions{
		Drain: d.app.cfg.DrainTimeout,
		Progress: func(p cluster.Progress) {
			pr := progressOf(kind, p)
			d.progress.Store(&pr)
			if p.Step == cluster.StepDone {
				d.progress.Store(nil)
			}
			rep.Progress(pr)
		},
	})
	out := control.Result{
		Moved: uint64(res.Moved), Drained: uint64(res.Drained), Failed: uint64(res.Failed),
		Seconds: res.Took.Seconds(), Workers: res.Workers,
		MoveSeconds: res.Moving.Seconds(), FreezeSeconds: res.Freeze.Seconds(), StateBytes: uint64(res.Bytes),
	}
	if res.Drained > 0 { // what the workers said last was heard before f returned
		out.DrainedWhy = since(before, d.totals.Sum().Stays)
	}
	log := d.app.Logger().With("kind", kind, "moved", res.Moved, "drained", res.Drained, "failed", res.Failed,
		"seconds", res.Took.Seconds(), "longest_freeze_seconds", res.Freeze.Seconds())
	if err != nil {
		log.Error("roll failed", "error", err)
		return out, d.rollError(err)
	}
	if len(out.DrainedWhy) > 0 {
		log = log.With("drained_why", control.StayReasons(out.DrainedWhy))
	}
	log.Info("roll done", "workers", res.Workers)
	return out, nil
}

// since is by how much counts have grown; nil if none has.
func since(before, now map[string]uint64) map[string]uint64 {
	var grown map[string]uint64
	for name, n := range now {
		if n > before[name] {
			if grown == nil {
				grown = make(map[string]uint64)
			}
			grown[name] = n - before[name]
		}
	}
	return grown
}

func progressOf(kind string, p cluster.Progress) control.Progress {
	return control.Progress{
		Kind: kind, Slot: p.Slot, Step: string(p.Step), Generation: p.Generation,
		Moved: uint64(p.Moved), Left: uint64(p.Left), Total: uint64(p.Moved + p.Left),
		RatePerSecond: p.Rate, SlotsDone: p.Done, Slots: p.Slots,
	}
}

// rollError is an error of package cluster as the one who asked must see it.
func (d *desk) rollError(err error) error {
	if err == nil {
		return nil
	}
	if trial, ok := errors.AsType[*cluster.TrialError](err); ok {
		return &control.Error{
			Code: control.CodeStart, Output: trial.Output,
			Message: "the new program could not take over, so nothing was changed: " + trial.Error(),
		}
	}
	if start, ok := errors.AsType[*cluster.StartError](err); ok {
		return &control.Error{
			Code: control.CodeStart, Slot: start.Slot, Output: start.Stderr,
			Message: "the new worker did not serve, so nothing was changed: " + start.Error(),
		}
	}
	if errors.Is(err, cluster.ErrBusy) {
		what := "another operation is under way"
		if p := d.progress.Load(); p != nil {
			what = fmt.Sprintf("a %s is under way (slot %d, %d of %d done)", p.Kind, p.Slot, p.SlotsDone, p.Slots)
		}
		return &control.Error{Code: control.CodeBusy, Message: what + ": wait for it, or watch it with expedite status"}
	}
	return &control.Error{Code: control.CodeFailed, Message: err.Error()}
}
