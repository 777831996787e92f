package tidy

import (
	"fmt"
	"testing"
)

// fault is a place where the tree breaks a rule of the house.
type fault struct {
	path   string
	line   int
	rule   string // one word, as in exceptions
	detail string
}

func (f fault) String() string { return fmt.Sprintf("%s:%d: %s: %s", f.path, f.line, f.rule, f.detail) }

// exception lets one file break one rule.
type exception struct {
	path, rule string
	reason     string
}

// exceptions is the whole list. One that nothing needs any more is an error.
var exceptions = []exception{
	{"internal/reactor/clock_linux.go", "state", "epoch is read once at the start and never changed"},
	{"internal/reactor/clock_other.go", "state", "epoch is read once at the start and never changed"},
}

// fileRules look at one Go file at a time.
var fileRules = []func(*file) []fault{importFaults, shapeFaults, initFaults, sleepFaults, docFaults}

// packageRules look at the files of one folder together.
var packageRules = []func([]*file) []fault{stateFaults, packageDocFaults}

// judge applies the exceptions: what is left is broken, or an exception that is not needed.
func judge(faults []fault, exceptions []exception) (left []string) {
	needed := make([]bool, len(exceptions))
	for _, f := range faults {
		excused := false
		for i, e := range exceptions {
			if e.path == f.path && e.rule == f.rule && e.reason != "" {
				needed[i], excused = true, true
			}
		}
		if !excused {
			left = append(left, f.String())
		}
	}
	for i, e := range exceptions {
		if !needed[i] {
			left = append(left, fmt.Sprintf("exception of %s from %s: not needed, or without a reason", e.path, e.rule))
		}
	}
	return left
}

// TestGoFiles holds all Go files of the tree, for whatever platform, against the rules.
func TestGoFiles(t *testing.T) {
	var faults []fault
	packages := make(map[string][]*file)
	for _, f := range goFiles(t) {
		packages[f.pkg()] = append(packages[f.pkg()], f)
		for _, rule := range fileRules {
			faults = append(faults, rule(f)...)
		}
	}
	for _, files := range packages {
		for _, rule := range packageRules {
			faults = append(faults, rule(files)...)
		}
	}
	for _, fault := range judge(faults, exceptions) {
		t.Error(fault)
	}
}

// TestExceptions: an exception covers its own file and rule, has a reason, and goes when it is not needed.
func TestExceptions(t *testing.T) {
	long := []fault{{path: "a.go", line: 1, rule: "lines"}}
	for _, tt := range []struct {
		name   string
		faults []fault
		list   []exception
		want   int
	}{
		{"no fault, no exception", nil, nil, 0},
		{"fault", long, nil, 1},
		{"excused", long, []exception{{"a.go", "lines", "generated"}}, 0},
		{"without a reason", long, []exception{{"a.go", "lines", ""}}, 2},
		{"of another rule", long, []exception{{"a.go", "state", "constant"}}, 2},
		{"of another file", long, []exception{{"b.go", "lines", "generated"}}, 2},
		{"not needed", nil, []exception{{"a.go", "lines", "generated"}}, 1},
	} {
		if got := judge(tt.faults, tt.list); len(got) != tt.want {
			t.Errorf("%s: got %q, want %d", tt.name, got, tt.want)
		}
	}
}
