package traffic

import (
	"os"
	"testing"

	"go.uber.org/goleak"
)

// TestMain is the tests and, where the environment says so, a server for them with its workers.
func TestMain(m *testing.M) {
	if os.Getenv(serverVariable) != "" {
		os.Exit(runServer())
	}
	goleak.VerifyTestMain(m)
}
