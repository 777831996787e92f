package telemetry

import (
	"fmt"
	"os"
	"strings"
	"testing"
)

// openTerminal opens the master side of a pseudo-terminal, which is a terminal, too.
func openTerminal(t *testing.T) *os.File {
	t.Helper()
	f, err := os.OpenFile("/dev/ptmx", os.O_RDWR, 0)
	if err != nil {
		t.Skipf("no pseudo-terminal to be had here: %v", err)
	}
	t.Cleanup(func() { _ = f.Close() })
	return f
}

func TestIsTerminalOfTerminal(t *testing.T) {
	if !IsTerminal(openTerminal(t)) {
		t.Error("a pseudo-terminal: got false, want true")
	}
}

func TestLoggerAutoIsTextOnTerminal(t *testing.T) {
	log, err := NewLogger(openTerminal(t), "auto", "info")
	if err != nil {
		t.Fatal(err)
	}
	json, err := NewLogger(os.Stderr, "json", "info")
	if err != nil {
		t.Fatal(err)
	}
	if got := typeName(log.Handler()); got == typeName(json.Handler()) || !strings.Contains(got, "tint") {
		t.Errorf("got the handler %s, want one for people", got)
	}
}

func typeName(v any) string { return fmt.Sprintf("%T", v) }
