package cluster

import (
	"io"
	"os"
	"slices"
)

// Settings determine how workers are started.
type Settings struct {
	// Exec is the program of the workers. If Config.Exec was empty, Exec holds the path of this process's own program;
	// that path means the running program, not the file that is there now: see Config.Exec.
	Exec string
	// Args are its arguments, without the program's name.
	Args []string
	// Env is added to the environment of the workers, which is that of this process. Set GOMAXPROCS, GOMEMLIMIT, GOGC
	// and GODEBUG here.
	Env []string
	// Dir is the working directory. Empty is that of this process.
	Dir string
	// Stdout and Stderr receive the output of the workers. io.Discard drops it. Standard input is empty.
	Stdout, Stderr io.Writer
	// Credential is the user that the workers run as. Nil is the user of this process.
	Credential *Credential
}

// Credential is a user and its groups. A primary may start processes of another user only if it has the privilege to:
// as root, or with CAP_SETUID and CAP_SETGID.
type Credential struct {
	UID, GID uint32
	// Groups are the supplementary groups. Empty is none.
	Groups []uint32
}

// settings returns the first settings, with defaults. own is the path of this process's program.
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

// clone returns a deep copy; only the writers are shared.
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

// merge returns a copy of next whose unset fields are those of s. A list that is empty but not nil is set.
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
