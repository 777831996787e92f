package primary

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/expedite-go/expedite/internal/listener"
)

// settings are those that a program compares with the ones of the program that it replaces. They are written as JSON;
// fields may be added.
type settings struct {
	Addr       string   `json:"addr"`                // the first one
	Listeners  []string `json:"listeners,omitempty"` // all addresses with their options; none from early releases
	Scheduling string   `json:"scheduling"`
	Control    string   `json:"control"`
	Workers    int      `json:"workers"`
	Auth       string   `json:"auth"`
	Origins    []string `json:"origins,omitempty"`
}

func (c *Config) settings() settings {
	var all []string
	for _, l := range c.Listeners {
		all = append(all, l.String())
	}
	first := ""
	if len(c.Listeners) > 0 {
		first = c.Listeners[0].Key()
	}
	return settings{
		Addr: first, Listeners: all, Scheduling: c.Scheduling.String(), Control: c.Socket, Workers: c.Workers,
		Auth: c.Auth, Origins: c.Origins,
	}
}

// refuse returns an error if a reload cannot change s to next.
func (s settings) refuse(next settings) error {
	var faults []error
	if len(s.Listeners) == 0 && (len(next.Listeners) != 1 || next.Addr != keyOf(s.Addr)) {
		faults = append(faults, fmt.Errorf("expedite: Config.Addr was %q and is %q now: the running program is of an "+
			"early release, which cannot change it in a reload. Reload without the change first",
			s.Addr, strings.Join(next.Listeners, ", ")))
	}
	for _, one := range []struct{ field, was, is string }{
		{"Scheduling", s.Scheduling, next.Scheduling}, {"Control", s.Control, next.Control},
	} {
		if one.was != one.is {
			faults = append(faults, fmt.Errorf("expedite: Config.%s was %q and is %q now: "+
				"a reload cannot change it, a restart can", one.field, one.was, one.is))
		}
	}
	return errors.Join(faults...)
}

// keyOf returns the key of an address.
func keyOf(addr string) string {
	if s, err := listener.Parse(addr); err == nil {
		return s.Key()
	}
	return addr
}

// authModes are the modes of authentication, the strictest last.
var authModes = [...]string{"off", "optional", "required"}

// warn returns what next admits and s does not.
func (s settings) warn(next settings) (list []string) {
	strictness := func(mode string) int { return slices.Index(authModes[:], mode) }
	if strictness(next.Auth) < strictness(s.Auth) {
		list = append(list, fmt.Sprintf("clients without a token are let in now: auth was %s and is %s", s.Auth, next.Auth))
	}
	for _, o := range next.Origins {
		if !slices.Contains(s.Origins, o) {
			list = append(list, fmt.Sprintf("pages of %s may connect now", o))
		}
	}
	return list
}
