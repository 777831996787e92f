package settings

import (
	"slices"
	"strings"
)

// Prefix is the prefix of the variables of settings.
const Prefix = "EXPEDITE_"

// Setting is a row of the table.
type Setting struct {
	// Name is that of the flag and of the key in the file. The variable is EXPEDITE_ and the name.
	Name string
	// Help says in one sentence what it does.
	Help string
	// Default is the text of its value if it is not set. If it is empty, Auto says in words what applies then.
	Default, Auto string
	// Example is shown in place of a value. By default it is that of the type.
	Example string
	// Variables are further environment variables that set it. That with the prefix comes first.
	Variables []string
	// Live reports that a reload of the same program applies it without a new process: the root package does.
	Live bool
	// FileOf is the setting, a secret, of which this one names a file. If to is not set, the content of the file becomes
	// the value of that setting.
	FileOf string

	to value
}

// Group is a part of the table with a heading.
type Group struct {
	Title    string
	Settings []Setting
}

// Variable returns the environment variable of a setting.
func (s *Setting) Variable() string {
	return Prefix + strings.ToUpper(strings.ReplaceAll(s.Name, "-", "_"))
}

// AllVariables returns the environment variables that set it, the first one first.
func (s *Setting) AllVariables() []string { return append([]string{s.Variable()}, s.Variables...) }

// IsSecret reports whether its value is a secret, which has a variable, but neither a flag nor a key.
func (s *Setting) IsSecret() bool { return s.to.secrecy == secretText }

// example returns what is shown in place of a value.
func (s *Setting) example() string {
	switch {
	case s.Example != "":
		return s.Example
	case s.Default != "":
		return s.Default
	case s.to.list:
		return s.to.example + ",..."
	case s.to.set == nil:
		return "FILE"
	default:
		return s.to.example
	}
}

// helpText returns the help with the accepted words and what applies without a value.
func (s *Setting) helpText() string {
	help := s.Help
	if len(s.to.enum) > 0 {
		help = strings.TrimSuffix(help, ".") + ": " + strings.Join(s.to.enum, ", ") + "."
	}
	if s.Auto != "" {
		help += " Default: " + s.Auto + "."
	}
	return help
}

// table is the schema, bound to the program that its settings configure.
type table []Group

// settings returns all rows.
func (t table) settings() []*Setting {
	var list []*Setting
	for i := range t {
		for j := range t[i].Settings {
			list = append(list, &t[i].Settings[j])
		}
	}
	return list
}

// find returns the setting with a name, or nil.
func (t table) find(name string) *Setting {
	all := t.settings()
	if i := slices.IndexFunc(all, func(s *Setting) bool { return s.Name == name }); i >= 0 {
		return all[i]
	}
	return nil
}

// Keys returns the names of all settings that may be flags and keys of the file.
func Keys() []string {
	var names []string
	for _, s := range newTable(new(Program)).settings() {
		if !s.IsSecret() {
			names = append(names, s.Name)
		}
	}
	return names
}
