package main

import (
	"fmt"

	"github.com/expedite-go/expedite"
)

// limitFlags bound what clients may take.
type limitFlags struct {
	MaxConnections int `help:"WebSockets per worker; beyond it 503. 0: only open files limit it." placeholder:"N"`
}

// apply sets the limits in cfg.
func (f *limitFlags) apply(cfg *expedite.Config) error {
	if f.MaxConnections < 0 {
		return usageError{fmt.Errorf("--max-connections %d: want 0 or more", f.MaxConnections)}
	}
	cfg.MaxConnections = f.MaxConnections
	return nil
}
