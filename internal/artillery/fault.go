package artillery

import (
	"fmt"
	"strings"
)

// Error describes what a script requires that is not possible, and where.
type Error struct {
	File string
	// Line counts from 1. It is 0 if unknown, for example in scripts that are programs.
	Line int
	// Key is the path in the script, such as scenarios[0].flow[1].send. It is empty for the whole script.
	Key    string
	Reason string
}

// Error returns place and reason on one line.
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
