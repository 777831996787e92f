package control

import (
	"os"
	"testing"

	"go.uber.org/goleak"
)

// childEnv makes this test binary serve at the socket that it names, in a process of its own.
const childEnv = "EXPEDITE_TEST_CONTROL"

func TestMain(m *testing.M) {
	if path := os.Getenv(childEnv); path != "" {
		child(path)
	}
	goleak.VerifyTestMain(m)
}
