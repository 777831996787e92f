// Command expedite serves WebSockets from a cluster of worker processes, and controls a running server.
//
//	expedite serve        start it
//	expedite config check what is wrong with its settings
//	expedite status       what it does
//	expedite logs         the log lines of all workers
//	expedite sessions     who is connected
//	expedite kick         close connections
//	expedite revoke       close connections, and keep their clients out
//	expedite publish      say something to a topic
//	expedite token        make and read access tokens
//	expedite reload       replace it by a new binary, the connections move over
//	expedite scale N      change the number of workers
//	expedite rebalance    even out the connections of the workers
//	expedite stop         end it gracefully
//	expedite bench        open many clients to a server, and measure
//	expedite doctor       what this machine can hold, and what limits it
package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"regexp"
	"runtime/debug"
	"strings"

	"github.com/alecthomas/kong"

	"github.com/expedite-go/expedite/cluster"
	"github.com/expedite-go/expedite/internal/artillery"
	"github.com/expedite-go/expedite/internal/configfile"
	"github.com/expedite-go/expedite/internal/control"
	"github.com/expedite-go/expedite/internal/loadtest"
	"github.com/expedite-go/expedite/internal/settings"
	"github.com/expedite-go/expedite/internal/view"
)

// Exit codes.
const (
	exitFine   = 0
	exitFailed = 1
	exitUsage  = 2
)

// cli is the command line. Each flag can also be set in the environment (EXPEDITE_…) and, for serve, in expedite.yaml.
type cli struct {
	Serve     serveCmd     `cmd:"" help:"Serve WebSockets with a primary and one worker process per core on one port."`
	Config    configCmd    `cmd:"" help:"Check the settings of serve."`
	Status    statusCmd    `cmd:"" help:"Show the state of a running server."`
	Bench     benchCmd     `cmd:"" help:"Open many connections, and measure."`
	Doctor    doctorCmd    `cmd:"" help:"Show how many connections this machine holds, and what limits them."`
	Logs      logsCmd      `cmd:"" help:"Show the log lines of all workers."`
	Sessions  sessionsCmd  `cmd:"" help:"List the sessions of a user, or those connected."`
	Kick      kickCmd      `cmd:"" help:"Close the connections of a user, of a session, or one connection."`
	Revoke    revokeCmd    `cmd:"" help:"Close the connections of a user, session or token, and refuse its clients."`
	Token     tokenCmd     `cmd:"" help:"Create and inspect access tokens."`
	Publish   publishCmd   `cmd:"" help:"Send a text to all subscribers of a topic."`
	Reload    reloadCmd    `cmd:"" help:"Replace a running server by the binary on disk; connections move."`
	Scale     scaleCmd     `cmd:"" help:"Change the number of workers; connections move."`
	Rebalance rebalanceCmd `cmd:"" help:"Distribute connections evenly over the workers."`
	Stop      stopCmd      `cmd:"" help:"Stop a running server, gracefully or at once."`

	File    string           `name:"config" help:"Configuration file. Default: expedite.yaml, if any." placeholder:"FILE"`
	Version kong.VersionFlag `help:"Print the version and exit." env:"-"`
}

func main() {
	if err := unsetEmpty(); err != nil {
		fmt.Fprintln(os.Stderr, "expedite:", err)
		os.Exit(exitFailed)
	}
	os.Exit(run(os.Args[1:], os.Stdout, os.Stderr))
}

