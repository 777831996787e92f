package settings

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/expedite-go/expedite"
	"github.com/expedite-go/expedite/internal/configfile"
)

// Sources are where values come from: flags override variables, which override the file.
type Sources struct {
	// Flags has the texts of the flags that were given, by name.
	Flags map[string][]string
	// Environ is the environment. Empty variables count as not set.
	Environ []string
	// File is the configuration file.
	File configfile.File
	// Variables are the variables with the prefix that other parts of the program use.
	Variables []string
}

// Loaded is a program with settings, and what is known of them.
type Loaded struct {
	Program
	// Warnings are what an operator should know, one line each.
	Warnings []string

	// File is the name of the configuration file; empty if there is none.
	File string

	table table
	given map[string]given // by name; without those that are not set
	wrong map[string]bool  // by name: those whose value is wrong, and does not count
}

// given is a value that was set.
type given struct {
	place place
	texts []string
}

// Load returns the program that the sources configure, and the errors of all values that are wrong, joined in the order
// of [InOrder]. Each of them begins with the place of the value.
func Load(src Sources) (*Loaded, error) {
	l := &Loaded{given: make(map[string]given), wrong: make(map[string]bool), File: src.File.Name}
	l.table = newTable(&l.Program)
	keys := Keys()
	faults := []error{l.checkKeys(src.File, keys)}
	l.Warnings = append(unknownVariables(src.Environ, l.table, src.Variables), hiddenVariables(src.Environ, l.table)...)
	for _, s := range l.table.settings() {
		if g, ok := src.find(s); ok {
			l.given[s.Name] = g
		}
		if s.to.set != nil {
			faults = append(faults, l.noted(s, l.apply(s)))
		}
	}
	for _, s := range l.table.settings() {
		if s.FileOf != "" {
			faults = append(faults, l.noted(s, l.readSecret(s)))
		}
	}
	faults = append(faults, l.check())
	err := InOrder(faults...)
	if err != nil {
		l.Config.Auth.Mode = expedite.AuthOff // a mode without its key would be a second error
	}
	return l, err
}

// noted marks the value of a setting as wrong if err is not nil, which it returns.
func (l *Loaded) noted(s *Setting, err error) error {
	if err != nil {
		l.wrong[s.Name], l.wrong[s.FileOf] = true, true
	}
	return err
}

// Given returns the number of settings that are set.
func (l *Loaded) Given() int { return len(l.given) }

// find returns the value of a setting that overrides the others.
func (src *Sources) find(s *Setting) (given, bool) {
	if texts := src.Flags[s.Name]; len(texts) > 0 {
		return given{place{fromFlag, "--" + s.Name, 0}, s.split(texts)}, true
	}
	for _, name := range s.AllVariables() {
		if text := lookup(src.Environ, name); text != "" {
			return given{place{fromVariable, name, 0}, s.split([]string{text})}, true
		}
	}
	for _, e := range src.File.Entries {
		if e.Key == s.Name {
			at := place{fromFile, src.File.Name, e.Line}
			if e.List {
				return given{at, e.Texts}, true
			}
			return given{at, s.split(e.Texts)}, true
		}
	}
	return given{}, false
}

// lookup returns the last value of a variable, or "".
func lookup(environ []string, name string) (value string) {
	for _, kv := range environ {
		if v, ok := strings.CutPrefix(kv, name+"="); ok {
			value = v
		}
	}
	return value
}

// split splits the texts of a list, at commas or as its type wants. Of another value, the last text counts.
func (s *Setting) split(texts []string) []string {
	if !s.to.list {
		return texts[len(texts)-1:]
	}
	var all []string
	for _, t := range texts {
		if t == "" {
			continue
		}
		if s.to.cut != nil {
			all = append(all, s.to.cut(t)...)
			continue
		}
		for item := range strings.SplitSeq(t, ",") {
			all = append(all, strings.TrimSpace(item))
		}
	}
	return all
}

