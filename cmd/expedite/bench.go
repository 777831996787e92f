package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/expedite-go/expedite"
	"github.com/expedite-go/expedite/cluster"
	cli "github.com/expedite-go/expedite/internal/command"
	"github.com/expedite-go/expedite/internal/doctor"
	"github.com/expedite-go/expedite/internal/loadtest"
	"github.com/expedite-go/expedite/ws"
)

// benchGroup adds bench to the commands.
type benchGroup struct {
	Bench benchCmd `cmd:"" help:"Open many connections, and measure."`
}

// benchCmd implements `expedite bench`.
type benchCmd struct {
	Target string `arg:"" name:"url" help:"Target: ws:// or wss://, or an Artillery script."`

	Connections int           `help:"Number of clients." default:"100" short:"c"`
	Ramp        string        `help:"Time in which all clients connect, or connects per second: 5s, 500/s." default:"5s"`
	Mode        string        `help:"What clients do: ${enum}." enum:"auto,idle,echo,broadcast,storm" default:"auto"`
	Rate        *float64      `help:"Messages per second of a sender, 1 by default; 0: after each reply." placeholder:"1"`
	Size        string        `help:"Bytes of a message." default:"64"`
	Duration    time.Duration `help:"Time after the ramp; 0s: until Ctrl-C." default:"10s"`
	Pause       time.Duration `help:"Time that all clients stay connected between storms." default:"1s"`
	Timeout     time.Duration `help:"Time limit of a connect or a reply." default:"10s"`

	benchHandshake
	benchMachine

	JSON bool     `name:"json" help:"Print the report as JSON."`
	HTML string   `name:"html" help:"Write the report to an HTML file." placeholder:"FILE"`
	Fail []string `help:"Exit with 1 on a condition: rtt.p99>50ms; repeatable." sep:"none" placeholder:"WHAT" env:"-"`

	Environment string `help:"Environment in an Artillery script." short:"e" placeholder:"NAME"`
}

// benchHandshake has the flags for what clients send when they connect.
type benchHandshake struct {
	Header      []string `help:"Header field to send; repeatable." sep:"none" short:"H" placeholder:"NAME:VALUE" env:"-"`
	Compression bool     `help:"Offer permessage-deflate and compress messages." env:"-"`
	Subprotocol []string `help:"Subprotocol to offer; repeatable." placeholder:"NAME" env:"-"`
	Token       string   `help:"Access token of all clients." xor:"token" placeholder:"TOKEN"`
	TokenFile   string   `help:"File with the access token of all clients." xor:"token" placeholder:"FILE"`
	TokenKey    string   `help:"Sign a token per client: a file, or EXPEDITE_AUTH_SECRET." xor:"token" placeholder:"FILE"`
	CA          string   `name:"ca" help:"PEM file of the authorities to trust." xor:"ca" placeholder:"FILE"`
	Insecure    bool     `help:"Accept any certificate of a server on a loopback address." xor:"ca"`
	Mine        bool     `name:"yes-this-is-my-server" help:"Permit a target that is not on a loopback address." env:"-"`
}

// benchMachine has the flags for where clients and server run.
type benchMachine struct {
	LocalAddrs  string `help:"Addresses to connect from, for more ports. Default: any." placeholder:"127.0.0.0/24"`
	TargetAddrs string `help:"Addresses to connect to. Default: those of the URL." placeholder:"127.0.1.0/28"`
	Processes   string `help:"Client processes; auto: as descriptors and cores require." default:"auto"`
	ServerPID   int    `name:"server-pid" help:"Process of the server; 0: the one that listens there." placeholder:"PID"`
}

// Help returns the text of `expedite bench --help`.
func (benchCmd) Help() string {
	return `Modes (auto is echo with --rate, otherwise idle):
  idle       keep the connections open
  echo       send on each, and measure the time until the reply (path /echo of expedite serve)
  broadcast  publish on one, and measure the time until all have received it (path / of expedite serve)
  storm      disconnect all at once and connect all at once, repeatedly

Unless --rate is 0, times begin when a message is due, to avoid coordinated omission. Ctrl-C ends the run with a report.
Conditions of --fail: rtt, connect, late, uncorrected_rtt (.p50 .p90 .p95 .p99 .p999 .max), failed, opened, peak,
closed, closed.CODE, errors, sent, received, unanswered, missing; also as a share: failed>1%.

Examples:
  expedite bench ws://127.0.0.1:8080/echo --mode echo --connections 1000 --rate 10
  expedite bench ws://127.0.0.1:8080/ --mode broadcast -c 5000 --rate 20 --fail 'missing>0' --fail 'rtt.p99>50ms'
  expedite bench ws://127.0.0.1:8080/ -c 100000 --ramp 5000/s --html report.html
  expedite bench wss://localhost:8443/echo --ca ca.pem --rate 10
  expedite bench artillery-test.yml --json`
}

