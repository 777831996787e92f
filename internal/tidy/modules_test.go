package tidy

import (
	"cmp"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

var (
	required     = regexp.MustCompile(`(?m)^(?:require +|\t)(\S+) v\d`) // a line of go.mod
	dependedUpon = regexp.MustCompile("(?m)^\\| `([^`]+)`")             // a row of docs/dependencies.md
)

// moduleFaults compares the modules that go.mod requires and the code imports with the rows of docs/dependencies.md.
func moduleFaults(mod, doc string, imports []string) (faults []fault) {
	modules := firsts(required, mod)
	slices.SortFunc(modules, func(a, b string) int { return cmp.Compare(len(b), len(a)) }) // the longest match counts
	listed := firsts(dependedUpon, doc)
	used := make(map[string]bool)
	for _, path := range imports {
		i := slices.IndexFunc(modules, func(m string) bool { return path == m || strings.HasPrefix(path, m+"/") })
		if i >= 0 && !used[modules[i]] {
			used[modules[i]] = true
			if !slices.Contains(listed, modules[i]) {
				faults = append(faults, fault{"docs/dependencies.md", 1, "dependency", "no row for " + modules[i]})
			}
		}
	}
	for _, m := range listed {
		if !used[m] {
			faults = append(faults, fault{"docs/dependencies.md", 1, "dependency", "nothing imports " + m})
		}
	}
	return faults
}

func firsts(re *regexp.Regexp, text string) (list []string) {
	for _, m := range re.FindAllStringSubmatch(text, -1) {
		list = append(list, m[1])
	}
	return list
}

// TestDependencies checks that docs/dependencies.md has a row for each imported module, and no others.
// The modules in benchmarks and scripts/manifests have their own.
func TestDependencies(t *testing.T) {
	mod, err := os.ReadFile(filepath.Join(root, "go.mod"))
	if err != nil {
		t.Fatal(err)
	}
	doc, err := os.ReadFile(filepath.Join(root, "docs", "dependencies.md"))
	if err != nil {
		t.Fatal(err)
	}
	var imports []string
	for _, f := range goFiles(t) {
		if f.pkg() != "benchmarks" && f.pkg() != "scripts/manifests" {
			imports = append(imports, f.imports()...)
		}
	}
	for _, fault := range moduleFaults(string(mod), string(doc), imports) {
		t.Error(fault)
	}
}

// TestDependencyRule checks that the rule finds violations.
func TestDependencyRule(t *testing.T) {
	const block = "module m\n\nrequire (\n\ta.org/x v1.0.0 // indirect\n\ta.org/x/sub v1.0.0\n\ta.org/deep v1.0.0\n)\n"
	for _, tt := range []struct {
		name, mod, doc string
		imports        []string
		want           string
	}{
		{"imported and listed", block, "| `a.org/x` | for |", []string{"fmt", "a.org/x/pkg"}, ""},
		{"imported, not listed", block, "", []string{"a.org/x"}, "dependency"},
		{"listed, not imported", block, "| `a.org/x` | for |", nil, "dependency"},
		{"neither", block, "", []string{"fmt"}, ""},
		{"module within the path of another", block, "| `a.org/x` | for |", []string{"a.org/x", "a.org/x/sub"}, "dependency"},
		{"listed, not required", "module m\n", "| `a.org/y` | for |", nil, "dependency"},
		{"require on one line", "module m\n\nrequire a.org/y v1.0.0\n", "", []string{"a.org/y"}, "dependency"},
	} {
		wantRule(t, tt.name, moduleFaults(tt.mod, tt.doc, tt.imports), tt.want)
	}
}