// apply parses the value of a setting. An empty text selects the default.
func (l *Loaded) apply(s *Setting) error {
	g := l.given[s.Name]
	texts := g.texts
	switch {
	case s.to.list && len(texts) == 0 && s.Default == "":
		return nil
	case s.to.list && len(texts) == 0:
		texts = []string{s.Default}
	case !s.to.list && len(texts) > 1:
		return g.place.fault(s.Name, errors.New("want one value, and no list"))
	case s.to.list:
	case len(texts) == 0 || texts[0] == "":
		if s.Default == "" {
			return nil
		}
		texts = []string{s.Default}
	}
	hidden := s.to.secrecy == password && slices.ContainsFunc(texts, hasPassword)
	if hidden && g.place.source == fromFlag {
		return g.place.fault(s.Name, fmt.Errorf("other users of this machine can read the password in the arguments: "+
			"put the URL into %s, or into a file, see --%s-file", s.Variable(), s.Name))
	}
	if hidden && g.place.source == fromFile && readable(g.place.name) {
		l.Warnings = append(l.Warnings, fmt.Sprintf("%s: %s: the URL has a password, and every user of this machine can "+
			"read the file: chmod o-r it", g.place, s.Name))
	}
	err := s.to.set(texts)
	switch {
	case err == nil:
		return nil
	case s.to.list: // the errors quote the elements
		var faults []error
		for _, one := range leaves(nil, err) {
			faults = append(faults, g.place.fault(s.Name, one))
		}
		return errors.Join(faults...)
	case s.to.secrecy == password:
		err = fmt.Errorf("%q: %w", maskPassword(texts[0]), err)
	case s.to.secrecy == public:
		err = fmt.Errorf("%q: %w", texts[0], err)
	}
	return g.place.fault(s.Name, err)
}

// checkKeys returns an error for each key that the file must not have.
func (l *Loaded) checkKeys(file configfile.File, keys []string) error {
	var faults []error
	known := file
	known.Entries = slices.DeleteFunc(slices.Clone(file.Entries), func(e configfile.Entry) bool {
		s := l.table.find(e.Key)
		if s == nil || !s.IsSecret() {
			return false
		}
		faults = append(faults, place{fromFile, file.Name, e.Line}.fault(e.Key, fmt.Errorf(
			"a secret is not in this file: put it into %s, or name its file with %s-file", s.Variable(), e.Key)))
		return true
	})
	return errors.Join(append(faults, known.Check(keys))...)
}

// readSecret reads the file that a setting names.
func (l *Loaded) readSecret(s *Setting) error {
	g := l.given[s.Name]
	if len(g.texts) == 0 || g.texts[0] == "" {
		return nil
	}
	of := l.table.find(s.FileOf)
	if other, ok := l.given[of.Name]; ok {
		return g.place.fault(s.Name, fmt.Errorf("%s is set too (%s): use one of them", of.Name, other.place))
	}
	content, warning, err := readSecretFile(g.texts[0])
	if err != nil {
		if s.to.set != nil {
			_ = s.to.set([]string{""}) // what opens the file would tell the same again
		}
		return g.place.fault(s.Name, err)
	}
	if warning != "" {
		l.Warnings = append(l.Warnings, fmt.Sprintf("%s: %s", s.Name, warning))
	}
	if s.to.set != nil { // the file is read again when it changes
		return nil
	}
	var faults []error
	for _, one := range leaves(nil, of.to.set(of.split([]string{content}))) {
		faults = append(faults, g.place.fault(s.Name, one))
	}
	return errors.Join(faults...)
}

// maxSecret is the largest size of a file with a secret, in bytes.
const maxSecret = 64 << 10

// readSecretFile returns the content of a file without the line ends after it.
func readSecretFile(path string) (content, warning string, err error) {
	info, err := os.Stat(path)
	if err != nil {
		return "", "", err
	}
	if info.Size() > maxSecret {
		return "", "", fmt.Errorf("%s has %d bytes: want at most %d", path, info.Size(), maxSecret)
	}
	b, err := os.ReadFile(path)
	if err != nil {
		return "", "", err
	}
	content = strings.TrimRight(string(b), "\r\n")
	if content == "" {
		return "", "", fmt.Errorf("%s is empty", path)
	}
	if readable(path) {
		warning = path + " can be read by every user of this machine: chmod o-r it"
	}
	return content, warning, nil
}

// readable reports whether every user of this machine can read a file.
func readable(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode().Perm()&0o004 != 0
}

// check returns the errors of settings that do not fit together.
func (l *Loaded) check() error {
	var faults []error
	if l.Config.Sessions.RequireRedis && !l.isSet("redis", "redis-file") {
		faults = append(faults, l.place("require-redis").fault("require-redis",
			errors.New("wants a Redis: set redis, REDIS_URL or redis-file")))
	}
	if l.Config.Auth.Mode == expedite.AuthRequired &&
		!l.isSet("auth-secret", "auth-secret-file", "auth-keys", "auth-jwks", "auth-jwks-file", "auth-introspect",
			"auth-introspect-file") {
		faults = append(faults, l.place("auth").fault("auth", errors.New("required wants a key: set "+Prefix+
			"AUTH_SECRET, auth-secret-file, auth-keys, auth-jwks or auth-introspect")))
	}
	return errors.Join(faults...)
}

// isSet reports whether one of some settings has a value.
func (l *Loaded) isSet(names ...string) bool {
	return slices.ContainsFunc(names, func(name string) bool {
		g := l.given[name]
		return len(g.texts) > 0 && g.texts[0] != ""
	})
}

// place returns where the value of a setting is.
func (l *Loaded) place(name string) place { return l.given[name].place }
