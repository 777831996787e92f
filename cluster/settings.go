package cluster

import (
	"io"
	"os"
	"slices"
)

// Settings are what workers are started with.
type Settings struct {
	// Exec is the program of the workers. The path that Config.Exec had when it was empty is this process's own program,
	// not what is on disk there: see Config.
	Exec string
	// Args are its arguments, without its name.
	Args []string
	// Env is added to the environment of the workers, which is that of this process. GOMAXPROCS, GOMEMLIMIT, GOGC and
	// GODEBUG belong here.
	Env []string
	// Dir is the working directory. Empty is that of this process.
	Dir string
	// Stdout and Stderr receive what workers write there. io.Discard makes them silent. Standard input is empty.
	Stdout, Stderr io.Writer
	// Credential is who the workers are. Nil is the user of this process.
	Credential *Credential
}

// Credential is a user and its groups. To become another user, a primary needs the right to (root, or CAP_SETUID and
// CAP_SETGID).
type Credential struct {
	UID, GID uint32
	// Groups are the supplementary groups. Empty is none.
	Groups []uint32
}

// settings are the first ones, with the defaults of Config. own is the path of this process's program.
func (c Config) settings(own string) Settings {
	s := Settings{
		Exec: c.Exec, Args: c.Args, Env: c.Env, Dir: c.Dir,
		Stdout: c.Stdout, Stderr: c.Stderr, Credential: c.Credential,
	}.clone()
	if s.Exec == "" {
		s.Exec = own
		if s.Args == nil {
			s.Args = slices.Clone(os.Args[1:])
		}
	}
	if s.Stdout == nil {
		s.Stdout = os.Stdout
	}
	if s.Stderr == nil {
		s.Stderr = os.Stderr
	}
	return s
}

// clone is a copy that shares nothing which can be changed.
func (s Settings) clone() Settings {
	s.Args = slices.Clone(s.Args)
	s.Env = slices.Clone(s.Env)
	if s.Credential != nil {
		c := *s.Credential
		c.Groups = slices.Clone(c.Groups)
		s.Credential = &c
	}
	return s
}

// merge puts the fields of next that are set in the place of those of s. An empty list that is not nil is set.
func (s Settings) merge(next Settings) Settings {
	next = next.clone()
	if next.Exec == "" {
		next.Exec = s.Exec
	}
	if next.Args == nil {
		next.Args = s.Args
	}
	if next.Env == nil {
		next.Env = s.Env
	}
	if next.Dir == "" {
		next.Dir = s.Dir
	}
	if next.Stdout == nil {
		next.Stdout = s.Stdout
	}
	if next.Stderr == nil {
		next.Stderr = s.Stderr
	}
	if next.Credential == nil {
		next.Credential = s.Credential
	}
	return next
}

// Setup changes what workers that are started from here on, restarts among them, are started with. Fields that are zero
// stay as they are. Workers that run are not touched. EventSetup follows.
func (p *Primary) Setup(s Settings) {
	p.mu.Lock()
	p.settings = p.settings.merge(s)
	p.mu.Unlock()
	p.do(func() { p.tell(Event{Kind: EventSetup}) })
}

// Settings are what the next worker is started with.
func (p *Primary) Settings() Settings {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.settings.clone()
}
