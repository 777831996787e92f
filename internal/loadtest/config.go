package loadtest

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"net/netip"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/expedite-go/expedite/ws"
)

// Defaults of Config.
const (
	DefaultTimeout     = 10 * time.Second
	DefaultConnections = 100
	DefaultRamp        = 5 * time.Second
	DefaultSize        = 64
	DefaultPause       = time.Second
)

// MinSize is the minimum length of a message in bytes: every message begins with its number and time.
const MinSize = tagLen

// MaxSize is the maximum length of a message in bytes.
const MaxSize = 64 << 20

// Mode selects what the clients do once they are connected.
type Mode string

// The modes.
const (
	// ModeIdle keeps the connections open.
	ModeIdle Mode = "idle"
	// ModeEcho sends messages on every connection and measures the time until they come back.
	ModeEcho Mode = "echo"
	// ModeBroadcast publishes on one connection and measures the time until each client has the message.
	ModeBroadcast Mode = "broadcast"
	// ModeStorm makes all clients disconnect and reconnect at once, again and again.
	ModeStorm Mode = "storm"
)

// Modes returns all modes.
func Modes() []Mode { return []Mode{ModeIdle, ModeEcho, ModeBroadcast, ModeStorm} }

// Config describes a run. All client processes get the same Config.
type Config struct {
	// URL is the ws:// or wss:// URL to connect to. It is not used with a Plan.
	URL string
	// Plan makes virtual users follow a script instead of running Connections clients in Mode. Nil means no script.
	Plan *Plan
	// Connections is the number of clients. 0 means DefaultConnections.
	Connections int
	// Ramp is the time over which the clients connect, evenly spread. 0 means DefaultRamp; a negative value connects
	// all of them at once.
	Ramp time.Duration
	// RampRate is the number of clients that connect per second. If it is set, Ramp is ignored.
	RampRate float64
	// Mode is what the connected clients do. Empty means ModeIdle.
	Mode Mode
	// Rate is the number of messages per second: of each client with ModeEcho, of the publishing client with
	// ModeBroadcast. With 0, a client sends its next message when the previous one has been answered; then a server
	// that stalls is asked less, and the times are not corrected for that.
	Rate float64
	// Size is the length of a message in bytes, at least MinSize. 0 means DefaultSize.
	Size int
	// Duration is how long the clients do it, measured from the end of the ramp. 0 means until the context ends.
	Duration time.Duration
	// Pause is how long all clients stay connected between two storms. 0 means DefaultPause.
	Pause time.Duration
	// Timeout limits a connect, and the wait for outstanding answers at the end. 0 means DefaultTimeout.
	Timeout time.Duration
	// Header holds additional fields of the opening handshake.
	Header []ws.Field
	// Subprotocols are the subprotocols that the clients offer.
	Subprotocols []string
	// Token returns the access token of a client, numbered from 0, each time it connects. The token is sent as
	// Authorization: Bearer. Nil sends none. Token is called on one goroutine per process and must not block.
	Token func(client int) string
	// LocalAddrs are the addresses that clients connect from, in turn. If it is empty, the system chooses; for a server
	// on 127.0.0.1, the run uses as many loopback addresses as the number of clients requires, because ports between
	// two addresses are found quickly only up to some 10,000 connections.
	LocalAddrs []netip.Prefix
	// TargetAddrs are the addresses to connect to, in turn, instead of the one that the host in URL resolves to.
	TargetAddrs []netip.Prefix
	// Processes is the number of client processes. 0 chooses it from the limit of open files and the number of cores.
	Processes int
	// Compression makes clients offer permessage-deflate without context takeover, and compress their messages if the
	// server agrees. Bytes received are then those of the compressed payloads.
	Compression bool
	// CA has the authorities whose certificates a server may have. Nil means those of the system.
	CA *x509.CertPool
	// Insecure disables the verification of certificates. It is allowed for servers on loopback addresses only.
	Insecure bool
	// AllowRemote permits targets that are not on loopback addresses.
	AllowRemote bool
	// ServerPID is a process of the server. Its CPU time and memory are measured, together with those of its
	// descendants. 0 means the process that listens on the target's port, if it runs on this machine; a negative value
	// measures nothing.
	ServerPID int
	// Version and Machine appear in the report: the version of the program, and a description of the machine.
	Version, Machine string
	// Progress is called once a second, on the goroutine of Run. It may be nil.
	Progress func(Progress)
}

// maxConnections limits the number of clients to what a tag can tell apart.
const maxConnections = 1 << 24