// Run runs the clients and prints the report.
func (b *benchCmd) Run(c *cli.Console) error {
	cfg, checks, err := b.config()
	if err != nil {
		return err
	}
	if cluster.IsWorker() {
		signal.Ignore(os.Interrupt) // the terminal sends it to all processes; the parent decides
		return loadtest.Work(cfg)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop) // the second signal ends the process
	page, err := loadtest.OpenHTML(b.HTML)
	if err != nil {
		return cli.Usage(fmt.Errorf("--html: %w", err))
	}
	defer page.Close()
	if m, err := doctor.Read("", doctor.Options{}); err == nil {
		cfg.Machine = m.String()
	}
	w := loadtest.NewWatch(c.Err)
	cfg.Progress = w.Show
	r, err := loadtest.Run(ctx, cfg)
	w.End()
	if errors.Is(err, loadtest.ErrRemote) {
		return cli.Usage(fmt.Errorf("%w; --yes-this-is-my-server permits it", unprefixed(err)))
	}
	if err != nil {
		return unprefixed(err)
	}
	for _, check := range checks {
		if s := check.Failed(r); s != "" {
			r.Failures = append(r.Failures, s)
		}
	}
	if err := page.Write(r); err != nil {
		return errors.Join(b.print(c.Out, r), fmt.Errorf("--html: %w", err), verdict(r))
	}
	return errors.Join(b.print(c.Out, r), verdict(r))
}

// verdict returns an error if the run was not a success.
func verdict(r *loadtest.Report) error {
	switch {
	case r.Connections.Opened == 0 && r.Connections.Failed > 0:
		return errors.New("no connection could be opened")
	case len(r.Failures) > 0:
		return errors.New("failed: " + strings.Join(r.Failures, "; "))
	}
	return nil
}

func (b *benchCmd) print(stdout io.Writer, r *loadtest.Report) error {
	if b.JSON {
		return cli.PrintJSON(stdout, r)
	}
	return r.WriteText(stdout)
}

// unprefixed returns err without the name of a package that users do not know.
func unprefixed(err error) error { return errors.New(strings.TrimPrefix(err.Error(), "loadtest: ")) }

// config returns the settings that the flags stand for.
func (b *benchCmd) config() (cfg loadtest.Config, checks []loadtest.Check, err error) {
	usage := func(err error) (loadtest.Config, []loadtest.Check, error) {
		return cfg, nil, cli.Usage(unprefixed(err))
	}
	if b.Connections < 1 {
		return usage(fmt.Errorf("--connections %d: want 1 or more", b.Connections))
	}
	cfg = loadtest.Config{
		Connections: b.Connections, Mode: loadtest.Mode(b.Mode), Rate: 1, Duration: b.Duration, Timeout: b.Timeout,
		Version: cli.Version(),
		Pause:   b.Pause, Subprotocols: b.Subprotocol, Compression: b.Compression,
		ServerPID: b.ServerPID, Insecure: b.Insecure, AllowRemote: b.Mine,
	}
	if b.Mode == "auto" {
		cfg.Mode = loadtest.ModeIdle
	}
	if b.Rate != nil {
		cfg.Rate = *b.Rate
		if b.Mode == "auto" {
			cfg.Mode = loadtest.ModeEcho
		}
	}
	if err := b.target(&cfg); err != nil {
		return cfg, nil, err
	}
	if cfg.Ramp, cfg.RampRate, err = loadtest.ParseRamp(b.Ramp); err != nil {
		return usage(err)
	}
	if b.Processes != "auto" {
		if cfg.Processes, err = strconv.Atoi(b.Processes); err != nil || cfg.Processes < 1 {
			return usage(fmt.Errorf("--processes %q: want auto or a number", b.Processes))
		}
	}
	length, err := expedite.ParseMemory(b.Size)
	if err != nil || length == 0 {
		return usage(fmt.Errorf("--size %q: want bytes, or a size like 64KiB", b.Size))
	}
	cfg.Size = int(min(length, loadtest.MaxSize+1))
	if b.LocalAddrs != "" {
		if cfg.LocalAddrs, err = loadtest.ParseAddrs(b.LocalAddrs); err != nil {
			return usage(err)
		}
	}
	if b.TargetAddrs != "" {
		if cfg.TargetAddrs, err = loadtest.ParseAddrs(b.TargetAddrs); err != nil {
			return usage(err)
		}
	}
	for _, h := range b.Header {
		name, value, ok := strings.Cut(h, ":")
		if !ok || strings.TrimSpace(name) == "" {
			return usage(fmt.Errorf("--header %q: want a name, a colon and a value", name))
		}
		cfg.Header = append(cfg.Header, ws.Field{Name: strings.TrimSpace(name), Value: strings.TrimSpace(value)})
	}
	for _, s := range b.Fail {
		check, err := loadtest.ParseCheck(s)
		if err != nil {
			return usage(err)
		}
		checks = append(checks, check)
	}
	if cfg.Token, err = b.tokens(); err != nil {
		return cfg, nil, err
	}
	if err := cfg.Check(); err != nil {
		return usage(err)
	}
	return cfg, checks, nil
}

// target sets the URL, or the plan of a script, and whose certificates count.
func (b *benchCmd) target(cfg *loadtest.Config) (err error) {
	if cfg.CA, err = cli.Authorities(b.CA); err != nil {
		return err
	}
	if u, err := url.Parse(b.Target); err == nil && strings.Contains(b.Target, "://") && u.Scheme != "file" {
		cfg.URL = b.Target
		return nil
	}
	if _, err := os.Stat(b.Target); err != nil {
		return cli.Usage(fmt.Errorf("%q is neither a URL like ws://127.0.0.1:8080/echo nor a script: %w", b.Target, err))
	}
	if cfg.Plan, err = loadScript(b.Target, b.Environment); err != nil {
		return cli.Usage(err)
	}
	return nil
}
