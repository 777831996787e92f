package settings

import (
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"github.com/expedite-go/expedite/internal/configfile"
)

// Flags are the flags of settings, for a parser of the command line that fills a struct with tags (kong).
type Flags struct {
	names  []string
	target reflect.Value
}

// NewFlags returns the flags of the settings of some groups, or of all groups.
func NewFlags(groups ...string) *Flags {
	f := new(Flags)
	var fields []reflect.StructField
	for _, g := range newTable(new(Program)) {
		if len(groups) > 0 && !slices.Contains(groups, g.Title) {
			continue
		}
		for i := range g.Settings {
			s := &g.Settings[i]
			if s.IsSecret() {
				continue
			}
			f.names = append(f.names, s.Name)
			fields = append(fields, s.field(g.Title))
		}
	}
	f.target = reflect.New(reflect.StructOf(fields))
	return f
}

// field returns the field that the text of a flag is parsed into. It is nil if the flag is not given.
func (s *Setting) field(group string) reflect.StructField {
	words := strings.Split(s.Name, "-")
	for i, w := range words {
		words[i] = strings.ToUpper(w[:1]) + w[1:]
	}
	t := reflect.TypeFor[[]string]()
	if s.to.flag {
		t = reflect.TypeFor[*bool]()
	}
	help := strings.TrimSuffix(s.helpText(), ".") + " ($" + s.Variable() + ")."
	return reflect.StructField{
		Name: strings.Join(words, ""), Type: t,
		Tag: reflect.StructTag(fmt.Sprintf(`name:%q help:%s placeholder:%q group:%q %s:"" env:"-" sep:"none"`,
			s.Name, strconv.Quote(help), s.example(), group, configfile.FlagTag)),
	}
}

// Grammar returns the pointer to a struct that a parser fills.
func (f *Flags) Grammar() any { return f.target.Interface() }

// Given returns the texts of the flags that were given, by the name of the setting.
func (f *Flags) Given() map[string][]string {
	given := make(map[string][]string)
	for i, name := range f.names {
		switch v := f.target.Elem().Field(i).Interface().(type) {
		case []string:
			if len(v) > 0 {
				given[name] = v
			}
		case *bool:
			if v != nil {
				given[name] = []string{strconv.FormatBool(*v)}
			}
		}
	}
	return given
}
