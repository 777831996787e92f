//go:build !linux

package reactor_test

// benchClient is for platforms that have the benchmark.
func benchClient(string) int { return 2 }
