package command

import (
	"cmp"
	"fmt"
	"runtime"
	"runtime/debug"
	"strings"
)

// What the linker is told of a build, where the build information of Go does not have it:
//
//	go build -ldflags "-X github.com/expedite-go/expedite/internal/command.version=v1.2.3"
var version, commit, date string

// module is the path of this project.
const module = "github.com/expedite-go/expedite"

// Build is what is known of the program. Commit and Date are those of its source, and may be empty.
type Build struct {
	Program  string `json:"program"`
	Version  string `json:"version"`
	Commit   string `json:"commit,omitempty"`
	Date     string `json:"date,omitempty"`
	Go       string `json:"go"`
	Platform string `json:"platform"`
	// Expedite is the version of this project in the program.
	Expedite string `json:"expedite"`
}

// build returns what is known of the program, from its build information and the linker.
func (p *Program) build() Build {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		info = new(debug.BuildInfo)
	}
	return newBuild(p.Name, info)
}

func newBuild(program string, info *debug.BuildInfo) Build {
	b := Build{
		Program: program, Version: cmp.Or(version, released(&info.Main)), Commit: commit, Date: date,
		Go: runtime.Version(), Platform: runtime.GOOS + "/" + runtime.GOARCH, Expedite: "devel",
	}
	for _, s := range info.Settings {
		switch s.Key {
		case "vcs.revision":
			b.Commit = cmp.Or(b.Commit, s.Value)
		case "vcs.time":
			b.Date = cmp.Or(b.Date, s.Value)
		}
	}
	if info.Main.Path == module {
		b.Expedite = b.Version
	}
	for _, d := range info.Deps {
		if d.Path == module {
			b.Expedite = released(d)
		}
	}
	return b
}

// released returns the version of a module, or devel if it has none.
func released(m *debug.Module) string {
	if m.Replace != nil {
		m = m.Replace
	}
	if m.Version == "(devel)" {
		return "devel"
	}
	return cmp.Or(m.Version, "devel")
}

// String returns a line for people.
func (b Build) String() string {
	var facts []string
	if b.Program != product {
		facts = append(facts, product+" "+b.Expedite)
	}
	if b.Commit != "" {
		facts = append(facts, "commit "+b.Commit[:min(len(b.Commit), 12)])
	}
	if b.Date != "" {
		facts = append(facts, b.Date)
	}
	return fmt.Sprintf("%s %s (%s)", b.Program, b.Version, strings.Join(append(facts, b.Go, b.Platform), ", "))
}

// Version returns the version of the program.
func Version() string { return new(Program).build().Version }
