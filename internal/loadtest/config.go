package loadtest

import (
	"context"
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

// MinSize is the shortest message of the modes that measure: it begins with its number and time.
const MinSize = tagLen

// MaxSize is the longest message.
const MaxSize = 64 << 20

// Mode is what the clients do once they are connected.
type Mode string

// The modes.
const (
	// ModeIdle holds the connections.
	ModeIdle Mode = "idle"
	// ModeEcho sends on every connection and takes the time until the message is back.
	ModeEcho Mode = "echo"
	// ModeBroadcast publishes on one connection and takes the time until the message is at each.
	ModeBroadcast Mode = "broadcast"
	// ModeStorm lets all clients disconnect at once and come back at once, again and again.
	ModeStorm Mode = "storm"
)

// Modes are all modes.
func Modes() []Mode { return []Mode{ModeIdle, ModeEcho, ModeBroadcast, ModeStorm} }

// Config is a run. Every client process gets the same one.
type Config struct {
	// URL is where the clients connect to: ws:// or wss://. With a Plan it is not used.
	URL string
	// Plan lets virtual users do what a script says, instead of Connections clients what Mode says. Nil is none.
	Plan *Plan
	// Connections is the number of clients. 0 is DefaultConnections.
	Connections int
	// Ramp is the time in which they connect, evenly. 0 is DefaultRamp, negative is all at once.
	Ramp time.Duration
	// RampRate is the number of clients that connect per second, instead of Ramp. 0 goes by Ramp.
	RampRate float64
	// Mode is what they do then. Empty is ModeIdle.
	Mode Mode
	// Rate is the number of messages per second: of each client with ModeEcho, of the one that publishes with
	// ModeBroadcast. 0 sends the next when the answer to the last has come: then a server that stalls is asked less,
	// and the figures are not corrected for that.
	Rate float64
	// Size is the length of a message in bytes, MinSize or more. 0 is DefaultSize.
	Size int
	// Duration is how long they do it, after the ramp. 0 is until the context ends.
	Duration time.Duration
	// Pause is how long all clients stay connected between two storms. 0 is DefaultPause.
	Pause time.Duration
	// Timeout bounds a connect, and at the end the wait for what is under way. 0 is DefaultTimeout.
	Timeout time.Duration
	// Header are fields of the opening handshake.
	Header []ws.Field
	// Subprotocols are what the clients offer.
	Subprotocols []string
	// Token makes the access token of a client, from 0, each time that it connects; it is sent as Authorization:
	// Bearer. Nil sends none. It is called on one goroutine per process and must not block.
	Token func(client int) string
	// LocalAddrs are the addresses that clients connect from, in turn. Empty is the system's choice, and with a server
	// on 127.0.0.1 as many loopback addresses as the number of clients needs: a pair of addresses has some 10,000 ports
	// that are found quickly.
	LocalAddrs []netip.Prefix
	// TargetAddrs are connected to, in turn, in place of what the name in URL stands for. Empty is the first of those.
	TargetAddrs []netip.Prefix
	// Processes is the number of client processes. 0 is as many as descriptors and cores ask for.
	Processes int
	// Insecure takes any certificate, of servers on loopback addresses only.
	Insecure bool
	// AllowRemote permits targets that are not on loopback addresses.
	AllowRemote bool
	// ServerPID is a process of the server, which is measured together with those it has started. 0 is whoever listens
	// on the port, if that is on this machine; negative is none.
	ServerPID int
	// Version and Machine name the program, and what it runs on, in the report. Empty leaves them out.
	Version, Machine string
	// Progress is told once a second how far the run is, by the goroutine of Run. Nil is nobody.
	Progress func(Progress)
}

// maxConnections is the largest number of clients: what a tag can tell apart.
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

// Check says what is wrong with c, or nil. The error is for whoever wrote the command line.
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
	_, err := parseTarget(c.URL)
	return err
}

// target finds what the clients connect to; nil if a plan names nothing.
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
		return nil, nil // its steps name where they connect to, and fail by themselves
	}
	return t, err
}

const (
	// maxProcesses is the largest number of client processes.
	maxProcesses = 1000
	// spareFiles is how many descriptors a client process needs for itself.
	spareFiles = 64
	// perCore is the number of clients from which another process pays.
	perCore = 5000
)

// processes is the number of client processes that n connections ask for: no more than files open files in each; and
// while there are cores, half of which are the server's, not too many on one loop.
func processes(n, files, cores int) int {
	p := min((n+perCore-1)/perCore, max(cores/2, 1))
	if each := files - spareFiles; files > 0 && each > 0 {
		p = max(p, (n+each-1)/each)
	}
	return min(max(p, 1), maxProcesses)
}

// ParseRamp reads a time (5s) or a rate (500/s) of connecting into Ramp or RampRate.
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
