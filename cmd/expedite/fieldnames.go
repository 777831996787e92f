package main

import (
	"errors"
	"regexp"
)

// flagOf maps fields of expedite.Config, expedite.Handler and verifier.Config to the flag or variable that sets them.
var flagOf = map[string]string{
	"Config.Addr":                "--addr",
	"Config.Admin":               "--admin",
	"Config.AdminHosts":          "--admin-hosts",
	"Config.Control":             "--control",
	"Config.LogDir":              "--log-dir",
	"Config.StateDir":            "--state-dir",
	"Config.LogQueue":            "--log-queue",
	"Config.MaxConnections":      "--max-connections",
	"Config.MaxHandshakes":       "--max-handshakes",
	"Config.MessageMinRate":      "--message-min-rate",
	"Config.Auth.Mode":           "--auth",
	"Config.Sessions.TTL":        "--session-ttl",
	"Config.Auth.Verifier":       "--auth-keys, --auth-jwks, --auth-introspect or " + secretEnv,
	"Config.Scheduling":          "--scheduling",
	"Config.HangTimeout":         "--hang-timeout",
	"Config.MaxPartial":          "--max-partial",
	"Handler.PingInterval":       "--ping-interval",
	"Handler.IdleTimeout":        "--idle-timeout",
	"Config.Auth.Origins":        "--origins",
	"Config.Sessions.Redis":      "--redis",
	"Config.Tuning.Procs":        "--procs",
	"Config.Tuning.Rate.In":      "--rate-in",
	"Config.Tuning.Rate.Out":     "--rate-out",
	"Config.Tuning.ConnRate.In":  "--conn-rate-in",
	"Config.Tuning.ConnRate.Out": "--conn-rate-out",
	"Config.Secret":              secretEnv,
	"Config.SecretFile":          "--auth-secret-file",
	"Config.Keys":                "--auth-keys",
	"Config.JWKS":                "--auth-jwks",
	"Config.Introspect":          "--auth-introspect",
}

var configField = regexp.MustCompile(`(Config|Handler)(\.[A-Z][A-Za-z]*)+`)

// inFlags replaces the names of fields in an error by those of flags. Packages name what their callers can change; the
// user of the command changes flags.
func inFlags(text string) string {
	return configField.ReplaceAllStringFunc(text, func(field string) string {
		if flag := flagOf[field]; flag != "" {
			return flag
		}
		return field
	})
}

// wrongFlag returns an error of usage about the flag that sets the field which err names.
func wrongFlag(err error) error { return usageError{errors.New(inFlags(err.Error()))} }
