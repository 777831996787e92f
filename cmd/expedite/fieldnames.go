package main

import "regexp"

// flagOf names the flag of serve, or the variable, that sets a field of expedite.Config.
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
}

var configField = regexp.MustCompile(`(Config|Handler)(\.[A-Z][A-Za-z]*)+`)

// inFlags replaces the fields of expedite.Config in an error by the flags of serve: package expedite names what a
// program can change, and here that is the command line.
func inFlags(text string) string {
	return configField.ReplaceAllStringFunc(text, func(field string) string {
		if flag := flagOf[field]; flag != "" {
			return flag
		}
		return field
	})
}
