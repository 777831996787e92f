package main

import (
	"os"
	"strings"
)

// environmentPrefix is the prefix of the variables of flags.
const environmentPrefix = "EXPEDITE_"

// prepareEnvironment makes two kinds of variables follow the order of flags, environment and file. It unsets empty
// variables with the prefix, which would otherwise hide the values of the file. It copies PORT and REDIS_URL, which
// hosting platforms set, to EXPEDITE_ADDR and EXPEDITE_REDIS if those are not set.
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
