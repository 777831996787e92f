// Package command is the command line of a program that serves WebSockets: serve starts it, and the other commands
// operate it while it runs. Each flag of serve can also be set in the environment (EXPEDITE_…) and in expedite.yaml.
package command

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/alecthomas/kong"

	"github.com/expedite-go/expedite"
	"github.com/expedite-go/expedite/cluster"
	"github.com/expedite-go/expedite/internal/configfile"
	"github.com/expedite-go/expedite/internal/control"
	"github.com/expedite-go/expedite/internal/settings"
	"github.com/expedite-go/expedite/internal/view"
)

// Exit codes.
const (
	exitFine   = 0
	exitFailed = 1
	exitUsage  = 2
)

// Program is a program with these commands.
type Program struct {
	// Name is that of the program in help and errors.
	Name string
	// About is the first sentence of the help.
	About string
	// Setup makes the App that serve runs and config check checks. It must use the Config.
	Setup func(expedite.Config) (*expedite.App, error)

	// Endpoints is the beginning of the help of serve.
	Endpoints string
	// Places returns what the banner shows of an address host:port. Nil: the address.
	Places func(host string) []Place
	// More are further commands: pointers to structs whose fields have the tag cmd.
	More []any
}

// Place is something that a server offers, in the banner.
type Place struct{ Name, Text string }

// cli is the command line.
type cli struct {
	Serve        serveCmd  `cmd:"" help:"Serve WebSockets with a primary and one worker process per core on one port."`
	Config       configCmd `cmd:"" help:"Check the settings of serve."`
	Status       statusCmd `cmd:"" help:"Show the state of a running server."`
	kong.Plugins           // Program.More, here in the help

	Doctor      doctorCmd      `cmd:"" help:"Show how many connections this machine holds, and what limits them."`
	Logs        logsCmd        `cmd:"" help:"Show the log lines of all workers."`
	Sessions    sessionsCmd    `cmd:"" help:"List the sessions of a user, or those connected."`
	Kick        kickCmd        `cmd:"" help:"Close the connections of a user, of a session, or one connection."`
	Revoke      revokeCmd      `cmd:"" help:"Close the connections of a user, session or token, and refuse its clients."`
	Token       tokenCmd       `cmd:"" help:"Create and inspect access tokens."`
	Publish     publishCmd     `cmd:"" help:"Send a text to all subscribers of a topic."`
	Reload      reloadCmd      `cmd:"" help:"Replace a running server by the binary on disk; connections move."`
	Scale       scaleCmd       `cmd:"" help:"Change the number of workers; connections move."`
	Rebalance   rebalanceCmd   `cmd:"" help:"Distribute connections evenly over the workers."`
	Drain       drainCmd       `cmd:"" help:"Close the connections over some time; the server stays up without any."`
	Stop        stopCmd        `cmd:"" help:"Stop a running server, gracefully or at once."`
	Healthcheck healthcheckCmd `cmd:"" help:"Exit with 0 if the server takes new clients."`

	Version versionCmd `cmd:"" help:"Print the version, its commit and platform."`

	File    string           `name:"config" help:"Configuration file. Default: expedite.yaml, if any." placeholder:"FILE"`
	Printed kong.VersionFlag `name:"version" help:"Print the version and exit." env:"-"`
}

// Main runs the command of the arguments of the process, and returns the exit code.
func (p *Program) Main() int {
	if err := unsetEmpty(); err != nil {
		fmt.Fprintf(os.Stderr, "%s: %v\n", p.Name, err)
		return exitFailed
	}
	return p.Run(os.Args[1:], os.Stdout, os.Stderr)
}

// Run runs a command and returns the exit code.
func (p *Program) Run(args []string, stdout, stderr io.Writer) int {
	var c cli
	c.Plugins = p.More
	c.Serve.settingFlags = newSettingFlags()
	c.Config.Check.settingFlags = newSettingFlags()
	c.Token.Inspect.settingFlags = newSettingFlags(settings.KeysOfTokens)
	code, exited := exitFine, false
	parser, err := p.newParser(&c, stdout, stderr, func(c int) { code, exited = c, true })
	if err != nil {
		fmt.Fprintf(stderr, "%s: %v\n", p.Name, err)
		return exitFailed
	}
	ctx, err := parser.Parse(joinNegative(args))
	if exited { // --help or --version
		return code
	}
	if file, ok := errors.AsType[configfile.Error](err); ok {
		fmt.Fprintf(stderr, "%s: %v\n", p.Name, file)
		return exitUsage
	}
	if err != nil {
		fmt.Fprintf(stderr, "%s: %v\n", p.Name, err)
		if !cluster.OnTrial() && !cluster.IsWorker() { // their last line is shown to the user as the reason
			fmt.Fprintf(stderr, "Try: %s %s--help\n", p.Name, p.commandOf(err))
		}
		return exitUsage
	}
	if err := ctx.Run(); err != nil {
		for line := range strings.SplitSeq(p.named(settings.InFlags(err.Error())), "\n") {
			fmt.Fprintf(stderr, "%s: %s\n", p.Name, strings.TrimPrefix(line, "expedite: "))
		}
		if e, ok := errors.AsType[*control.Error](err); ok {
			view.Output(stderr, e.Output, e.Message)
		}
		return exitCode(err)
	}
	return exitFine
}

// newParser returns the parser of the command line, the environment and the file. It calls exit after --help and
// --version.
func (p *Program) newParser(c *cli, stdout, stderr io.Writer, exit func(code int)) (*kong.Kong, error) {
	parser, err := kong.New(c,
		kong.Name(p.Name),
		kong.Description(p.About+"\n\n"+
			"Every flag of serve can also be set in the environment (EXPEDITE_ADDR for --addr) and, by its name, in "+
			"expedite.yaml. Flags override the environment, which overrides the file. An empty variable counts as not set."),
		kong.Vars{
			"version": p.build().String(), "control": control.DefaultPath(),
		},
		kong.DefaultEnvars("EXPEDITE"),
		kong.Resolvers(resolver()),
		kong.Writers(stdout, stderr),
		kong.Exit(exit),
		kong.UsageOnError(),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true}),
		kong.BindTo(stdout, (*io.Writer)(nil)),
		kong.Bind(&Console{stdout, stderr, p}),
	)
	if err != nil {
		return nil, err
	}
	p.nameHelp(parser.Model.Node)
	return parser, nil
}

// Usage returns err as an error of usage that the parser cannot detect.
func Usage(err error) error { return usageError{err} }

type usageError struct{ error }

func exitCode(err error) int {
	if _, ok := errors.AsType[usageError](err); ok {
		return exitUsage
	}
	return exitFailed
}

// commandOf returns the command that a parse error is about, followed by a space, or "".
func (p *Program) commandOf(err error) string {
	pe, ok := errors.AsType[*kong.ParseError](err)
	if !ok || pe.Context == nil || pe.Context.Selected() == nil {
		return ""
	}
	return strings.TrimPrefix(pe.Context.Selected().FullPath(), p.Name+" ") + " "
}
