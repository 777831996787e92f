package settings

import (
	"reflect"
	"regexp"
	"strings"
)

var field = regexp.MustCompile(`(Config|Verifier)(\.[A-Z][A-Za-z]*)+`)

// verifierField is what the keys of tokens are together.
const verifierField = "Config.Auth.Verifier"

// InFlags replaces the names of fields in an error by those of flags or variables. Packages name what their callers can
// change; users of the command change settings. [Loaded.Locate] also tells where their values are.
func InFlags(text string) string {
	t, names := settingsByField()
	return field.ReplaceAllStringFunc(text, func(field string) string {
		if s := t.find(names[field]); s != nil {
			return s.inFlags()
		}
		if field == verifierField {
			return strings.Join(t.keysOfTokens(), ", ")
		}
		return field
	})
}

// inFlags returns the flag of a setting, or the variable of a secret.
func (s *Setting) inFlags() string {
	if s.IsSecret() {
		return s.Variable()
	}
	return "--" + s.Name
}

// keysOfTokens returns the flags and variables that name a key.
func (t table) keysOfTokens() (list []string) {
	for _, g := range t {
		for i := range g.Settings {
			s := &g.Settings[i]
			if s.Name == "auth-introspect" || g.Title == KeysOfTokens && !s.to.list && s.to.set != nil {
				list = append(list, s.inFlags())
			}
		}
	}
	return list
}

// settingsByField returns the schema, and the names of the settings that set the fields of Program, such as
// Config.Tuning.Procs.
func settingsByField() (t table, names map[string]string) {
	p := new(Program)
	t = newTable(p)
	byTarget := make(map[target]string)
	for _, s := range t.settings() {
		if s.to.target != nil {
			v := reflect.ValueOf(s.to.target)
			byTarget[target{v.Pointer(), v.Elem().Kind()}] = s.Name
		}
	}
	names = make(map[string]string)
	nameFields(reflect.ValueOf(p).Elem(), "", byTarget, names)
	return t, names
}

// target identifies a field by its address; a struct and its first field have the same one.
type target struct {
	address uintptr
	kind    reflect.Kind
}

// nameFields adds the fields of a struct that are targets to names.
func nameFields(v reflect.Value, path string, byTarget map[target]string, names map[string]string) {
	for i := range v.NumField() {
		f, at := v.Field(i), strings.TrimPrefix(path+"."+v.Type().Field(i).Name, ".")
		if name := byTarget[target{f.Addr().Pointer(), f.Kind()}]; name != "" {
			names[at] = name
		} else if f.Kind() == reflect.Struct {
			nameFields(f, at, byTarget, names)
		}
	}
}
