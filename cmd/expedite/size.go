package main

import (
	"fmt"

	"github.com/expedite-go/expedite"
)

// parseSize reads a flag that is a number of bytes; empty is 0.
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
