package primary

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/expedite-go/expedite/cluster"
	"github.com/expedite-go/expedite/internal/control"
	"github.com/expedite-go/expedite/internal/systemd"
	"github.com/expedite-go/expedite/internal/telemetry"
)

// roller moves connections between workers: it reloads, scales, rebalances and replaces, one at a time.
type roller struct {
	log     *slog.Logger
	manager *systemd.Notifier
	drain   time.Duration // time for connections that cannot move
	cluster func() *cluster.Primary
	totals  *telemetry.Totals
	next    *inheritanceWriter // what the program that replaces this one gets

	undoStage func() // closes the sockets that are open for the next program; nil if there are none

	progress atomic.Pointer[control.Progress] // of the operation under way; nil if there is none
	answer   atomic.Pointer[answer]           // of the program that the latest reload tried
	// busy is held during an operation. A reload holds it until its program runs.
	busy sync.Mutex
	// mixed is set if a reload has replaced the workers and not this program. It is used under busy.
	mixed bool
	// again is set if another reload was requested during the operation under way.
	again atomic.Bool
}

// start begins an operation. If there is one under way it fails.
func (r *roller) start() error {
	if !r.busy.TryLock() {
		return r.explain(cluster.ErrBusy)
	}
	r.next.awaitMachines()
	return nil
}

// end ends an operation, and starts the reload that was requested meanwhile.
func (r *roller) end() {
	r.busy.Unlock()
	if r.again.CompareAndSwap(true, false) {
		go func() { _ = r.reloadOrQueue(context.Background()) }() // ends with the reload
	}
}

// queue requests a reload after the operation under way. It reports false if there is no operation.
func (r *roller) queue() bool {
	if r.busy.TryLock() {
		r.busy.Unlock()
		return false
	}
	r.again.Store(true)
	if r.busy.TryLock() { // the operation has just ended: whoever takes the request back reloads
		r.busy.Unlock()
		return !r.again.CompareAndSwap(true, false)
	}
	return true
}

// reloadAttempts bounds the attempts of reloadOrQueue: between two looks, other operations may begin and end.
const reloadAttempts = 3

// reloadOrQueue reloads. If an operation is under way it returns nil at once, and the reload follows. It logs an error,
// as reload does.
func (r *roller) reloadOrQueue(ctx context.Context) (err error) {
	for range reloadAttempts {
		if r.queue() {
			r.manager.Reloading(0)
			return nil
		}
		_, err = r.reload(ctx, control.ReloadRequest{CanarySeconds: control.DefaultCanarySeconds}, control.Discard{})
		if e, ok := errors.AsType[*control.Error](err); !ok || e.Code != control.CodeBusy {
			return err
		}
	}
	r.log.Error("reload failed", "error", err)
	r.manager.Refused(err)
	return err
}

// reload replaces the workers, and then this process's program, by the program on disk. On success it does not return,
// unless the request keeps the primary. It logs errors, except that of another operation.
func (r *roller) reload(
	ctx context.Context, req control.ReloadRequest, rep control.Reporter,
) (res control.Result, err error) {
	if err := r.start(); err != nil {
		return control.Result{}, err
	}
	defer r.end()
	group := r.cluster()
	if group == nil {
		return control.Result{}, control.ErrUnsupported
	}
	canary := time.Duration(req.CanarySeconds * float64(time.Second))
	r.manager.Reloading(canary)
	defer func() { r.reloaded(err) }()
	lost := group.Stats().ConnectionsLost
	trial, err := r.trial(req)
	if err != nil {
		r.log.Error("reload refused", "error", err)
		return control.Result{}, err
	}
	if trial != nil {
		defer closeFiles(trial.Files)
		defer r.unstage() // unless the next program has taken over
	}
	res, err = r.roll("reload", rep, func(g *cluster.Primary, o cluster.RollOptions) (cluster.RollResult, error) {
		o.Canary, o.Trial = canary, trial
		return g.Reload(ctx, o)
	})
	a := r.answer.Load()
	if errors.Is(err, errInPlace) {
		return r.applyInPlace(ctx, a, len(group.Workers()))
	}
	if err == nil && a != nil {
		res.Warnings, res.Program, res.Changed = a.Warnings, group.Settings().Exec, a.Changed
		r.log.Info("workers run the new program", "program", res.Program, "version", a.Version, "changed", a.Changed)
	}
	r.mixed = r.mixed || err == nil || res.Workers > 0
	if err != nil || req.KeepPrimary {
		return res, err
	}
	return res, r.exec(ctx, rep, func() control.Result {
		res.Failed = max(res.Failed, group.Stats().ConnectionsLost-lost) // also with workers that died before or after
		return res
	})
}

// reloaded tells the service manager that a reload has ended in this program. If another one follows, that tells it.
func (r *roller) reloaded(err error) {
	if !r.again.Load() {
		r.manager.Reloaded(err)
	}
}

// trial returns what the program on disk is tried with before anything is replaced: it has to answer that it could
// replace this one, and to open whatever it needs anew. With KeepPrimary there is no trial, and trial returns nil: this
// program and its settings stay.
func (r *roller) trial(req control.ReloadRequest) (*cluster.ExecOptions, error) {
	if err := r.next.listeners.restore(); err != nil {
		return nil, r.explain(fmt.Errorf("nothing was changed: %w", err))
	}
	if req.KeepPrimary {
		r.answer.Store(nil)
		return nil, nil
	}
	o, err := r.next.options(r.again.Load)
	if err != nil {
		return nil, r.explain(err)
	}
	o.Answered = r.judge
	return &o, nil
}

