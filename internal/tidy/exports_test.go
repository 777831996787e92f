package tidy

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
)

// maxExported limits the exported names of all public packages together. `make exports` prints the count per package.
const maxExported = 720

// TestExports keeps the public API small.
func TestExports(t *testing.T) {
	list, err := CountExports(root)
	if err != nil {
		t.Fatal(err)
	}
	names := 0
	for _, e := range list {
		names += e.Names()
	}
	if names > maxExported || names == 0 {
		t.Errorf("got %d exported names, want at most %d; make exports shows where they are", names, maxExported)
	}
}

// TestCountExports checks which names are counted, and as what.
func TestCountExports(t *testing.T) {
	dir := t.TempDir()
	for path, text := range map[string]string{
		"a.go": `package a
const (
	C, hidden = 1, 2
	D = 3
)
const Typed T = 1
var V, w int
func F() {}
func f() {}
type T int
func New() T { return 0 }
func (T) M() {}
func (T) m() {}
type u int
func (u) M() {}
type S struct {
	A, b int
	C    string
	T
	*u
}
type I interface {
	Do()
	undo()
}
`,
		"a_test.go":            "package a\nfunc Test() {}\n",
		"a_windows.go":         "package a\nfunc Windows() {}\n",
		"a_linux.go":           "package a\nfunc Linux() {}\n",
		"cmd/x/main.go":        "package main\nfunc X() {}\n",
		"internal/b/b.go":      "package b\nfunc X() {}\n",
		"sub/internal/b/b.go":  "package b\nfunc X() {}\n",
		"sub/testdata/b.go":    "package b\nfunc X() {}\n",
		"sub/deep/deep.go":     "package deep\nfunc X() {}\n",
		"examples/lib/lib.go":  "package lib\nfunc X() {}\n",
		"empty/doc_windows.go": "package empty\n",
	} {
		path = filepath.Join(dir, path)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	got, err := CountExports(dir)
	if err != nil {
		t.Fatal(err)
	}
	want := []Exports{
		{Package: ".", Consts: 3, Vars: 1, Funcs: 3, Types: 3, Methods: 1, InterfaceMethods: 1, Fields: 2},
		{Package: "sub/deep", Funcs: 1},
	}
	if !slices.Equal(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
}
