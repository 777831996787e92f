package main

import (
	"fmt"
	"math"
	"net"
	"strings"
	"time"

	"github.com/expedite-go/expedite"
)

// checkAddr returns addr, or an error that names the flag.
func checkAddr(flag, addr string) (string, error) {
	_, port, err := net.SplitHostPort(addr)
	if err == nil {
		_, err = net.LookupPort("tcp", port)
	}
	if err != nil {
		return "", usageError{fmt.Errorf("%s %q: want host:port, like 127.0.0.1:8080 or :8080", flag, addr)}
	}
	return addr, nil
}

// parseWorkers parses --workers. It returns 0 for auto, as in expedite.Config.
func parseWorkers(s string) (int, error) {
	if s == "auto" {
		return 0, nil
	}
	var n int
	if _, err := fmt.Sscanf(s+"\n", "%d\n", &n); err != nil || n < 1 || n > expedite.MaxWorkers {
		return 0, usageError{fmt.Errorf("--workers %q: want auto or a number from 1 to %d", s, expedite.MaxWorkers)}
	}
	return n, nil
}

// orNever converts a duration of which 0 means never into one of expedite.Config, where that is negative.
func orNever(d time.Duration) time.Duration {
	if d <= 0 {
		return -1
	}
	return d
}

// parseSize parses a flag that is a number of bytes. It returns 0 for "".
func parseSize(flag, s string) (int64, error) {
	if s == "" {
		return 0, nil
	}
	n, err := expedite.ParseMemory(s)
	if err != nil || n == 0 {
		return 0, usageError{fmt.Errorf("%s %q: want bytes, or a size like 512MiB or 2GiB", flag, s)}
	}
	return n, nil
}

// parseLimit parses a flag that is a number of bytes, or off.
func parseLimit(flag, s string) (int64, error) {
	if s == "off" {
		return -1, nil
	}
	return parseSize(flag, s)
}

// parseProgress parses a flag like 1KiB/10s, or off. One second may be written as s.
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
