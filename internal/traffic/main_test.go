package traffic

import (
	"os"
	"testing"

	"go.uber.org/goleak"
)

// TestMain runs the tests. If serverVariable is set, it runs a server for the tests, or one of its workers, instead.
func TestMain(m *testing.M) {
	if os.Getenv(serverVariable) != "" {
		os.Exit(runServer())
	}
	goleak.VerifyTestMain(m)
}
