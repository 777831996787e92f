package terminal

import (
	"os"
	"testing"
)

func TestIsPseudoTerminal(t *testing.T) {
	f, err := os.OpenFile("/dev/ptmx", os.O_RDWR, 0) // the master side of one is a terminal, too
	if err != nil {
		t.Skipf("no pseudo-terminal: %v", err)
	}
	defer f.Close()
	if !Is(f) {
		t.Error("got false, want true")
	}
}
