package main

import (
	"os"
	"strings"
)

// environmentPrefix begins the variables of all flags.
const environmentPrefix = "EXPEDITE_"

// prepareEnvironment makes two kinds of variables obey the order of flags, environment and file. An empty EXPEDITE_…
// counts as not set: it would otherwise hide what the file says. PORT and REDIS_URL, which hosting platforms set, are
// EXPEDITE_ADDR and EXPEDITE_REDIS where those are not set themselves.
func prepareEnvironment() error {
	for _, kv := range os.Environ() {
		if name, value, _ := strings.Cut(kv, "="); value == "" && strings.HasPrefix(name, environmentPrefix) {
			if err := os.Unsetenv(name); err != nil {
				return err
			}
		}
	}
	for _, of := range []struct{ name, prefix, flag string }{{"PORT", ":", "ADDR"}, {"REDIS_URL", "", "REDIS"}} {
		value, name := os.Getenv(of.name), environmentPrefix+of.flag
		if value == "" || os.Getenv(name) != "" {
			continue
		}
		if err := os.Setenv(name, of.prefix+value); err != nil {
			return err
		}
	}
	return nil
}
