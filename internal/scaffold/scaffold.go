// Package scaffold makes projects: a program of examples, what it needs to be deployed, and how it is run and tested.
package scaffold

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"strings"
)

// Options describe a project.
type Options struct {
	// Dir is its folder, which is created, or is empty. Its last element names the program.
	Dir string
	// Template is one of Templates.
	Template string
	// Module is the module path. Empty is example.com/ and the name.
	Module string
	// Origin is the module of this project that the project requires.
	Origin Origin
}

// Project is one that was made.
type Project struct {
	Dir, Name string
	Template  string
}

// nameRule is for the name of a program: also of a service, an image and a container.
var nameRule = regexp.MustCompile(`^[a-z][a-z0-9-]{0,39}$`)

// New makes a project. If only its dependencies could not be resolved, the error is a *TidyError, and the project is
// there.
func New(o Options) (p Project, err error) {
	dir, err := filepath.Abs(o.Dir)
	if err != nil {
		return p, err
	}
	p = Project{Dir: dir, Name: strings.ToLower(filepath.Base(dir)), Template: o.Template}
	if !nameRule.MatchString(p.Name) {
		return p, fmt.Errorf("%q cannot be the name of a program: take a folder of letters, digits and dashes", p.Name)
	}
	if err := checkEmpty(dir); err != nil {
		return p, err
	}
	files, err := p.files(o)
	if err != nil {
		return p, err
	}
	for name, text := range files {
		if err := write(filepath.Join(dir, filepath.FromSlash(name)), text); err != nil {
			return p, err
		}
	}
	return p, tidy(dir)
}

// checkEmpty returns an error if there is something in a folder.
func checkEmpty(dir string) error {
	list, err := os.ReadDir(dir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return err
	case len(list) > 0:
		return fmt.Errorf("%s is not empty: name a folder that is, or that does not exist", dir)
	}
	return nil
}

func write(name, text string) error {
	if err := os.MkdirAll(filepath.Dir(name), 0o777); err != nil {
		return err
	}
	return os.WriteFile(name, []byte(text), 0o666)
}

// TidyError reports that the dependencies of a project could not be resolved.
type TidyError struct {
	Output string
	Err    error
}

// Error tells what has failed, and what to do.
func (e *TidyError) Error() string {
	return fmt.Sprintf("the project is made, but its dependencies are not resolved: go mod tidy: %v\n%s\n"+
		"Run it again in the folder when this is mended.", e.Err, e.Output)
}

// Unwrap returns Err.
func (e *TidyError) Unwrap() error { return e.Err }

// tidy resolves the dependencies of a project.
func tidy(dir string) error {
	cmd := exec.Command("go", "mod", "tidy")
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "GOWORK=off", "GOFLAGS=")
	out, err := cmd.CombinedOutput()
	if errors.Is(err, exec.ErrNotFound) {
		return &TidyError{"Go is not installed: https://go.dev/dl", err}
	}
	if err != nil {
		return &TidyError{string(bytes.TrimSpace(out)), err}
	}
	return nil
}

// fileOf returns a file.
func fileOf(files fs.FS, name string) (string, error) {
	b, err := fs.ReadFile(files, name)
	return string(b), err
}

// eachFile calls f for all files of a tree but those of Go.
func eachFile(files fs.FS, f func(name, text string)) error {
	return fs.WalkDir(files, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || path.Ext(name) == ".go" {
			return err
		}
		text, err := fileOf(files, name)
		if err == nil {
			f(name, text)
		}
		return err
	})
}
