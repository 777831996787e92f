package primary

import (
	"errors"
	"fmt"
	"slices"
)

// settings are those that a program compares with the ones of the program that it replaces. They are written as JSON;
// fields may be added.
type settings struct {
	Addr       string   `json:"addr"`
	Scheduling string   `json:"scheduling"`
	Control    string   `json:"control"`
	Workers    int      `json:"workers"`
	Auth       string   `json:"auth"`
	Origins    []string `json:"origins,omitempty"`
}

func (c *Config) settings() settings {
	return settings{
		Addr: c.Addr, Scheduling: c.Scheduling.String(), Control: c.Socket, Workers: c.Workers,
		Auth: c.Auth, Origins: c.Origins,
	}
}

// refuse returns an error if a reload cannot change s to next.
func (s settings) refuse(next settings) error {
	var faults []error
	for _, one := range []struct{ field, was, is string }{
		{"Addr", s.Addr, next.Addr}, {"Scheduling", s.Scheduling, next.Scheduling}, {"Control", s.Control, next.Control},
	} {
		if one.was != one.is {
			faults = append(faults, fmt.Errorf("expedite: Config.%s was %q and is %q now: "+
				"a reload cannot change it, a restart can", one.field, one.was, one.is))
		}
	}
	return errors.Join(faults...)
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
