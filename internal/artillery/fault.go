package artillery

import (
	"fmt"
	"slices"
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

// hint names the known word that looks most like the one that is not, or all of them.
func hint(word string, known []string) string {
	if len(known) == 0 {
		return ""
	}
	known = slices.Clone(known)
	slices.Sort(known)
	best, least := "", 3
	for _, k := range known {
		if d := distance(strings.ToLower(k), strings.ToLower(word)); d < least && d < len(k) {
			best, least = k, d
		}
	}
	if best != "" {
		return fmt.Sprintf(": did you mean %q?", best)
	}
	return ": known are " + strings.Join(slices.Compact(known), ", ")
}

// maxWord bounds the words that distance looks at, in bytes.
const maxWord = 64

// distance is the Levenshtein distance between a and b.
func distance(a, b string) int {
	if len(a) > maxWord || len(b) > maxWord {
		return maxWord
	}
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost++
			}
			diagonal, row[j+1] = row[j+1], min(cost, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
