package doctor

import (
	"fmt"

	"github.com/expedite-go/expedite/internal/human"
)

// files compares RLIMIT_NOFILE with a worker's share of the connections.
func (e *exam) files() {
	if e.OpenFiles == nil {
		e.unreadable(limitFiles, "each connection takes a descriptor of its worker, and RLIMIT_NOFILE limits them")
		return
	}
	per := e.perWorker()
	need := (e.n+e.workers-1)/e.workers + workerFiles
	have := per + workerFiles
	f := Finding{Name: limitFiles, Level: e.short(have < need), Value: decimal(have), Want: decimal(need)}
	if soft := e.OpenFiles.Soft; soft != e.OpenFiles.Hard {
		f.Value += fmt.Sprintf(" (raised at start from %d)", soft)
	}
	f.Why = fmt.Sprintf("%s with %s are %s for each, and %d more for itself; in a reload the successor has its own",
		e.few(), human.Count(e.workers, "worker"), human.Count(need-workerFiles, "descriptor"), workerFiles)
	cores := int64(e.cores())
	switch {
	case f.Level != LevelOK:
		f.Mend = e.raiseFiles(need)
		if w := (e.n + per - 1) / max(per, 1); per > 0 && w <= int64(e.most()) && w != e.workers {
			f.Mend = fmt.Sprintf("expedite serve --workers %d; or %s", w, f.Mend)
		}
	case e.want.Workers == 0 && e.workers > cores:
		one := (e.n+cores-1)/cores + workerFiles
		f.Level = LevelInfo
		f.Want = fmt.Sprintf("%d for one worker per core", one)
		f.Why = fmt.Sprintf("%s need more descriptors than %s have: start more workers, or give each more descriptors",
			e.few(), human.Count(cores, "worker"))
		f.Mend = fmt.Sprintf("expedite serve --workers %d", e.workers)
		if most, ok := e.number(nrOpen); !ok || one <= most {
			f.Mend += "; or " + e.raiseFiles(one)
		}
	}
	if most, ok := e.number(nrOpen); ok && f.Level != LevelOK && need > most {
		e.set(&f, nrOpen, decimal(need), "the descriptors of one process cannot be raised beyond it")
	}
	e.add(f)
}

// raiseFiles returns how to raise the limit of a process.
func (e *exam) raiseFiles(n int64) string {
	switch e.Container {
	case "docker", "podman":
		return fmt.Sprintf("%s run --ulimit nofile=%d:%d", e.Container, n, n)
	case "kubernetes":
		return fmt.Sprintf("LimitNOFILE=%d in the unit of the node's container runtime (pods have no field for it)", n)
	}
	return fmt.Sprintf("LimitNOFILE=%d in the systemd unit, or `ulimit -n %d`", n, n)
}

// filesUnderWay checks the limit for sockets in transit between two processes: the kernel counts them per user against
// the sender's limit of open files.
func (e *exam) filesUnderWay() {
	const name = "descriptors-under-way"
	if e.OpenFiles == nil {
		return // files has reported it
	}
	have := e.OpenFiles.Hard // the Go runtime raises the soft limit to this one
	f := Finding{Name: name, Level: LevelOK, Value: decimal(have), Want: decimal(inFlight)}
	f.Why = fmt.Sprintf("sockets in transit from the primary to workers (256) and between two workers in a reload "+
		"(256) count together, for all processes of a user, against the limit of open files, %d", have)
	switch {
	case e.User.can(capSysAdmin) || e.User.can(capSysResource):
		f.Value = "not limited for this user"
	case have < inFlight:
		f.Level, f.Mend = LevelWarn, e.raiseFiles(inFlight*2)
	}
	e.add(f)
}

// filesOfAll compares fs.file-max with the connections.
func (e *exam) filesOfAll() {
	most, ok := e.number(fileMax)
	if !ok {
		e.unreadable(limitFileMax, fileMax+" limits the open files of all processes together")
		return
	}
	need := e.n + e.filesNow() + e.workers*workerFiles
	f := Finding{Name: limitFileMax, Value: decimal(most), Want: decimal(need), Level: e.short(most < need)}
	f.Why = fmt.Sprintf("%s, %s files that are open already, and %d for each worker",
		e.few(), human.Number(e.filesNow()), workerFiles)
	switch {
	case most == Unlimited:
		f.Value = "not limited"
	case f.Level == LevelOK:
	case e.User.can(capSysAdmin):
		f.Level = LevelInfo
		f.Why += "; this user may exceed it, but then others cannot open files"
	}
	if most < need {
		e.set(&f, fileMax, decimal(need), "open files of all processes: "+f.Why)
	}
	e.add(f)
}

// filesAtMost reports how far the limit of one process can be raised.
func (e *exam) filesAtMost() {
	most, ok := e.number(nrOpen)
	if !ok {
		e.unreadable("nr-open", nrOpen+" is the highest limit of open files for one process")
		return
	}
	e.add(Finding{
		Name: "nr-open", Level: LevelOK, Value: decimal(most),
		Why: "the highest limit of open files for one process; more connections need more workers",
	})
}

// tasks compares the limits of processes and threads with what the workers need.
func (e *exam) tasks() {
	name, free, ok := e.sums.tasks()
	if !ok {
		e.unreadable(limitTasks, "pids.max, kernel.pid_max and kernel.threads-max limit the number of workers")
		return
	}
	need := (e.workers+1)*e.threads() + primaryThreads
	f := Finding{
		Name: limitTasks, Level: LevelOK, Value: fmt.Sprintf("room for %d (%s)", free, name),
		Want: decimal(need),
	}
	f.Why = fmt.Sprintf("%s have about %d threads each, the primary %d, and in a reload there is one worker more",
		human.Count(e.workers, "worker"), e.threads(), primaryThreads)
	if free < need {
		f.Level = LevelError // a worker that cannot start a thread crashes
		switch {
		case name == pidMax || name == threadsMax:
			e.set(&f, name, decimal(need*2), f.Why)
		case name == "RLIMIT_NPROC":
			f.Mend = fmt.Sprintf("LimitNPROC=%d in the systemd unit, or `ulimit -u %d`", need*2, need*2)
		case e.Container == "docker" || e.Container == "podman":
			f.Mend = fmt.Sprintf("%s run --pids-limit %d", e.Container, need*2)
		case e.Container == "kubernetes":
			f.Mend = fmt.Sprintf("podPidsLimit: %d in the kubelet's configuration", need*2)
		default:
			f.Mend = fmt.Sprintf("TasksMax=%d in the systemd unit", need*2)
		}
	}
	e.add(f)
}
