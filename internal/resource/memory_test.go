package resource

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// unpack writes the files of a recorded tree to a temporary directory, and returns that directory. In the record, a line
// "-- name --" precedes the lines of each file.
func unpack(t *testing.T, file string) (root string) {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	root = t.TempDir()
	_, rest, _ := strings.Cut("\n"+string(text), "\n-- ")
	for part := range strings.SplitSeq(rest, "\n-- ") {
		name, content, ok := strings.Cut(part, " --\n")
		if !ok {
			t.Fatalf("%s: %q does not begin with the name of a file", file, part)
		}
		path := filepath.Join(root, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content+"\n"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return root
}

func TestReadMemory(t *testing.T) {
	const mib = 1 << 20
	tests := []struct {
		file string // in testdata; its first line describes the machine
		want Memory
	}{
		{"bare", Memory{16384 * mib, "machine", 12288 * mib, "machine"}},
		{"v2-container", Memory{512 * mib, "/", 212 * mib, "/"}},
		{"v2-outer", Memory{1024 * mib, "/system.slice", 124 * mib, "/system.slice"}},
		{"v2-high", Memory{400 * mib, "/app", 100 * mib, "/app"}},
		{"v2-over", Memory{100 * mib, "/app", 0, "/app"}},
		{"v1", Memory{2048 * mib, "/4f2a", 1148 * mib, "/4f2a"}},
		{"hybrid", Memory{256 * mib, "/app", 200 * mib, "/app"}},
		{"machine-first", Memory{2048 * mib, "/app", 50 * mib, "machine"}},
		{"larger-than-machine", Memory{1024 * mib, "machine", 512 * mib, "machine"}},
	}
	for _, tt := range tests {
		t.Run(tt.file, func(t *testing.T) {
			got, err := ReadMemory(unpack(t, filepath.Join("testdata", tt.file+".txt")))
			if err != nil || got != tt.want {
				t.Errorf("got %+v, %v, want %+v", got, err, tt.want)
			}
		})
	}
}

// TestReadMemoryUnknown: a system without /proc/meminfo is an error, and a limit that is not a number is ignored.
func TestReadMemoryUnknown(t *testing.T) {
	if _, err := ReadMemory(t.TempDir()); !errors.Is(err, ErrUnknown) {
		t.Errorf("got %v, want ErrUnknown", err)
	}
	got, err := ReadMemory(unpack(t, "testdata/garbage.txt"))
	if want := (Memory{1024 << 20, "machine", 512 << 20, "machine"}); err != nil || got != want {
		t.Errorf("got %+v, %v, want %+v", got, err, want)
	}
}

// TestReadMemoryOfThisMachine: the figures of this machine are plausible.
func TestReadMemoryOfThisMachine(t *testing.T) {
	got, err := ReadMemory("")
	if errors.Is(err, ErrUnknown) {
		t.Skip("the available memory is unknown: ", err)
	}
	if err != nil || got.Limit <= 0 || got.Available <= 0 || got.LimitOf == "" || got.AvailableOf == "" {
		t.Errorf("got %+v, %v", got, err)
	}
}

// BenchmarkReadMemory measures what a check of a MemoryGuard costs, mostly once per second.
//
//	go test -run '^$' -bench ReadMemory ./internal/resource
func BenchmarkReadMemory(b *testing.B) {
	for b.Loop() {
		if _, err := ReadMemory(""); err != nil {
			b.Skip(err)
		}
	}
}
