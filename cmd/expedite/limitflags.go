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
	MaxConnections int    `help:"WebSockets per worker; beyond it 503. 0: only open files limit it." placeholder:"N"`
	MaxPartial     string `help:"Bytes of unfinished messages per worker, or off." placeholder:"SIZE"`
	MaxQueued      string `help:"Bytes of all send queues per worker, or off." placeholder:"SIZE"`
	MaxPending     string `help:"Bytes per worker that wait for callbacks, or off." placeholder:"SIZE"`
	MessageMinRate string `help:"Least progress of a message that has begun, or off." default:"1KiB/10s"`
}

// apply sets the limits in cfg.
func (f *limitFlags) apply(cfg *expedite.Config) error {
	if f.MaxConnections < 0 {
		return usageError{fmt.Errorf("--max-connections %d: want 0 or more", f.MaxConnections)}
	}
	cfg.MaxConnections = f.MaxConnections
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
