package command

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"runtime"
	"syscall"
	"time"

	"github.com/alecthomas/kong"

	"github.com/expedite-go/expedite"
	"github.com/expedite-go/expedite/auth"
	"github.com/expedite-go/expedite/cluster"
	"github.com/expedite-go/expedite/internal/configfile"
	"github.com/expedite-go/expedite/internal/settings"
	"github.com/expedite-go/expedite/internal/spool"
	"github.com/expedite-go/expedite/internal/statedir"
	"github.com/expedite-go/expedite/internal/telemetry"
	"github.com/expedite-go/expedite/internal/terminal"
)

// serveCmd implements `expedite serve`.
type serveCmd struct {
	PrintConfig bool `help:"Print all settings, and where each value comes from, and exit." env:"-"`
	settingFlags
}

// Help returns the text of `expedite serve --help`.
func (serveCmd) Help() string {
	return `Environment, in addition to EXPEDITE_ADDR for --addr and so on: the secrets EXPEDITE_AUTH_SECRET (for HS256,
HS384 and HS512) and EXPEDITE_AUTH_INTROSPECT_SECRET; PORT for --addr and REDIS_URL for --redis; GOMEMLIMIT, GOGC and
GOMAXPROCS of each worker. docs/configuration.md has all settings.

Signals: TERM stops gracefully: clients are closed with 1012, a few at a time. INT stops at once, also after TERM. HUP
reloads like expedite reload: the binary that is on disk now replaces the workers and the primary, and no client is
disconnected. USR1 reopens the log files.

Examples:
  expedite serve
  EXPEDITE_AUTH_SECRET=… expedite serve --auth required --redis redis://127.0.0.1:6379
  expedite serve --addr 127.0.0.1:8080 --workers 4 --scheduling least-connections
  EXPEDITE_LOG_LEVEL=debug expedite serve --control /run/expedite.sock --admin off`
}

// Run serves until a signal or a command stops it.
func (s *serveCmd) Run(ctx *kong.Context, stdout io.Writer, out *Console) error {
	if s.PrintConfig {
		loaded, err := s.load(ctx, configfile.Read)
		if err != nil {
			return err
		}
		out.warn(loaded.Warnings...)
		return loaded.WriteText(stdout)
	}
	loaded, err := s.loadServer(ctx)
	if err != nil {
		return err
	}
	logger, err := newLogger(loaded)
	if err != nil {
		return err
	}
	cfg := loaded.Config
	cfg.Logger = logger
	slog.SetDefault(cfg.Logger)
	defer flushLog(cfg.Logger)
	if !cluster.IsWorker() {
		for _, w := range loaded.Warnings {
			cfg.Logger.Warn(w)
		}
	}
	until, stop := terminated(context.Background())
	defer stop()
	end, err := complete(&cfg, loaded)
	if err != nil {
		return usageError{loaded.Locate(err)}
	}
	defer end.Close()
	cfg.OnStart = func(st expedite.Started) {
		soon(func() { out.program.banner(stdout, st, &cfg) })
	}
	app, err := out.program.app(cfg)
	if err != nil {
		return loaded.Locate(err)
	}
	defer onSignals(until, app)()
	if err := app.Run(until); !errors.Is(err, expedite.ErrTrial) {
		return sameControl(loaded.Locate(err), &loaded.Config, cfg.Control)
	}
	return nil
}

// sameControl explains that the default state directory, which is named after the control socket, is in use: another
// server has that socket.
func sameControl(err error, given *expedite.Config, control string) error {
	if !errors.Is(err, statedir.ErrInUse) || given.StateDir != "" || os.Getenv("STATE_DIRECTORY") != "" {
		return err
	}
	return fmt.Errorf("another server of this user has the control socket %s: "+
		"give this one its own --control, --addr and --admin (%w)", control, err)
}

// app returns the App of the program.
func (p *Program) app(cfg expedite.Config) (*expedite.App, error) {
	app, err := p.Setup(cfg)
	if err == nil && app == nil {
		err = errors.New("the setup function of the program returns neither an App nor an error")
	}
	return app, err
}

