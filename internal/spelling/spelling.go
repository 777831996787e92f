// Package spelling suggests the known word that resembles an unknown one.
package spelling

import (
	"fmt"
	"slices"
	"strings"
)

const (
	maxDistance = 2  // edits between an unknown word and the one that it suggests
	maxWord     = 64 // bytes; longer words resemble nothing
)

// Suggest returns the end of an error message about an unknown word: `: did you mean "x"?`, or the list of the known
// words if none resembles it. Upper and lower case are alike, and so are -, _ and a space. Suggest returns "" if known
// is empty.
func Suggest(word string, known []string) string {
	if len(known) == 0 {
		return ""
	}
	known = slices.Compact(slices.Sorted(slices.Values(known)))
	best, least := "", maxDistance+1
	for _, k := range known {
		if d := distance(fold(k), fold(word)); d < least && d < len(k) {
			best, least = k, d
		}
	}
	if best != "" {
		return fmt.Sprintf(": did you mean %q?", best)
	}
	return ": known are " + strings.Join(known, ", ")
}

func fold(s string) string {
	return strings.NewReplacer("_", "-", " ", "-").Replace(strings.ToLower(s))
}

// distance returns the Levenshtein distance between a and b.
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
