//go:build !linux

package reactor_test

// benchClient exists for the platforms that have the benchmark.
func benchClient(string) int { return 2 }
