package doctest

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// overlay has files that are in no folder of a module. The go command takes them as if they were.
type overlay struct {
	t        *testing.T
	temp     string
	module   string            // the folder of the module
	replace  map[string]string // paths in the module to real ones
	packages []string
}

func newOverlay(t *testing.T, module string) *overlay {
	t.Helper()
	module, err := filepath.Abs(module)
	if err != nil {
		t.Fatal(err)
	}
	return &overlay{t: t, temp: t.TempDir(), module: module, replace: make(map[string]string)}
}

// add adds a file to the package that belongs to path. If path ends in /file, the file is a package of its own.
func (o *overlay) add(path, text string) {
	o.t.Helper()
	name := fmt.Sprintf("f%d.go", len(o.replace))
	folder := "documentation_" + strings.NewReplacer("/", "_", ".", "_", "-", "_").Replace(path)
	if strings.HasSuffix(path, "/file") {
		folder += "_" + strings.TrimSuffix(name, ".go")
	}
	if err := os.WriteFile(filepath.Join(o.temp, name), []byte(text), 0o600); err != nil {
		o.t.Fatal(err)
	}
	o.replace[filepath.Join(o.module, folder, name)] = filepath.Join(o.temp, name)
	for _, p := range o.packages {
		if p == "./"+folder {
			return
		}
	}
	o.packages = append(o.packages, "./"+folder)
}

// file returns the path of the file for -overlay.
func (o *overlay) file() string {
	o.t.Helper()
	text, err := json.Marshal(map[string]any{"Replace": o.replace})
	if err != nil {
		o.t.Fatal(err)
	}
	path := filepath.Join(o.temp, "overlay.json")
	if err := os.WriteFile(path, text, 0o600); err != nil {
		o.t.Fatal(err)
	}
	return path
}
