package main

import (
	"fmt"
	"time"

	"github.com/expedite-go/expedite"
)

// limitFlags limit what clients may use.
type limitFlags struct {
	MaxConnections     int `help:"WebSockets per worker, then 503. Default: 0, as open files permit." placeholder:"N"`
	MaxHandshakes      int `help:"Sockets per worker before the handshake. Default: up to 4096." placeholder:"N"`
	MaxPerAddress      int `help:"Connections per worker and IPv4 address or IPv6 /64. Default: no limit." placeholder:"N"`
	MaxHTTPConnections int `help:"HTTP connections per worker. Default: up to 4096." placeholder:"N"`

	ResponseTimeout time.Duration `help:"Time for a client to read from a response; 0: no limit." default:"30s"`

	MaxPartial     string `help:"Bytes of unfinished messages per worker, or off. Default: heap/8." placeholder:"SIZE"`
	MaxQueued      string `help:"Bytes of send queues per worker, or off. Default: heap/4." placeholder:"SIZE"`
	MaxPending     string `help:"Bytes waiting for callbacks per worker, or off. Default: heap/8." placeholder:"SIZE"`
	MessageMinRate string `help:"Lowest rate of a message under way, or off." default:"1KiB/10s"`

	BodyTimeout time.Duration `help:"Time between reads of a request body; 0: no limit." default:"10s"`
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
		{"--max-http-connections", f.MaxHTTPConnections, &cfg.MaxHTTPConnections},
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
