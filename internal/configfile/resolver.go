package configfile

import (
	"cmp"
	"errors"
	"os"
	"slices"
	"strings"

	"github.com/alecthomas/kong"

	"github.com/expedite-go/expedite/internal/spelling"
)

// Resolver resolves the flags of commands that share settings with the server, such as --control of status, from the
// configuration file: below the environment, above the defaults.
type Resolver struct {
	// Keys are all keys that may be in the file.
	Keys []string
	// FileFlag is the name of the flag that names the file, and FileVariable that of its variable.
	FileFlag, FileVariable string

	loaded bool
	values map[string]string
}

// FlagTag is the tag of flags whose command reads the file itself.
const FlagTag = "setting"

// Validate implements kong.Resolver. There is nothing to validate before the file is read.
func (*Resolver) Validate(*kong.Application) error { return nil }

// Resolve returns the value of a flag in the file, or nil. It reads the file at the first flag that may be in it and
// has no variable: a command like stop --control works even if the file is broken.
func (r *Resolver) Resolve(ctx *kong.Context, _ *kong.Path, flag *kong.Flag) (any, error) {
	if !slices.Contains(r.Keys, flag.Name) || flag.Tag.Has(FlagTag) {
		return nil, nil
	}
	for _, env := range flag.Envs {
		if _, ok := os.LookupEnv(env); ok {
			return nil, nil
		}
	}
	if !r.loaded {
		r.loaded = true
		file, err := Read(r.FileName(ctx))
		if err = errors.Join(err, file.Check(r.Keys)); err != nil {
			return nil, err
		}
		r.values = make(map[string]string)
		for _, e := range file.Entries {
			r.values[e.Key] = strings.Join(e.Texts, ",")
		}
	}
	if v, ok := r.values[flag.Name]; ok {
		return v, nil
	}
	return nil, nil
}

// FileName returns the file that the command line or the environment names, or "".
func (r *Resolver) FileName(ctx *kong.Context) string {
	return cmp.Or(r.FlagValue(ctx), os.Getenv(r.FileVariable))
}

// FlagValue returns the file that the command line names, or "".
func (r *Resolver) FlagValue(ctx *kong.Context) string {
	for _, p := range ctx.Path {
		if p.Flag != nil && p.Flag.Name == r.FileFlag {
			if name, ok := ctx.FlagValue(p.Flag).(string); ok {
				return name
			}
		}
	}
	return ""
}

// Check returns an error for each key that is not known.
func (f File) Check(known []string) error {
	var faults []error
	for _, e := range f.Entries {
		if !slices.Contains(known, e.Key) {
			faults = append(faults, NewError(e.Line, "%s:%d: unknown key %q%s", f.Name, e.Line, e.Key,
				spelling.Suggest(e.Key, known)))
		}
	}
	return errors.Join(faults...)
}

var _ kong.Resolver = (*Resolver)(nil)
