package resource

import (
	"fmt"
	"math"
	"strconv"
	"strings"
)

// lookup returns the value of an environment variable. As in the Go runtime, an empty variable is not set. If a
// variable occurs more than once, the last one counts.
func lookup(environ []string, name string) (value string, set bool) {
	for _, kv := range environ {
		if v, ok := strings.CutPrefix(kv, name+"="); ok {
			value, set = v, v != ""
		}
	}
	return value, set
}

// ParseMemory parses an amount of memory in the syntax of GOMEMLIMIT: a whole number of bytes, or a whole number with
// the unit B, KiB, MiB, GiB or TiB.
func ParseMemory(s string) (bytes int64, err error) {
	digits := strings.TrimRight(s, "BKMGTi")
	factor, ok := map[string]int64{
		"": 1, "B": 1, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30, "TiB": 1 << 40,
	}[s[len(digits):]]
	n, err := strconv.ParseInt(digits, 10, 64)
	if err != nil || !ok || n < 0 || n > math.MaxInt64/factor {
		return 0, fmt.Errorf("%q is not an amount of memory: write it like 512MiB or 4GiB", s)
	}
	return n * factor, nil
}

// parseMemoryLimit parses GOMEMLIMIT. It returns 0 if there is no limit: the value is "off", or one with which a Go
// program does not start.
func parseMemoryLimit(s string) int64 {
	n, err := ParseMemory(s)
	if err != nil || n == math.MaxInt64 {
		return 0
	}
	return n
}

// parseGOGC parses GOGC in percent. It returns -1 for "off", and the default of Go for a value that Go ignores.
func parseGOGC(s string) int {
	if s == "off" {
		return -1
	}
	n, err := strconv.Atoi(s)
	if err != nil {
		return defaultGOGC
	}
	return n
}

// defaultGOGC is the value of GOGC if it is not set.
const defaultGOGC = 100
