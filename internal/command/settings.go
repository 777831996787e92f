package command

import (
	"os"
	"slices"

	"github.com/alecthomas/kong"

	"github.com/expedite-go/expedite/internal/configfile"
	"github.com/expedite-go/expedite/internal/settings"
)

const (
	configFlag     = "config" // names the configuration file
	configVariable = "EXPEDITE_CONFIG"
	SecretVariable = "EXPEDITE_AUTH_SECRET" // of tokens with HS256, HS384 and HS512
)

// ownVariables are the variables with the prefix of settings that processes set for each other, and that tests set.
func ownVariables() []string {
	return []string{
		configVariable, terminalEnv, "EXPEDITE_SETTINGS", "EXPEDITE_ANSWER", "EXPEDITE_JOINED", "EXPEDITE_WORKER",
		"EXPEDITE_HERITAGE", "EXPEDITE_PROGRAM", "EXPEDITE_REGISTRY", "EXPEDITE_DAMAGE",
	}
}

// settingFlags are the flags of settings, of all or of some groups.
type settingFlags struct {
	kong.Plugins
	flags *settings.Flags
}

func newSettingFlags(groups ...string) settingFlags {
	flags := settings.NewFlags(groups...)
	return settingFlags{kong.Plugins{flags.Grammar()}, flags}
}

// readFile reads the configuration file with a name; without one, the default file if that exists.
type readFile func(name string) (configfile.File, error)

// load returns the settings of the flags, the environment and the configuration file. An error is one of usage.
func (f *settingFlags) load(ctx *kong.Context, read readFile) (*settings.Loaded, error) {
	loaded, err := f.tryLoad(ctx, read)
	if err != nil {
		return loaded, usageError{err}
	}
	return loaded, nil
}

// tryLoad is load for a command that has more errors to add.
func (f *settingFlags) tryLoad(ctx *kong.Context, read readFile) (*settings.Loaded, error) {
	file, errFile := read(resolver().FileName(ctx))
	loaded, err := settings.Load(f.sources(ctx, file))
	return loaded, settings.InOrder(errFile, err)
}

// sources returns where values come from.
func (f *settingFlags) sources(ctx *kong.Context, file configfile.File) settings.Sources {
	return settings.Sources{
		Flags: f.flags.Given(), Environ: os.Environ(), File: file, Variables: variables(ctx.Model.Node),
	}
}

// loadServer returns the settings of a server. In a trial of a reload, their Config says what has changed.
func (f *settingFlags) loadServer(ctx *kong.Context) (*settings.Loaded, error) {
	var running *configfile.File
	loaded, err := f.load(ctx, func(name string) (file configfile.File, err error) {
		file, running, err = configfile.ReadOnce(name)
		return file, err
	})
	if err != nil || running == nil {
		return loaded, err
	}
	if before, err := settings.Load(f.sources(ctx, *running)); err == nil {
		loaded.Config.Changed, loaded.Config.InPlace = loaded.Changes(before)
	}
	return loaded, nil
}

// resolver gives the commands that share settings with the server the values of the file. Commands with settingFlags
// load them themselves.
func resolver() *configfile.Resolver {
	return &configfile.Resolver{
		Keys: settings.Keys(), FileFlag: configFlag, FileVariable: configVariable,
	}
}

// variables returns the variables of all flags of a command and its subcommands.
func variables(n *kong.Node) []string {
	names := ownVariables()
	for _, flag := range n.Flags {
		names = append(names, flag.Envs...)
	}
	for _, child := range n.Children {
		names = append(names, variables(child)...)
	}
	return slices.Compact(names)
}
