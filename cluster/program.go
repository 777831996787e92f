package cluster

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

// program is an executable file that was opened once. Its processes run the file that was opened, whatever its path
// names by then: a worker that is restarted or added is of the same build as the others.
type program struct {
	path string
	file *os.File // nil: processes are started by path, which may name another build by then
	// The next three are set for a program that Reload has opened. env replaces entries in the environment of its
	// processes, workerEnv adds entries for workers. dir is the working directory; empty is that of this process.
	env       []string
	workerEnv []string
	dir       string
	tried     bool // the trial has shown that it can replace the primary's program
}

// programEnv tells a process that it was started from the descriptor programFD, which it should close.
const (
	programEnv = "EXPEDITE_PROGRAM"
	programFD  = linkFD + 1
)

// is reports whether path, as in Settings.Exec, names p.
func (p *program) is(path string) bool { return p.path == path }

// setCommand makes cmd run p. It must have exactly one extra file, so that p gets the descriptor programFD.
func (p *program) setCommand(cmd *exec.Cmd) {
	if p.file == nil {
		return
	}
	cmd.Path, cmd.Args[0], cmd.Err = fmt.Sprintf("/proc/self/fd/%d", programFD), os.Args[0], nil
	cmd.ExtraFiles = append(cmd.ExtraFiles, p.file)
	cmd.Env = append(cmd.Env, programEnv+"=1")
}

// environ returns the environment of this process with the entries of p.env replacing those of the same name.
func (p *program) environ() []string {
	return append(slices.DeleteFunc(os.Environ(), func(kv string) bool {
		name, _, _ := strings.Cut(kv, "=")
		return slices.ContainsFunc(p.env, func(own string) bool { return strings.HasPrefix(own, name+"=") })
	}), p.env...)
}

// leaveProgram closes the descriptor that this process was started from, if any.
func leaveProgram() error {
	if os.Getenv(programEnv) == "" {
		return nil
	}
	closeFD(programFD)
	nameProcess()
	return os.Unsetenv(programEnv)
}

func (p *program) close() {
	if p.file != nil {
		_ = p.file.Close()
	}
}

// execPath returns the path to pass to exec when p replaces the program of this process.
func (p *program) execPath() string {
	if p.file == nil {
		return p.path
	}
	return fmt.Sprintf("/proc/self/fd/%d", p.file.Fd())
}

// invocation records how this process was started. Each reload resolves it again, because a deployment may have
// replaced the file or the symbolic link.
type invocation struct {
	Name string `json:"name"` // a path relative to Dir, or a name that is looked up in PATH
	Dir  string `json:"dir"`  // as $PWD has it, which may contain a symbolic link that changes
}

// invoked returns how this process was started. The parent process may choose any name; one that does not lead to the
// running program is replaced by the program's path.
func invoked() (invocation, error) {
	dir, err := os.Getwd() // $PWD, if that is correct
	if err != nil {
		return invocation{}, err
	}
	exe, err := os.Executable()
	if err != nil {
		return invocation{}, err
	}
	v := invocation{Name: os.Args[0], Dir: dir}
	path, err := v.resolve()
	if err != nil || !sameFile(path, exe) {
		v.Name = exe
	}
	return v, nil
}

// resolve returns the path at which the program is on disk now.
func (v invocation) resolve() (string, error) {
	switch {
	case filepath.IsAbs(v.Name):
		return v.Name, nil
	case strings.ContainsRune(v.Name, filepath.Separator):
		return filepath.Join(v.Dir, v.Name), nil
	}
	path, err := exec.LookPath(v.Name)
	if err != nil && !errors.Is(err, exec.ErrDot) {
		return "", err
	}
	if !filepath.IsAbs(path) { // PATH has a relative entry
		path = filepath.Join(v.Dir, path)
	}
	return path, nil
}

// enter changes the working directory, and returns a function that changes it back. It does nothing if dir is empty.
func enter(dir string) (back func(), err error) {
	if dir == "" {
		return func() {}, nil
	}
	here, err := os.Open(".")
	if err != nil {
		return nil, err
	}
	if err := os.Chdir(dir); err != nil {
		return nil, errors.Join(err, here.Close())
	}
	return func() {
		_ = here.Chdir()
		_ = here.Close()
	}, nil
}

// programs are the files that a primary starts workers from. The launcher's lock guards them.
type programs struct {
	invocation invocation
	current    *program   // the running one; after a Reload the one that all workers run, and that Exec will run
	reloaded   bool       // current was started by a Reload
	files      []*program // all that are open
}

// find opens the program that this process runs.
func (s *programs) find(left *Inheritance) (err error) {
	if left != nil && left.h.Invocation != nil {
		s.invocation = *left.h.Invocation
	} else if s.invocation, err = invoked(); err != nil {
		return err
	}
	path, err := s.invocation.resolve()
	if err != nil { // the file is gone
		path = s.invocation.Name
	}
	s.current, err = s.open(path, "/proc/self/exe")
	return err
}

// next opens the program that is on disk now.
func (s *programs) next() (*program, error) {
	path, err := s.invocation.resolve()
	if err != nil {
		return nil, err
	}
	p, err := s.open(path, path)
	if err != nil {
		return nil, err
	}
	// If the directory is gone, the process can still run in the one that it is in.
	if info, err := os.Stat(s.invocation.Dir); err == nil && info.IsDir() {
		p.dir = s.invocation.Dir
	}
	return p, nil
}

func (s *programs) open(path, file string) (*program, error) {
	f, err := openProgram(file)
	if err != nil {
		return nil, err
	}
	p := &program{path: path, file: f}
	s.files = append(s.files, p)
	return p, nil
}

// closeUnused closes the programs that no worker will be started from.
func (s *programs) closeUnused(slots slotTable) {
	s.files = slices.DeleteFunc(s.files, func(p *program) bool {
		if p == s.current || slices.ContainsFunc(slots, func(at *slot) bool { return at.program == p }) {
			return false
		}
		p.close()
		return true
	})
}

// close closes all programs.
func (s *programs) close() {
	for _, p := range s.files {
		p.close()
	}
	s.files = nil
}

func sameFile(a, b string) bool {
	x, err := os.Stat(a)
	if err != nil {
		return false
	}
	y, err := os.Stat(b)
	return err == nil && os.SameFile(x, y)
}
