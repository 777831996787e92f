package tidy

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// policy says what each package may import beside the standard library: own packages by folder, others by module path.
// What is not listed is an error, and so is a package that is not listed. Tests may import more.
var policy = map[string]string{
	"ws":                 "",
	"auth":               "",
	"broker":             "",
	"broker/brokertest":  "broker",
	"internal/wheel":     "",
	"internal/topic":     "",
	"internal/tidy":      "",
	"internal/fdpass":    "golang.org/x/sys",
	"internal/reactor":   "internal/wheel golang.org/x/sys",
	"internal/engine":    "ws internal/reactor internal/topic internal/wheel",
	"internal/control":   "golang.org/x/sys",
	"internal/telemetry": "github.com/prometheus/client_golang github.com/lmittmann/tint golang.org/x/sys",
	"cluster":            "internal/fdpass golang.org/x/sys",
	".":                  "ws auth broker cluster internal/engine internal/control internal/telemetry",
	"cmd/expedite":       ". ws cluster internal/control internal/telemetry github.com/alecthomas/kong go.yaml.in/yaml/v3",
	"examples/chat":      ". auth",
	"benchmarks":         ". ws github.com/lxzan/gws golang.org/x/sys",
}

// pure packages must do without these, so that they can be tested and used anywhere.
var pure = map[string]string{
	"ws":             "net net/http os time math/rand crypto/rand sync",
	"broker":         "net net/http os time",
	"internal/wheel": "net os",
	"internal/topic": "net os time",
}

func importFaults(f *file) (faults []string) {
	allowed, ok := policy[f.pkg()]
	if !ok {
		return []string{f.path + ": the import policy does not know this package"}
	}
	if f.isTest() {
		return nil
	}
	for _, spec := range f.ast.Imports {
		path, err := strconv.Unquote(spec.Path.Value)
		if err != nil {
			return []string{err.Error()}
		}
		if slices.Contains(strings.Fields(pure[f.pkg()]), path) {
			faults = append(faults, fmt.Sprintf("%s:%d imports %s", f.path, f.line(spec.Pos()), path))
		}
		if path == module {
			path = "."
		}
		path, own := strings.CutPrefix(path, module+"/")
		standard := !own && path != "." && !strings.Contains(strings.Split(path, "/")[0], ".")
		if !standard && !slices.ContainsFunc(strings.Fields(allowed), func(a string) bool {
			return path == a || (!own && a != "." && strings.HasPrefix(path, a+"/"))
		}) {
			faults = append(faults, fmt.Sprintf("%s:%d imports %s", f.path, f.line(spec.Pos()), path))
		}
	}
	return faults
}

// TestImports: packages import what the policy lets them, and nothing else.
func TestImports(t *testing.T) {
	seen := make(map[string]bool)
	for _, f := range goFiles(t) {
		seen[f.pkg()] = true
		for _, fault := range importFaults(f) {
			t.Error(fault)
		}
	}
	for pkg := range policy {
		if !seen[pkg] {
			t.Errorf("the policy knows %s, which does not exist", pkg)
		}
	}
}

// TestImportRule: the rule notices what it is there for.
func TestImportRule(t *testing.T) {
	for _, tt := range []struct {
		path, imports string
		faults        int
	}{
		{"ws/a.go", `import "fmt"`, 0},
		{"ws/a.go", `import "net/http"`, 1},
		{"cluster/a.go", `import "github.com/expedite-go/expedite/ws"`, 1},
		{"cluster/a.go", `import "github.com/expedite-go/expedite/internal/fdpass"`, 0},
		{"cluster/a_test.go", `import "go.uber.org/goleak"`, 0},
		{"internal/engine/a.go", `import "github.com/expedite-go/expedite"`, 1},
		{"internal/new/a.go", "", 1},
		{"cmd/expedite/a.go", `import "github.com/alecthomas/kong"`, 0},
		{"cmd/expedite/a.go", `import "github.com/spf13/cobra"`, 1},
	} {
		wantFaults(t, tt.path+" "+tt.imports, importFaults(parse(t, tt.path, "package a\n"+tt.imports)), tt.faults)
	}
}
