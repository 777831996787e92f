package command

import (
	"cmp"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/alecthomas/kong"

	"github.com/expedite-go/expedite"
	"github.com/expedite-go/expedite/internal/configfile"
	"github.com/expedite-go/expedite/internal/human"
	"github.com/expedite-go/expedite/internal/settings"
)

// configCmd implements `expedite config`.
type configCmd struct {
	Check  configCheckCmd  `cmd:"" help:"Check the configuration file, the environment and flags of serve."`
	Schema configSchemaCmd `cmd:"" help:"Print the JSON Schema of the configuration file."`
}

// configCheckCmd implements `expedite config check`.
type configCheckCmd struct {
	File string `arg:"" optional:"" help:"The file. Default: as for serve." placeholder:"FILE"`
	settingFlags
}

// Help returns the text of `expedite config check --help`.
func (configCheckCmd) Help() string {
	return `Checks what expedite serve would with the same file, environment and flags, and reads the files of secrets and
keys, but starts nothing. The exit code is 2 if something is wrong; all errors are listed.

Examples:
  expedite config check
  expedite config check /etc/expedite.yaml
  EXPEDITE_WORKERS=4 expedite config check --auth required`
}

// Run checks the settings and prints what is wrong.
func (c *configCheckCmd) Run(ctx *kong.Context, out *Console) error {
	if flag := resolver().FlagValue(ctx); flag != "" && c.File != "" && flag != c.File {
		return usageError{fmt.Errorf("two files, %s and --%s %s: name one", c.File, configFlag, flag)}
	}
	loaded, err := c.tryLoad(ctx, func(name string) (configfile.File, error) {
		return configfile.Read(cmp.Or(c.File, name))
	})
	if err = settings.InOrder(err, out.program.check(loaded)); err != nil {
		return usageError{err}
	}
	out.warn(loaded.Warnings...)
	out.warn(staleCertificates(&loaded.Config.TLS, time.Now())...)
	_, err = fmt.Fprintf(out.Out, "the configuration is valid: %s set, file: %s\n", human.Count(loaded.Given(), "setting"),
		cmp.Or(loaded.File, "none"))
	return err
}

// check returns what serve would find to be wrong with settings that have been loaded.
func (p *Program) check(loaded *settings.Loaded) error {
	cfg := loaded.Config
	cfg.Logger = slog.New(slog.DiscardHandler)
	end, err := complete(&cfg, loaded)
	if err != nil {
		cfg.Auth.Mode = expedite.AuthOff // an error of the keys is reported by itself
	} else {
		defer end.Close()
	}
	app, errSetup := p.app(cfg)
	if errSetup != nil {
		return loaded.Locate(errors.Join(err, errSetup))
	}
	return loaded.Locate(errors.Join(err, app.Check()))
}

// staleCertificates returns warnings of certificates that clients refuse. They are no errors: serve starts with them.
func staleCertificates(t *expedite.TLS, now time.Time) (warnings []string) {
	for i, cert := range t.Cert {
		pair, err := tls.LoadX509KeyPair(cert, t.Key[i])
		if err != nil {
			continue // has been told
		}
		switch leaf := pair.Leaf; {
		case now.After(leaf.NotAfter):
			warnings = append(warnings, fmt.Sprintf("tls-cert: %s has expired on %s: clients refuse it, renew it", cert,
				leaf.NotAfter.UTC().Format(time.DateTime)))
		case now.Before(leaf.NotBefore):
			warnings = append(warnings, fmt.Sprintf("tls-cert: %s is not valid before %s: clients refuse it, "+
				"is the clock right?", cert, leaf.NotBefore.UTC().Format(time.DateTime)))
		}
	}
	return warnings
}

// configSchemaCmd implements `expedite config schema`.
type configSchemaCmd struct{}

// Run prints the schema.
func (configSchemaCmd) Run(c *Console) error { return settings.WriteJSONSchema(c.Out) }
