package reactor_test

import (
	"os"
	"testing"

	"go.uber.org/goleak"
)

// clientEnv holds the arguments of the client process of BenchmarkEcho.
const clientEnv = "REACTOR_BENCH_CLIENT"

func TestMain(m *testing.M) {
	if orders := os.Getenv(clientEnv); orders != "" {
		os.Exit(benchClient(orders))
	}
	goleak.VerifyTestMain(m)
}
