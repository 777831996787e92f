package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"runtime"
	"strings"
	"syscall"
	"time"

	"github.com/expedite-go/expedite"
	"github.com/expedite-go/expedite/cluster"
	"github.com/expedite-go/expedite/internal/lobby"
	"github.com/expedite-go/expedite/internal/spool"
	"github.com/expedite-go/expedite/internal/statedir"
	"github.com/expedite-go/expedite/internal/telemetry"
	"github.com/expedite-go/expedite/internal/terminal"
)

// serveCmd implements `expedite serve`.
type serveCmd struct {
	Addr         string        `help:"Address to serve on." default:":8080"`
	Workers      string        `help:"Worker processes; auto: one per core, within a CPU quota." default:"auto"`
	Scheduling   string        `help:"How connections get a worker: ${enum}." enum:"${policies}" default:"${policy}"`
	Control      string        `help:"Unix socket for the other commands, or off. Default: ${control}." placeholder:"PATH"`
	Admin        string        `help:"Address for metrics and profiles, or off." default:"127.0.0.1:9600"`
	AdminHosts   []string      `help:"Further host names for requests to --admin. Default: none." placeholder:"NAME"`
	LogFormat    string        `help:"Log format: ${enum}; auto: text on a terminal." enum:"auto,text,json" default:"auto"`
	LogLevel     string        `help:"Lowest level to log: ${enum}." enum:"debug,info,warn,error" default:"info"`
	HangTimeout  time.Duration `help:"Replace a worker that hangs for this long; 0: never." default:"30s"`
	MaxMemory    string        `name:"max-worker-memory" help:"Replace a larger worker, like 512MiB." placeholder:"SIZE"`
	DrainTimeout time.Duration `help:"Time limit of a graceful stop." default:"30s"`

	PingInterval time.Duration `help:"Ping a client after this silence; 0: never." default:"50s"`
	IdleTimeout  time.Duration `help:"Disconnect a client after this silence; 0: never." default:"120s"`

	authFlags
	sessionFlags
	tuneFlags
	limitFlags
	StateDir  string   `help:"Folder for revocations, or off. Default: in the user's state folder." placeholder:"DIR"`
	LogDir    string   `help:"Folder for log files, one per process. Default: none, log to stderr." placeholder:"DIR"`
	LogQuery  []string `help:"Query parameters to log. Default: none." placeholder:"NAME"`
	LogHeader []string `help:"Header fields of the handshake to log. Default: none." placeholder:"NAME"`
	LogQueue  int      `help:"Log lines of a process that may wait to be written." default:"1024"`
	LogSample int      `help:"Log lines per second about clients that connect and disconnect; -1: none." default:"20"`
}

