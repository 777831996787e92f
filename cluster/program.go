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

// program is an executable file that was opened once. Processes run what it was then, whatever its path names by now:
// a worker that is restarted, or added, is of the same build as the others.
type program struct {
	path string
	file *os.File // nil: processes are started by path, which may be another build by then
	// Of a program that a Reload has opened: what its processes find in their environment, in place of what is there
	// now, and their working folder. Empty is this process's own.
	env       []string
	workerEnv []string // further entries, of workers
	dir       string
	tried     bool // it could take the place of the primary's
}

// programEnv tells a process that it was started from the descriptor programFD, and may close it.
const (
	programEnv = "EXPEDITE_PROGRAM"
	programFD  = linkFD + 1
)

// is reports whether a path of Settings means p.
func (p *program) is(path string) bool { return p.path == path }

// setCommand makes a command, which has one extra file yet, run p.
func (p *program) setCommand(cmd *exec.Cmd) {
	if p.file == nil {
		return
	}
	cmd.Path, cmd.Args[0], cmd.Err = fmt.Sprintf("/proc/self/fd/%d", programFD), os.Args[0], nil
	cmd.ExtraFiles = append(cmd.ExtraFiles, p.file)
	cmd.Env = append(cmd.Env, programEnv+"=1")
}

// environ returns the environment of this process with the entries of p in place of its own.
func (p *program) environ() []string {
	return append(slices.DeleteFunc(os.Environ(), func(kv string) bool {
		name, _, _ := strings.Cut(kv, "=")
		return slices.ContainsFunc(p.env, func(own string) bool { return strings.HasPrefix(own, name+"=") })
	}), p.env...)
}

// leaveProgram closes the descriptor that this process was started from, if it was.
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

// execPath is the path for a process that replaces its program by p.
func (p *program) execPath() string {
	if p.file == nil {
		return p.path
	}
	return fmt.Sprintf("/proc/self/fd/%d", p.file.Fd())
}

// invocation is how this process was started: Name is a path, or a name that is looked up in PATH, seen from Dir. It is
// resolved anew at each reload, because a deploy may have put another file, or another link, in its place.
type invocation struct {
	Name string `json:"name"`
	Dir  string `json:"dir"` // as $PWD names it: through a link that may change
}

// invoked returns how this process was started. A name that does not lead to the program that runs, because whoever
// started it chose another one, is replaced by the program's own path.
func invoked() (invocation, error) {
	dir, err := os.Getwd() // $PWD, if that is true
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

// resolve returns the path of the program as it is on disk now.
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
	if !filepath.IsAbs(path) { // found through a folder of PATH that is relative itself
		path = filepath.Join(v.Dir, path)
	}
	return path, nil
}

// enter makes a folder the working folder; back undoes that. An empty one is the one that there is.
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

// programs are what a primary starts workers from. On the run loop only.
type programs struct {
	invocation invocation
	current    *program // that runs here; after a Reload the one that all workers have, which Exec takes
	reloaded   bool
	files      []*program
}

// find finds the program that runs here.
func (s *programs) find(left *Inheritance) (err error) {
	if left != nil && left.h.Invocation != nil {
		s.invocation = *left.h.Invocation
	} else if s.invocation, err = invoked(); err != nil {
		return err
	}
	path, err := s.invocation.resolve()
	if err != nil { // nothing has its name any more
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
	// A folder that is gone is no reason to refuse: the one that this process is in still exists for it.
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

// closeUnused closes the programs that nothing will be started from.
func (s *programs) closeUnused(slots []*slot) {
	s.files = slices.DeleteFunc(s.files, func(p *program) bool {
		if p == s.current || slices.ContainsFunc(slots, func(at *slot) bool { return at.program == p }) {
			return false
		}
		p.close()
		return true
	})
}

// close closes all.
func (s *programs) close() {
	for _, p := range s.files {
		p.close()
	}
	s.files = nil
}

// closePrograms closes what a roll, or a trial, has opened and left.
func (p *Primary) closePrograms() { p.doNow(func() { p.programs.closeUnused(p.slots) }) }

// openNext opens the program that is on disk now, in the place of the one that runs here. Nil without an error: workers
// have another program, by its path.
func (p *Primary) openNext() (next *program, err error) {
	p.doNow(func() {
		if p.programs.current.is(p.Settings().Exec) {
			next, err = p.programs.next()
		}
	})
	return next, err
}

// took notes that all workers have another program: what is started from here on has it, too, and Exec takes it. On
// the run loop.
func (p *Primary) took(next *program) {
	p.mu.Lock()
	if p.programs.current.is(p.settings.Exec) {
		p.settings.Exec = next.path
	}
	p.mu.Unlock()
	p.programs.current, p.programs.reloaded = next, true
}

// wasTried reports whether a program was tried by the Reload that has started the workers from it. Its settings were
// resolved then, once for all its processes.
func (p *Primary) wasTried(next *program) (yes bool) {
	p.doNow(func() { yes = next == p.programs.current && next.tried })
	return yes
}

// execProgram returns what Exec runs: what the last Reload has started, else what is on disk now.
func (p *Primary) execProgram() (next *program, err error) {
	err = ErrStopped
	p.doNow(func() {
		err = nil
		switch path := p.Settings().Exec; {
		case !p.programs.current.is(path):
			next = &program{path: path}
		case p.programs.reloaded:
			next = p.programs.current
		default:
			next, err = p.programs.next()
		}
	})
	return next, err
}

func sameFile(a, b string) bool {
	x, err := os.Stat(a)
	if err != nil {
		return false
	}
	y, err := os.Stat(b)
	return err == nil && os.SameFile(x, y)
}
