package tidy

import (
	"fmt"
	"testing"
)

// fault is a violation of a rule.
type fault struct {
	path   string
	line   int
	rule   string // one word, as in exceptions
	detail string
}

func (f fault) String() string { return fmt.Sprintf("%s:%d: %s: %s", f.path, f.line, f.rule, f.detail) }

// exception allows one file to break one rule.
type exception struct {
	path, rule string
	reason     string
}

// exceptions lists all exceptions. An exception that is not needed is an error.
var exceptions = []exception{
	{"internal/reactor/clock_linux.go", "state", "epoch is read once at the start and never changed"},
	{"internal/command/build.go", "state", "the linker sets it, and nothing afterwards"},
	{"internal/reactor/clock_other.go", "state", "epoch is read once at the start and never changed"},
}

// fileRules check one Go file at a time.
var fileRules = []func(*file) []fault{importFaults, shapeFaults, initFaults, sleepFaults, waitFaults, docFaults}

// packageRules check all files of a folder together.
var packageRules = []func([]*file) []fault{stateFaults, packageDocFaults}

// judge applies the exceptions. It returns the remaining faults, and exceptions that are not needed or have no reason.
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

// TestGoFiles checks all Go files of the repository, for every platform.
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

// TestExceptions checks that an exception applies to one rule in one file, has a reason, and is needed.
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
