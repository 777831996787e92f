package doctor

import (
	"context"
	"strconv"
	"time"

	"github.com/expedite-go/expedite/internal/human"
)

const (
	maxConnections = 1_000_000_000
	maxUserBytes   = 1 << 24
	probeTimeout   = time.Second
)

// Want is what the machine should hold.
type Want struct {
	// Connections at one time, in all workers together. Zero: as many as fit into the memory.
	Connections int
	// Workers that share them. Zero: as many as necessary, at least one per core, at most [MaxWorkers].
	Workers int
	// BytesPerConnection is the memory of a worker for each connection, without TLS. Zero: [DefaultUserBytes].
	BytesPerConnection int
	// TLS tells that the connections use TLS, which takes [SecureBytes] more for each.
	TLS bool
	// Ports that the server listens on.
	Ports []int
	// Redis are the servers for sessions and topics.
	Redis []Redis
	// Certificates are the pairs for TLS, and Now is the time that they have to be valid at.
	Certificates []Certificate
	Now          time.Time
}

// Redis is a server for sessions and topics.
type Redis struct {
	// Address is its address, without secrets.
	Address string
	// Probe returns the fields of INFO memory. It must return within a second, when its context ends. Nil: the server is
	// not asked.
	Probe func(context.Context) (map[string]string, error)
}

// Examine returns what a machine holds and what is wrong with it. It is pure, except for the probes of w.
func Examine(m Machine, w Want) Report {
	e := newExam(&m, w)
	for _, check := range checks {
		check(e)
	}
	e.report.sort()
	return e.report
}

// checks run in the order of the report, which sorts by level first.
var checks = [...]func(*exam){
	(*exam).files, (*exam).filesUnderWay, (*exam).filesOfAll, (*exam).filesAtMost,
	(*exam).memory, (*exam).cgroupMemory, (*exam).tcpMemory, (*exam).tcpBuffers, (*exam).tracking, (*exam).tasks,
	(*exam).processors, (*exam).links,
	(*exam).portRange, (*exam).outgoing, (*exam).privileged, (*exam).listenQueue, (*exam).synQueue, (*exam).cookies,
	(*exam).migration, (*exam).timeWait, (*exam).keepAlive, (*exam).sockets,
	(*exam).collector, (*exam).memoryLimit, (*exam).goProcessors, (*exam).hugePages, (*exam).swap, (*exam).overcommit,
	(*exam).clockSource, (*exam).clockSync, (*exam).kernel, (*exam).container, (*exam).redis, (*exam).certificates,
}

// exam is an examination in progress.
type exam struct {
	sums
	want    Want
	n       int64 // connections that the findings refer to
	workers int64 // that share them
	report  Report
}

func newExam(m *Machine, w Want) *exam {
	w.Connections = min(max(w.Connections, 0), maxConnections)
	w.Workers = min(max(w.Workers, 0), MaxWorkers)
	if w.BytesPerConnection <= 0 {
		w.BytesPerConnection = DefaultUserBytes
	}
	w.BytesPerConnection = min(w.BytesPerConnection, maxUserBytes)
	if w.TLS {
		w.BytesPerConnection += SecureBytes
	}
	e := &exam{sums: sums{m, int64(w.BytesPerConnection)}, want: w, n: int64(w.Connections)}
	e.report.Capacity = e.capacity(w.Workers)
	if w.TLS {
		e.report.Capacity.SecureBytes = SecureBytes
	}
	e.workers = int64(e.report.Capacity.Workers)
	switch most, ok := e.report.Capacity.memory(); {
	case e.n > 0 && w.Workers == 0:
		e.workers = e.workersFor(e.n)
	case e.n > 0:
	case ok:
		e.n = most
	default:
		e.n = e.report.Capacity.Connections
	}
	e.report.Wanted = Wanted{e.n, int(e.workers)}
	e.report.asked, e.report.fits = w.Connections > 0, e.with(int(e.workers)).Connections >= e.n
	return e
}

func (e *exam) add(f Finding) { e.report.Findings = append(e.report.Findings, f) }

// unreadable adds a finding that a fact is missing.
func (e *exam) unreadable(name, why string) {
	e.add(Finding{Name: name, Level: LevelInfo, Why: why})
}

// short returns the level of a limit, given whether it is below what is wanted. Without a requested number of
// connections nothing is an error.
func (e *exam) short(is bool) Level {
	switch {
	case !is:
		return LevelOK
	case e.report.asked:
		return LevelError
	}
	return LevelWarn
}

// set adds a kernel setting to the remedy of a finding.
func (e *exam) set(f *Finding, key, value, why string) {
	s := setting{key, value, why}
	f.settings = append(f.settings, s)
	if f.Mend != "" {
		f.Mend += "; "
	}
	f.Mend += s.command(e.Container)
}

// few returns the wanted connections in words.
func (e *exam) few() string { return human.Count(e.n, "connection") }

func decimal(n int64) string { return strconv.FormatInt(n, 10) }

// roundUp returns n rounded up to a multiple of unit.
func roundUp(n, unit int64) int64 { return (n + unit - 1) / unit * unit }
