package main

import (
	"fmt"
	"math"
	"strings"
	"time"

	"github.com/expedite-go/expedite"
)

// limitFlags bound what clients may take.
type limitFlags struct {
	MaxConnections int `help:"WebSockets per worker; beyond it 503. 0: only open files limit it." placeholder:"N"`
	MaxHandshakes  int `help:"Sockets per worker before their handshake; then silent ones close." placeholder:"N"`
	MaxPerAddress  int `help:"Connections per worker and address (IPv6: /64); beyond it 429." placeholder:"N"`
	MaxHTTP        int `name:"max-http-connections" help:"HTTP connections per worker; beyond it 503." placeholder:"N"`

	ResponseTimeout time.Duration `help:"End HTTP responses that nobody reads for so long; 0: never." default:"30s"`

	MaxPartial     string `help:"Bytes of unfinished messages per worker, or off." placeholder:"SIZE"`
	MaxQueued      string `help:"Bytes of all send queues per worker, or off." placeholder:"SIZE"`
	MaxPending     string `help:"Bytes per worker that wait for callbacks, or off." placeholder:"SIZE"`
	MessageMinRate string `help:"Least progress of a message that has begun, or off." default:"1KiB/10s"`

	BodyTimeout time.Duration `help:"How long the body of an HTTP request may stand still; 0: for ever." default:"10s"`
}

// apply sets the limits in cfg.
func (f *limitFlags) apply(cfg *expedite.Config) error {
	for _, limit := range []struct {
		flag string
		n    int
		to   *int
	}{
		{"--max-connections", f.MaxConnections, &cfg.MaxConnections},
		{"--max-handshakes", f.MaxHandshakes, &cfg.MaxHandshakes},
		{"--max-per-address", f.MaxPerAddress, &cfg.MaxPerAddress},
		{"--max-http-connections", f.MaxHTTP, &cfg.MaxHTTPConnections},
	} {
		if limit.n < 0 {
			return usageError{fmt.Errorf("%s %d: want 0 or more", limit.flag, limit.n)}
		}
		*limit.to = limit.n
	}
	cfg.ResponseTimeout = orNever(f.ResponseTimeout)
	if f.BodyTimeout < 0 {
		return usageError{fmt.Errorf("--body-timeout %s: want 0 or more", f.BodyTimeout)}
	}
	cfg.BodyTimeout = orNever(f.BodyTimeout)
	var err error
	if cfg.MaxPartial, err = parseLimit("--max-partial", f.MaxPartial); err != nil {
		return err
	}
	if cfg.MaxQueued, err = parseLimit("--max-queued", f.MaxQueued); err != nil {
		return err
	}
	if cfg.MaxPending, err = parseLimit("--max-pending", f.MaxPending); err != nil {
		return err
	}
	cfg.MessageMinRate, err = parseProgress("--message-min-rate", f.MessageMinRate)
	return err
}

// parseLimit reads a flag that is a number of bytes, or off.
func parseLimit(flag, s string) (int64, error) {
	if s == "off" {
		return -1, nil
	}
	return parseSize(flag, s)
}

// parseProgress reads a flag like 1KiB/10s, or off. A second may be written as s.
func parseProgress(flag, s string) (p expedite.Progress, err error) {
	if s == "off" {
		return expedite.Progress{Bytes: -1}, nil
	}
	size, per, _ := strings.Cut(s, "/")
	n, err := expedite.ParseMemory(size)
	if per != "" && (per[0] < '0' || per[0] > '9') {
		per = "1" + per
	}
	d, errPer := time.ParseDuration(per)
	if err != nil || errPer != nil || n == 0 || n > math.MaxInt32 || d < time.Millisecond {
		return p, usageError{fmt.Errorf("%s %q: want a size in a time, like 1KiB/10s, or off", flag, s)}
	}
	return expedite.Progress{Bytes: int(n), Per: d}, nil
}