func (c Config) withDefaults() Config {
	if c.Connections == 0 {
		c.Connections = DefaultConnections
	}
	if c.Ramp == 0 {
		c.Ramp = DefaultRamp
	}
	if c.Mode == "" {
		c.Mode = ModeIdle
	}
	if c.Size == 0 {
		c.Size = DefaultSize
	}
	if c.Pause == 0 {
		c.Pause = DefaultPause
	}
	if c.Plan != nil {
		c.Insecure = c.Insecure || c.Plan.Insecure
		if c.Timeout == 0 {
			c.Timeout = c.Plan.Timeout
		}
	}
	if c.Timeout == 0 {
		c.Timeout = DefaultTimeout
	}
	if c.Processes == 0 {
		c.Processes = processes(c.Connections, openFiles(), runtime.NumCPU())
		if c.Plan != nil {
			c.Processes = min(processes(c.Plan.users(), openFiles(), runtime.NumCPU()), runtime.NumCPU())
		}
	}
	if !canFork {
		c.Processes = 1
	}
	return c
}

// Check returns an error if c is invalid. Its text is for the author of the command line.
func (c Config) Check() error {
	c = c.withDefaults()
	switch {
	case c.Connections < 1 || c.Connections > maxConnections:
		return fmt.Errorf("loadtest: %d connections: want 1 to %d", c.Connections, maxConnections)
	case !slices.Contains(Modes(), c.Mode):
		return fmt.Errorf("loadtest: mode %q: want one of %v", c.Mode, Modes())
	case c.Rate < 0 || c.Rate > 1e6:
		return errors.New("loadtest: rate: want 0 to 1,000,000 messages per second")
	case c.Size < MinSize || c.Size > MaxSize:
		return fmt.Errorf("loadtest: messages of %d bytes: want %d (the number and time of a message) to %d",
			c.Size, MinSize, MaxSize)
	case c.Timeout < 0 || c.Duration < 0 || c.Pause < 0 || c.RampRate < 0:
		return errors.New("loadtest: a time or rate is negative")
	case c.Processes < 0 || c.Processes > maxProcesses:
		return fmt.Errorf("loadtest: %d processes: want 1 to %d", c.Processes, maxProcesses)
	}
	if _, err := expand(c.LocalAddrs); err != nil {
		return err
	}
	if _, err := expand(c.TargetAddrs); err != nil {
		return err
	}
	if c.Plan != nil {
		return c.Plan.check()
	}
	t, err := parseTarget(c.URL)
	if err == nil && !t.tls && c.CA != nil {
		return fmt.Errorf("loadtest: --ca is of no use for %q, which has no TLS: want wss://", redacted(c.URL))
	}
	return err
}

// target returns the resolved target. It returns nil if a plan has no target that can be resolved.
func (c *Config) target(ctx context.Context) (*target, error) {
	raw := c.URL
	if c.Plan != nil {
		raw = c.Plan.Target
	}
	t, err := parseTarget(raw)
	if err == nil {
		err = t.resolve(ctx, c)
	}
	if c.Plan != nil && err != nil && !errors.Is(err, ErrRemote) {
		return nil, nil // the steps of the plan have URLs of their own, and report their own errors
	}
	return t, err
}

const (
	// maxProcesses limits the number of client processes.
	maxProcesses = 1000
	// spareFiles is the number of descriptors that a client process needs for itself.
	spareFiles = 64
	// perCore is the number of clients above which another process pays off.
	perCore = 5000
)

// processes returns the number of client processes for n connections. No process may need more than the given number of
// open files. Up to half of the cores, which leaves the other half to the server, processes are added so that no event
// loop has more than perCore clients.
func processes(n, files, cores int) int {
	p := min((n+perCore-1)/perCore, max(cores/2, 1))
	if each := files - spareFiles; files > 0 && each > 0 {
		p = max(p, (n+each-1)/each)
	}
	return min(max(p, 1), maxProcesses)
}

// ParseRamp parses a ramp that is a duration (5s) or a rate (500/s). It returns values for Config.Ramp and
// Config.RampRate.
func ParseRamp(s string) (d time.Duration, rate float64, err error) {
	bad := fmt.Errorf("loadtest: ramp %q: want a time like 5s, or a rate like 500/s", s)
	if text, ok := strings.CutSuffix(s, "/s"); ok {
		if _, err := fmt.Sscanf(text+"\n", "%g\n", &rate); err != nil || !(rate > 0) || rate > 1e7 {
			return 0, 0, bad
		}
		return 0, rate, nil
	}
	if d, err = time.ParseDuration(s); err != nil || d < 0 {
		return 0, 0, bad
	}
	if d == 0 {
		d = -1
	}
	return d, 0, nil
}
