package artillery

import (
	"fmt"
	"strings"
)

// Error says what a script asks for that cannot be done, and where.
type Error struct {
	File string
	// Line counts from 1. 0 is unknown, as in scripts that are programs.
	Line int
	// Key is where in the script: scenarios[0].flow[1].send. Empty is the whole.
	Key    string
	Reason string
}

// Error gives place and reason in one line.
func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString("artillery: " + e.File)
	if e.Line > 0 {
		fmt.Fprintf(&b, ", line %d", e.Line)
	}
	if e.Key != "" {
		b.WriteString(", " + e.Key)
	}
	return b.String() + ": " + e.Reason
}

var _ error = (*Error)(nil)
