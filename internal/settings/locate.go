package settings

import (
	"cmp"
	"errors"
	"math"
	"slices"
	"strings"

	"github.com/expedite-go/expedite/internal/configfile"
)

// InOrder joins errors: those of the configuration file in the order of its lines, and then the others.
func InOrder(errs ...error) error {
	all := leaves(nil, errs...)
	line := func(err error) int {
		if e, ok := errors.AsType[configfile.Error](err); ok {
			return e.Line
		}
		return math.MaxInt
	}
	slices.SortStableFunc(all, func(a, b error) int { return cmp.Compare(line(a), line(b)) })
	return errors.Join(all...)
}

// leaves appends the errors that are not nil to list, and of one that was joined its parts.
func leaves(list []error, errs ...error) []error {
	for _, err := range errs {
		if joined, ok := err.(interface{ Unwrap() []error }); ok {
			list = leaves(list, joined.Unwrap()...)
		} else if err != nil {
			list = append(list, err)
		}
	}
	return list
}

// Locate returns an error of another package as the users of the settings see it: where packages name the fields of
// their configuration, it names settings, and it begins with the place of the value that it is about. What follows only
// from a value that Load has refused is left out, and so is what is there twice.
func (l *Loaded) Locate(err error) error {
	if err == nil {
		return nil
	}
	var list []error
	seen := make(map[string]bool)
	for _, one := range leaves(nil, err) {
		if one = l.locate(one); one != nil && !seen[one.Error()] {
			seen[one.Error()] = true
			list = append(list, one)
		}
	}
	return InOrder(list...)
}

// locate is Locate for one error.
func (l *Loaded) locate(err error) error {
	text := strings.TrimPrefix(err.Error(), "expedite: ")
	var lead *Setting
	for _, f := range field.FindAllString(text, -1) {
		s := l.settingOf(f)
		if s == nil {
			continue
		}
		if l.wrong[s.Name] {
			return nil
		}
		if _, ok := l.given[s.Name]; ok && lead == nil {
			lead = s
		}
	}
	if lead == nil {
		return located{InFlags(text), err}
	}
	at := l.place(lead.Name)
	text = field.ReplaceAllStringFunc(text, func(f string) string {
		if s := l.settingOf(f); s != nil {
			return l.nameOf(s, lead)
		}
		return InFlags(f)
	})
	name := l.nameOf(lead, lead)
	if !strings.HasPrefix(text, name) {
		text = name + ": " + text
	}
	if at.source == fromFile {
		return configfile.NewError(at.line, "%s: %w", at, located{text, err})
	}
	return located{text, err}
}

// settingOf returns the setting of a field: the one with its file, if that is given. It is nil if there is none.
func (l *Loaded) settingOf(field string) *Setting {
	_, names := settingsByField()
	name := names[field]
	s := l.table.find(name)
	if _, ok := l.given[name]; ok || s == nil {
		return s
	}
	if file := l.table.find(name + "-file"); file != nil && l.isSet(file.Name) {
		return file
	}
	return s
}

// nameOf returns the name of a setting in an error about the value of lead: as it was given, or as lead was.
func (l *Loaded) nameOf(s, lead *Setting) string {
	g, ok := l.given[s.Name]
	from := g.place.source
	if !ok {
		from = l.place(lead.Name).source
	}
	switch {
	case s.IsSecret() && !ok:
		return s.inFlags()
	case ok && from == fromFile && s != lead:
		return s.Name + " (" + g.place.String() + ")"
	case from == fromFile:
		return s.Name
	case from == fromVariable && ok:
		return g.place.name
	case from == fromVariable:
		return s.Variable()
	default:
		return s.inFlags()
	}
}

// located is an error with another text.
type located struct {
	text string
	error
}

// Error returns the text.
func (e located) Error() string { return e.text }

// Unwrap returns the error.
func (e located) Unwrap() error { return e.error }