// complete adds to a configuration what its settings only name. The Closer ends what the verifier runs.
func complete(cfg *expedite.Config, loaded *settings.Loaded) (end io.Closer, err error) {
	cfg.Version = Version()
	cfg.Control = controlPath(cfg.Control)
	cfg.StateDir = stateDir(cfg)
	cfg.Auth.Permit = auth.ClaimPermit("subscribe", "publish")
	v := loaded.Verifier
	v.Log = cfg.Logger
	if cfg.Auth.Verifier, end, err = v.Open(); err != nil {
		_ = end.Close()
		return nil, err
	}
	return end, nil
}

// stateDir returns the folder for what must survive the server. Without --state-dir it is a default one, if that is
// writable.
func stateDir(cfg *expedite.Config) string {
	switch {
	case cfg.StateDir == "off", cluster.IsWorker() && len(cfg.TLS.Auto.Domains) == 0: // only the primary uses it
		return ""
	case cfg.StateDir != "":
		return cfg.StateDir
	case cfg.Control == "" || runtime.GOOS == "windows":
		return ""
	}
	dir, err := statedir.Default(cfg.Control)
	if err != nil {
		cfg.Logger.Warn("revocations do not survive this server: name a folder with --state-dir, or off", "error", err)
		return ""
	}
	return dir
}

// terminated returns a context that ends at SIGTERM. At an interrupt it ends with ErrStopNow, which closes the
// connections at once.
func terminated(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancelCause(ctx)
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, syscall.SIGTERM, os.Interrupt)
	go func() { // ends with the process
		for sig := range signals {
			if sig == os.Interrupt {
				cancel(expedite.ErrStopNow)
				continue
			}
			cancel(nil)
		}
	}()
	return ctx, func() { signal.Stop(signals); cancel(nil) }
}

// onSignals reloads at each SIGHUP, reopens the log files at each SIGUSR1, and stops at once at an interrupt, until
// stop is called.
func onSignals(ctx context.Context, app *expedite.App) (stop func()) {
	reload, reopen := make(chan os.Signal, 1), make(chan os.Signal, 1)
	signal.Notify(reload, syscall.SIGHUP)
	notifyReopen(reopen)
	hurry := make(chan os.Signal, 1)
	signal.Notify(hurry, os.Interrupt)
	go func() { // ends with the process
		for range hurry {
			_ = app.StopNow() // in a worker it does nothing: the primary stops it
		}
	}()
	go func() { // ends with the process
		for range reload {
			go func() { // ends with the reload; if one is under way, another one follows it
				_ = app.Reload(ctx) // it logs errors; in a worker, or before the server runs, it does nothing
			}()
		}
	}()
	go func() { // ends with the process
		for range reopen {
			if err := app.ReopenLogs(ctx); err != nil {
				app.Logger().Error("log files not reopened", "error", err)
			}
		}
	}()
	return func() { signal.Stop(reload); signal.Stop(reopen); signal.Stop(hurry) }
}

// terminalEnv tells workers, whose output goes through the primary, that it ends at a terminal.
const terminalEnv = "EXPEDITE_TERMINAL"

// newLogger returns a logger that never blocks: it queues lines for standard error.
func newLogger(loaded *settings.Loaded) (*slog.Logger, error) {
	format := loaded.LogFormat
	if format == "auto" && os.Getenv(terminalEnv) != "" {
		format = "text"
	}
	if format == "auto" && terminal.Is(os.Stderr) {
		if err := os.Setenv(terminalEnv, "1"); err != nil {
			return nil, err
		}
	}
	level := new(slog.LevelVar)
	level.Set(loaded.LogLevel)
	loaded.Config.LogLevel = level
	l, err := telemetry.NewLeveledLogger(os.Stderr, format, level)
	if err != nil {
		return nil, err
	}
	return slog.New(spool.NewHandler(l.Handler(), spool.New(loaded.Config.LogQueue))), nil
}

// lastWords is how long a process waits at its end for its output to be read.
const lastWords = time.Second

// flushLog waits up to lastWords for the lines of a logger to be written.
func flushLog(l *slog.Logger) {
	if h, ok := l.Handler().(*spool.Handler); ok {
		ctx, cancel := context.WithTimeout(context.Background(), lastWords)
		defer cancel()
		_ = h.Queue().Flush(ctx) // lines that are still queued are lost
	}
}

// soon calls f, which prints, and waits up to lastWords for it to return.
func soon(f func()) {
	done := make(chan struct{})
	go func() { // ends when the output is read, or with the process
		defer close(done)
		f()
	}()
	select {
	case <-done:
	case <-time.After(lastWords):
	}
}