// run runs the command and returns the exit code.
func run(args []string, stdout, stderr io.Writer) int {
	var c cli
	c.Bench.Load = loadScript
	c.Serve.settingFlags = newSettingFlags()
	c.Config.Check.settingFlags = newSettingFlags()
	c.Token.Inspect.settingFlags = newSettingFlags(settings.KeysOfTokens)
	code, exited := exitFine, false
	parser, err := newParser(&c, stdout, stderr, func(c int) { code, exited = c, true })
	if err != nil {
		fmt.Fprintln(stderr, "expedite:", err)
		return exitFailed
	}
	ctx, err := parser.Parse(joinNegative(args))
	if exited { // --help or --version
		return code
	}
	if file, ok := errors.AsType[configfile.Error](err); ok {
		fmt.Fprintf(stderr, "expedite: %v\n", file)
		return exitUsage
	}
	if err != nil {
		fmt.Fprintf(stderr, "expedite: %v\n", err)
		if !cluster.OnTrial() && !cluster.IsWorker() { // their last line is shown to the user as the reason
			fmt.Fprintf(stderr, "Try: expedite %s--help\n", commandOf(err))
		}
		return exitUsage
	}
	if err := ctx.Run(); err != nil {
		for line := range strings.SplitSeq(settings.InFlags(err.Error()), "\n") {
			fmt.Fprintln(stderr, "expedite:", strings.TrimPrefix(line, "expedite: "))
		}
		if e, ok := errors.AsType[*control.Error](err); ok {
			view.Output(stderr, e.Output)
		}
		return exitCode(err)
	}
	return exitFine
}

// negative matches a number below zero, and lacksValue a flag without a value in the same argument.
var (
	negative   = regexp.MustCompile(`^-[0-9.]`)
	lacksValue = regexp.MustCompile(`^--[^=]+$`)
)

// joinNegative joins a flag and the number below zero that follows it: alone, the parser takes the number for a flag.
func joinNegative(args []string) (joined []string) {
	for i, arg := range args {
		if arg == "--" {
			return append(joined, args[i:]...)
		}
		if last := len(joined) - 1; negative.MatchString(arg) && last >= 0 && lacksValue.MatchString(joined[last]) {
			joined[last] += "=" + arg
			continue
		}
		joined = append(joined, arg)
	}
	return joined
}

// newParser returns the parser of the command line, the environment and the file. It calls exit after --help and
// --version.
func newParser(c *cli, stdout, stderr io.Writer, exit func(code int)) (*kong.Kong, error) {
	return kong.New(c,
		kong.Name("expedite"),
		kong.Description("A WebSocket server made for scale.\n\n"+
			"Every flag of serve can also be set in the environment (EXPEDITE_ADDR for --addr) and, by its name, in "+
			"expedite.yaml. Flags override the environment, which overrides the file. An empty variable counts as not set."),
		kong.Vars{
			"version": version(), "control": control.DefaultPath(),
		},
		kong.DefaultEnvars("EXPEDITE"),
		kong.Resolvers(resolver()),
		kong.Writers(stdout, stderr),
		kong.Exit(exit),
		kong.UsageOnError(),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true}),
		kong.BindTo(stdout, (*io.Writer)(nil)),
		kong.Bind(&console{stdout, stderr}),
	)
}

// loadScript reads an Artillery script for bench.
func loadScript(path, environment string) (*loadtest.Plan, error) {
	s, err := artillery.Load(path, environment)
	if err != nil {
		return nil, err
	}
	plan, err := s.Plan()
	if err == nil && !cluster.IsWorker() {
		for _, w := range s.Warnings() {
			fmt.Fprintln(os.Stderr, "expedite:", w)
		}
	}
	return plan, err
}

// usageError is an error of usage that the parser cannot detect.
type usageError struct{ error }

func exitCode(err error) int {
	if _, ok := errors.AsType[usageError](err); ok {
		return exitUsage
	}
	return exitFailed
}

// commandOf returns the command that a parse error is about, followed by a space, or "".
func commandOf(err error) string {
	pe, ok := errors.AsType[*kong.ParseError](err)
	if !ok || pe.Context == nil || pe.Context.Selected() == nil {
		return ""
	}
	return strings.TrimPrefix(pe.Context.Selected().FullPath(), "expedite ") + " "
}

// version returns the version of the build.
func version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok || info.Main.Version == "" || info.Main.Version == "(devel)" {
		return "devel"
	}
	return info.Main.Version
}
