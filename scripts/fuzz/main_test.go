package main

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// newModule makes a module with two packages: one with a target that holds, and one with a target that fails.
func newModule(t *testing.T) {
	t.Helper()
	dir := t.TempDir()
	files := map[string]string{
		"go.mod":       "module example.com/m\n\ngo 1.26\n",
		"a/a.go":       "package a\n\nfunc Half(b []byte) int {\n\tif len(b) > 3 {\n\t\treturn 1\n\t}\n\treturn 2\n}\n",
		"a/a_test.go":  target1,
		"b/b_test.go":  target2,
		"b/c_test.go":  "//go:build never\n\npackage b\n\nimport \"testing\"\n\nfunc FuzzNever(f *testing.F) {}\n",
		"b/d_test.go":  "package b\n\nconst text = `\nfunc FuzzText(f *testing.F) {}\n`\n",
		"b/nothing.go": "package b\n",
	}
	for name, text := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	t.Chdir(dir)
}

const target1 = `package a

import "testing"

func FuzzHalf(f *testing.F) {
	f.Add([]byte("x"))
	f.Fuzz(func(t *testing.T, b []byte) { Half(b) })
}
`

const target2 = `package b

import "testing"

func FuzzFails(f *testing.F) {
	f.Add([]byte("x"))
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) > 3 {
			t.Fatal("too long")
		}
	})
}
`

func TestTargetsAreThoseOfThisPlatform(t *testing.T) {
	newModule(t)
	list, err := targets(context.Background(), []string{"./..."})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, t := range list {
		got = append(got, t.String())
	}
	if want := []string{"example.com/m/a FuzzHalf", "example.com/m/b FuzzFails"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestOneFailureFailsTheRunAtItsEnd(t *testing.T) {
	if testing.Short() {
		t.Skip("builds two packages for the fuzzer")
	}
	newModule(t)
	r := &runner{opt: options{time: time.Second, keep: 3}, temp: t.TempDir(), cache: t.TempDir()}
	list, err := targets(context.Background(), []string{"./..."})
	if err != nil {
		t.Fatal(err)
	}
	var results []result
	for _, tt := range list {
		results = append(results, r.fuzz(context.Background(), tt))
	}
	if res := results[0]; res.err != nil || res.execs == 0 {
		t.Errorf("got %v, want a target that was executed and holds", res)
	}
	if res := results[1]; res.err == nil || !strings.Contains(strings.Join(res.output, "\n"), "too long") {
		t.Errorf("got %v, want the failure of the target", res)
	}
	if found, err := inputs(filepath.Join("b", "testdata", "fuzz", "FuzzFails")); len(found) != 1 {
		t.Errorf("got %q, %v, want the input that fails", found, err)
	}
	if err := summary(results); err == nil || !strings.Contains(err.Error(), "1 of 2") {
		t.Errorf("got %v, want a failure of 1 of 2", err)
	}
}

func TestTheInputsThatReachMoreAreKept(t *testing.T) {
	if testing.Short() {
		t.Skip("builds a package")
	}
	newModule(t)
	r := &runner{opt: options{keep: 3}, temp: t.TempDir(), cache: t.TempDir()}
	half := target{pkg: "example.com/m/a", folder: "a", name: "FuzzHalf"}
	for name, in := range map[string]string{"1": "abcd", "2": "abcde", "3": "yz", "4": strings.Repeat("x", longest)} {
		text := "go test fuzz v1\n[]byte(\"" + in + "\")\n"
		path := filepath.Join(r.cache, half.pkg, half.name, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := r.keep(context.Background(), half); err != nil {
		t.Fatal(err)
	}
	got, err := inputs(filepath.Join("a", "testdata", "fuzz", "FuzzHalf"))
	if err != nil || len(got) != 1 || filepath.Base(got[0]) != "1" {
		t.Errorf("got %q, %v, want the shortest of those with more than three bytes", got, err)
	}
}

func TestProgressIsRead(t *testing.T) {
	var r result
	r.add("fuzz: elapsed: 0s, gathering baseline coverage: 0/7 completed")
	r.add("fuzz: elapsed: 3s, execs: 40304 (13431/sec), new interesting: 104 (total: 108)")
	r.add("PASS")
	if r.execs != 40304 || r.fresh != 104 || r.total != 108 {
		t.Errorf("got %+v", r)
	}
}
