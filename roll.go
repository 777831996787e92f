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
) (control.RollResult, error) {
	canary := time.Duration(req.CanarySeconds * float64(time.Second))
	lost := d.lost()
	res, err := d.roll(ctx, "reload", rep, func(g *cluster.Primary, o cluster.RollOptions) (cluster.RollResult, error) {
		o.Canary = canary
		return g.Reload(ctx, o)
	})
	if err != nil || req.KeepPrimary {
		return res, err
	}
	return res, d.replacePrimary(ctx, rep, func() control.RollResult {
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
func (d *desk) replacePrimary(ctx context.Context, rep control.Reporter, result func() control.RollResult) error {
	p, ok := d.crew.(*primary)
	if !ok {
		return control.ErrUnsupported
	}
	group := p.group.Load()
	rep.Progress(control.Progress{Kind: "reload", Step: control.StepReplacing, Total: result().Moved})
	files, err := d.files()
	if err != nil {
		return d.rollError(err)
	}
	defer closeFiles(files)
	sessions, err := memoryFile("sessions")
	if err != nil {
		return d.rollError(err)
	}
	files[fileSessions] = sessions
	denials, err := memoryFile("denials")
	if err != nil {
		return d.rollError(err)
	}
	files[fileDenials] = denials
	err = group.Exec(ctx, cluster.ExecOptions{
		State: func() ([]byte, error) { return p.state(sessions, denials) }, Files: files,
		Before: func() { rep.Replacing(group.Generation(), result()); d.app.flushBeforeExec() },
	})
	d.app.Logger().Error("primary not replaced", "error", err)
	return &control.RollError{
		Code: control.CodeExec, Message: "the workers were replaced, the primary was not: " + err.Error(),
	}
}

// Scale changes the number of workers. Connections move.
func (d *desk) Scale(ctx context.Context, req control.ScaleRequest, rep control.Reporter) (control.RollResult, error) {
	res, err := d.roll(ctx, "scale", rep, func(g *cluster.Primary, o cluster.RollOptions) (cluster.RollResult, error) {
		return g.Scale(ctx, req.Workers, o)
	})
	res.Workers = req.Workers
	return res, err
}

// Rebalance evens out the connections of the workers.
func (d *desk) Rebalance(ctx context.Context, rep control.Reporter) (control.RollResult, error) {
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
func (d *desk) roll(ctx context.Context, kind string, rep control.Reporter, f rollFunc) (control.RollResult, error) {
	group := d.crew.cluster()
	if group == nil {
		return control.RollResult{}, control.ErrUnsupported
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
	out := control.RollResult{
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
	if start, ok := errors.AsType[*cluster.StartError](err); ok {
		return &control.RollError{
			Code: control.CodeStart, Slot: start.Slot, Output: start.Stderr,
			Message: "the new worker did not serve, so nothing was changed: " + start.Error(),
		}
	}
	if errors.Is(err, cluster.ErrBusy) {
		what := "another operation is under way"
		if p := d.progress.Load(); p != nil {
			what = fmt.Sprintf("a %s is under way (slot %d, %d of %d done)", p.Kind, p.Slot, p.SlotsDone, p.Slots)
		}
		return &control.RollError{Code: control.CodeBusy, Message: what + ": wait for it, or watch it with expedite status"}
	}
	return &control.RollError{Code: control.CodeFailed, Message: err.Error()}
}
