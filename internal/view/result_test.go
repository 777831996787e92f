package view

import (
	"bytes"
	"testing"
)

// TestOutput: what a process has printed is shown once: the error may end with its last line.
func TestOutput(t *testing.T) {
	for _, tt := range []struct{ name, output, told, want string }{
		{"the only line is in the error", "a: b\n", "not started: a: b", ""},
		{"the last line is in the error", "a\r\nb\r\n", "not started: b", "  a\n"},
		{"another error", "a\nb\n", "not started", "  a\n  b\n"},
		{"nothing", " \n", "not started", ""},
	} {
		var b bytes.Buffer
		Output(&b, tt.output, tt.told)
		if b.String() != tt.want {
			t.Errorf("%s: got %q, want %q", tt.name, b.String(), tt.want)
		}
	}
}
