package scaffold

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"runtime/debug"
)

// modulePath is the module that projects require.
const modulePath = "github.com/expedite-go/expedite"

// Origin tells where a project gets this module from: a Version, or the checkout in Dir.
type Origin struct{ Version, Dir string }

// released and pseudo match versions that the module proxy has: those of tags, and those of commits.
var (
	released = regexp.MustCompile(`^v\d+\.\d+\.\d+(-[0-9A-Za-z.-]+)?$`)
	pseudo   = regexp.MustCompile(`[.-]\d{14}-[0-9a-f]{12}$`)
)

// FindOrigin returns the Origin for projects that this program makes. dir is the checkout that the user names; empty is
// the version of the program or, for a build that has none, the checkout that it was built from. version is that of the
// build.
func FindOrigin(dir, version string) (Origin, error) {
	if dir != "" {
		root, ok := checkout(dir)
		if !ok {
			return Origin{}, fmt.Errorf("--replace %s: there is no go.mod of %s", dir, modulePath)
		}
		return Origin{Dir: root}, nil
	}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		info = new(debug.BuildInfo)
	}
	if v, ok := published(info.Main, version); ok {
		return Origin{Version: v}, nil
	}
	_, source, _, _ := runtime.Caller(0) // not absolute if it was built with -trimpath
	executable, _ := os.Executable()
	here, _ := os.Getwd()
	for _, place := range []string{source, executable, here} {
		if root, ok := checkout(place); ok && filepath.IsAbs(place) {
			return Origin{Dir: root}, nil
		}
	}
	return Origin{}, errors.New("this is a development build that does not know its checkout: name it with --replace DIR")
}

// published returns the version of a build that the module proxy has.
func published(main debug.Module, version string) (string, bool) {
	if main.Path == modulePath && main.Sum != "" { // go install …@version
		return main.Version, true
	}
	return version, released.MatchString(version) && !pseudo.MatchString(version)
}

// module matches the first line of the go.mod of this module.
var module = regexp.MustCompile(`(?m)^module ` + regexp.QuoteMeta(modulePath) + `$`)

// checkout returns the folder of this module that contains a path.
func checkout(path string) (root string, ok bool) {
	dir, err := filepath.Abs(path)
	if err != nil || path == "" {
		return "", false
	}
	for {
		if b, err := os.ReadFile(filepath.Join(dir, "go.mod")); err == nil {
			return dir, module.Match(b)
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			return "", false
		}
		dir = parent
	}
}

// goMod returns the go.mod of a project. `go tool expedite` is then the command of this project.
func (o Origin) goMod(path string) string {
	version, replace := o.Version, ""
	if o.Dir != "" {
		version = "v0.0.0"
		replace = "\n// Until a release is used: the checkout on this machine.\n" +
			fmt.Sprintf("replace %s => %q\n", modulePath, o.Dir)
	}
	return fmt.Sprintf("module %s\n\ngo 1.26.0\n\nrequire %s %s\n%s\ntool %s/cmd/expedite\n",
		path, modulePath, version, replace, modulePath)
}

// note returns what the README of a project says about its dependency.
func (o Origin) note() string {
	if o.Dir == "" {
		return ""
	}
	return "\n`go.mod` replaces Expedite by a checkout on this machine. An image, and CI, need a release instead:\n" +
		"remove the line with `replace`, and `go get " + modulePath + "@latest`.\n"
}
