package main

import (
	"fmt"
	"os"

	"github.com/expedite-go/expedite/cluster"
	"github.com/expedite-go/expedite/internal/artillery"
	"github.com/expedite-go/expedite/internal/loadtest"
)

// loadScript reads an Artillery script for bench.
func loadScript(path, environment string) (*loadtest.Plan, error) {
	s, err := artillery.Load(path, environment)
	if err != nil {
		return nil, err
	}
	plan, err := s.Plan()
	if err == nil && !cluster.IsWorker() {
		for _, w := range s.Warnings() {
			fmt.Fprintln(os.Stderr, "expedite:", w)
		}
	}
	return plan, err
}