// exec runs the program on disk in this process. It returns only if that fails.
func (r *roller) exec(ctx context.Context, rep control.Reporter, result func() control.Result) error {
	group := r.cluster()
	rep.Progress(control.Progress{Kind: "reload", Step: control.StepReplacing, Total: result().Moved})
	if err := r.next.listeners.restore(); err != nil {
		r.log.Warn("control socket not restored", "error", err) // the next program tries again
	}
	o, err := r.next.options(r.again.Load)
	if err != nil {
		r.log.Error("primary not replaced", "error", err)
		return r.explain(err)
	}
	defer closeFiles(o.Files)
	defer r.next.leaveMachines(ctx)()
	defer r.next.suspendPresence()()
	o.Before = func() {
		rep.Replacing(group.Generation(), result())
		r.next.cfg.Journal.Flush()
	}
	err = group.Exec(ctx, o)
	r.log.Error("primary not replaced", "error", err)
	return &control.Error{
		Code: control.CodeExec, Message: "the workers were replaced, the primary was not: " + err.Error(),
	}
}

// scale changes the number of workers.
func (r *roller) scale(ctx context.Context, workers int, rep control.Reporter) (control.Result, error) {
	if err := r.start(); err != nil {
		return control.Result{}, err
	}
	defer r.end()
	res, err := r.roll("scale", rep, func(g *cluster.Primary, o cluster.RollOptions) (cluster.RollResult, error) {
		return g.Scale(ctx, workers, o)
	})
	res.Workers = workers
	return res, err
}

// rebalance distributes the connections evenly.
func (r *roller) rebalance(ctx context.Context, rep control.Reporter) (control.Result, error) {
	if err := r.start(); err != nil {
		return control.Result{}, err
	}
	defer r.end()
	res, err := r.roll("rebalance", rep, func(g *cluster.Primary, o cluster.RollOptions) (cluster.RollResult, error) {
		return g.Rebalance(ctx, o)
	})
	if g := r.cluster(); g != nil {
		res.Workers = len(g.Workers())
	}
	return res, err
}

// replace replaces the worker of a slot by one of the same program. During another operation it fails with
// cluster.ErrBusy.
func (r *roller) replace(ctx context.Context, slot int) (cluster.RollResult, error) {
	group := r.cluster()
	if group == nil || !r.busy.TryLock() {
		return cluster.RollResult{}, cluster.ErrBusy
	}
	defer r.end()
	r.next.awaitMachines()
	return group.Replace(ctx, slot, cluster.RollOptions{Drain: r.drain})
}

// roll calls f, reports its progress, and logs its result.
func (r *roller) roll(
	kind string, rep control.Reporter, f func(*cluster.Primary, cluster.RollOptions) (cluster.RollResult, error),
) (control.Result, error) {
	group := r.cluster()
	if group == nil {
		return control.Result{}, control.ErrUnsupported
	}
	before := r.totals.Sum().Stays
	res, err := f(group, cluster.RollOptions{
		Drain: r.drain,
		Progress: func(p cluster.Progress) {
			r.manager.Progress()
			pr := progressOf(kind, p)
			r.progress.Store(&pr)
			if p.Step == cluster.StepDone {
				r.progress.Store(nil)
			}
			rep.Progress(pr)
		},
	})
	out := control.Result{
		Moved: uint64(res.Moved), Drained: uint64(res.Drained), Failed: uint64(res.Failed),
		Seconds: res.Took.Seconds(), Workers: res.Workers,
		MoveSeconds: res.Moving.Seconds(), FreezeSeconds: res.Freeze.Seconds(), StateBytes: uint64(res.Bytes),
	}
	if res.Drained > 0 { // the last reports of the workers arrived before f returned
		out.DrainedWhy = growth(before, r.totals.Sum().Stays)
	}
	if errors.Is(err, errInPlace) {
		return out, err
	}
	log := r.log.With("kind", kind, "moved", res.Moved, "drained", res.Drained, "failed", res.Failed,
		"seconds", res.Took.Seconds(), "longest_freeze_seconds", res.Freeze.Seconds())
	if err != nil {
		if trial, ok := errors.AsType[*cluster.TrialError](err); ok { // it has all lines, and err the last one
			log = log.With("output", trial.Output)
		}
		log.Error(kind+" failed", "error", err)
		return out, r.explain(err)
	}
	if len(out.DrainedWhy) > 0 {
		log = log.With("drained_why", control.StayReasons(out.DrainedWhy))
	}
	log.Info(kind+" done", "workers", res.Workers)
	return out, nil
}

// growth returns by how much counters have grown; nil if none has.
func growth(before, now map[string]uint64) map[string]uint64 {
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

// explain returns an error of package cluster as operators see it.
func (r *roller) explain(err error) error {
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
		if p := r.progress.Load(); p != nil {
			what = fmt.Sprintf("a %s is under way (slot %d, %d of %d done)", p.Kind, p.Slot, p.SlotsDone, p.Slots)
		}
		return &control.Error{Code: control.CodeBusy, Message: what + ": wait for it, or watch it with expedite status"}
	}
	return &control.Error{Code: control.CodeFailed, Message: err.Error()}
}