// Help returns the text of `expedite serve --help`.
func (serveCmd) Help() string {
	return `Endpoints:
  /         the lobby: a JSON greeting, then every client receives what any of them sends; browsers get a page to try it
  /echo     returns each message to its sender
  /healthz  200 while the process is alive
  /readyz   200 while it accepts new clients
  /ticket   POST with an Authorization header returns a one-time ticket for ?ticket=

Environment, in addition to EXPEDITE_ADDR for --addr and so on: EXPEDITE_AUTH_SECRET (for HS256, HS384 and HS512),
EXPEDITE_AUTH_INTROSPECT_SECRET; PORT for --addr and REDIS_URL for --redis; GOMEMLIMIT, GOGC and GOMAXPROCS of each
worker.

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
func (s *serveCmd) Run(stdout io.Writer) error {
	cfg, err := s.config(stdout)
	if err != nil {
		return err
	}
	defer flushLog(cfg.Logger)
	ctx, stop := terminated(context.Background())
	defer stop()
	identity, keys, err := s.authFlags.config(cfg.Logger)
	defer keys.Close()
	if err != nil {
		return err
	}
	cfg.Auth = identity
	if cfg.Sessions, err = s.sessionFlags.config(); err != nil {
		return err
	}
	if cfg.Tuning, err = s.tuneFlags.config(); err != nil {
		return err
	}
	if err := s.limitFlags.apply(&cfg); err != nil {
		return err
	}
	app := expedite.New(cfg)
	lobby.Register(app, orNever(s.PingInterval), orNever(s.IdleTimeout))
	defer onSignals(ctx, app)()
	if err := app.Run(ctx); !errors.Is(err, expedite.ErrTrial) {
		return err
	}
	return nil
}

// config returns the settings that the flags stand for.
func (s *serveCmd) config(stdout io.Writer) (expedite.Config, error) {
	var cfg expedite.Config
	workers, err := parseWorkers(s.Workers)
	if err != nil {
		return cfg, err
	}
	policy, err := cluster.ParsePolicy(s.Scheduling)
	if err != nil {
		return cfg, usageError{err}
	}
	if s.DrainTimeout <= 0 {
		return cfg, usageError{fmt.Errorf("--drain-timeout %s: want a time above zero, like 30s", s.DrainTimeout)}
	}
	addr, err := checkAddr("--addr", s.Addr)
	if err != nil {
		return cfg, err
	}
	admin := s.Admin
	if admin == "off" {
		admin = ""
	} else if admin, err = checkAddr("--admin", admin); err != nil {
		return cfg, err
	}
	memory, err := parseSize("--max-worker-memory", s.MaxMemory)
	if err != nil {
		return cfg, err
	}
	hang := s.HangTimeout
	if hang <= 0 {
		hang = -1
	}
	if s.LogQueue < 1 {
		return cfg, usageError{fmt.Errorf("--log-queue %d: want at least 1", s.LogQueue)}
	}
	logger, err := newLogger(s.LogFormat, s.LogLevel, s.LogQueue)
	if err != nil {
		return cfg, usageError{err}
	}
	slog.SetDefault(logger)
	return expedite.Config{
		Addr: addr, Workers: workers, Scheduling: policy,
		Control: controlPath(s.Control), Admin: admin, AdminHosts: s.AdminHosts, StateDir: s.stateDir(logger),
		HangTimeout: hang, MaxWorkerMemory: memory,
		DrainTimeout: s.DrainTimeout, Logger: logger, Version: version(),
		LogDir: s.LogDir, LogQuery: s.LogQuery, LogHeaders: s.LogHeader, LogSample: s.LogSample,
		LogQueue: s.LogQueue,
		OnStart:  func(st expedite.Started) { soon(func() { banner(stdout, st, controlPath(s.Control)) }) },
	}, nil
}

// stateDir returns the folder for what must survive the server. Without --state-dir it is a default one, if that is
// writable.
func (s *serveCmd) stateDir(log *slog.Logger) string {
	switch {
	case s.StateDir == "off", cluster.IsWorker(): // only the primary uses it
		return ""
	case s.StateDir != "":
		return s.StateDir
	}
	socket := controlPath(s.Control)
	if socket == "" || runtime.GOOS == "windows" {
		return ""
	}
	dir, err := statedir.Default(socket)
	if err != nil {
		log.Warn("revocations do not survive this server: name a folder with --state-dir, or off", "error", err)
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
				switch err := app.Reload(ctx); {
				case errors.Is(err, expedite.ErrNotRunning): // in a worker, or before the server runs
				case err != nil:
					app.Logger().Error("reload failed", "error", err)
				}
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
func newLogger(format, level string, queue int) (*slog.Logger, error) {
	if format == "auto" && os.Getenv(terminalEnv) != "" {
		format = "text"
	}
	if format == "auto" && terminal.Is(os.Stderr) {
		if err := os.Setenv(terminalEnv, "1"); err != nil {
			return nil, err
		}
	}
	l, err := telemetry.NewLogger(os.Stderr, strings.ToLower(format), level)
	if err != nil {
		return nil, err
	}
	return slog.New(spool.NewHandler(l.Handler(), spool.New(queue))), nil
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
