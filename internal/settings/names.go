package settings

import (
	"reflect"
	"regexp"
	"strings"
)

var field = regexp.MustCompile(`(Config|Handler|Verifier)(\.[A-Z][A-Za-z]*)+`)

// InFlags replaces the names of fields in an error by those of flags or variables. Packages name what their callers can
// change; users of the command change settings.
func InFlags(text string) string {
	names := flagsByField()
	return field.ReplaceAllStringFunc(text, func(field string) string {
		if flag := names[field]; flag != "" {
			return flag
		}
		return field
	})
}

// flagsByField returns the flag or variable that sets a field of Program, like Config.Tuning.Procs.
func flagsByField() map[string]string {
	p := new(Program)
	byTarget := make(map[target]string)
	var keys []string
	for _, g := range newTable(p) {
		for i := range g.Settings {
			s := &g.Settings[i]
			name := "--" + s.Name
			if s.IsSecret() {
				name = s.Variable()
			}
			if s.to.target != nil {
				v := reflect.ValueOf(s.to.target)
				byTarget[target{v.Pointer(), v.Elem().Kind()}] = name
			}
			if s.Name == "auth-introspect" || g.Title == KeysOfTokens && !s.to.list && s.to.set != nil {
				keys = append(keys, name)
			}
		}
	}
	names := map[string]string{"Config.Auth.Verifier": strings.Join(keys, ", ")}
	nameFields(reflect.ValueOf(p).Elem(), "", byTarget, names)
	return names
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
