package telemetry

import (
	"fmt"
	"os"
	"strings"
	"testing"
)

func TestLoggerAutoIsTextOnTerminal(t *testing.T) {
	terminal, err := os.OpenFile("/dev/ptmx", os.O_RDWR, 0) // the master side of a pseudo-terminal is a terminal, too
	if err != nil {
		t.Skipf("no pseudo-terminal: %v", err)
	}
	defer terminal.Close()
	log, err := NewLogger(terminal, "auto", "info")
	if err != nil {
		t.Fatal(err)
	}
	if got := fmt.Sprintf("%T", log.Handler()); !strings.Contains(got, "tint") {
		t.Errorf("got the handler %s, want the one for text", got)
	}
}
