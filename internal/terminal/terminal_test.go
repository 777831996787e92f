package terminal

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestIs(t *testing.T) {
	file, err := os.Create(filepath.Join(t.TempDir(), "file"))
	if err != nil {
		t.Fatal(err)
	}
	null, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	for name, f := range map[string]*os.File{"a file": file, "the null device": null, "nil": nil} {
		if Is(f) {
			t.Errorf("%s: got true, want false", name)
		}
	}
	_ = null.Close()
	_ = file.Close()
	if Is(file) {
		t.Error("a closed file: got true, want false")
	}
}

func TestRedraw(t *testing.T) {
	var b bytes.Buffer
	Redraw(&b, strings.Repeat("ü", 100))
	if want := "\r" + strings.Repeat("ü", Width-1) + "…\x1b[K"; b.String() != want {
		t.Errorf("got %q, want %q", b.String(), want)
	}
	if CanRedraw(&b) || HasColor(&b) {
		t.Error("a buffer: got a terminal")
	}
}

func TestBar(t *testing.T) {
	for share, want := range map[float64]string{-1: "[----]", 0: "[----]", 0.5: "[##--]", 0.9: "[####]", 2: "[####]"} {
		if got := Bar(share, 4); got != want {
			t.Errorf("%g: got %q, want %q", share, got, want)
		}
	}
}
