package artillery

import (
	"math"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// maxTime limits every duration in a script.
const maxTime = 366 * 24 * time.Hour

// msForm matches the durations that the npm package ms understands. Artillery parses durations with it.
var msForm = regexp.MustCompile(`(?i)^(-?(?:\d+)?\.?\d+) *(milliseconds?|msecs?|ms|seconds?|secs?|s|minutes?|mins?|m|` +
	`hours?|hrs?|h|days?|d|weeks?|w|years?|yrs?|y)?$`)

// ms parses a duration like "200 ms" or "1.5s". A bare number means milliseconds.
func ms(s string) (time.Duration, bool) {
	if len(s) > 100 {
		return 0, false
	}
	m := msForm.FindStringSubmatch(s)
	if m == nil {
		return 0, false
	}
	n, err := strconv.ParseFloat(m[1], 64)
	if err != nil {
		return 0, false
	}
	unit := time.Millisecond
	switch u := strings.ToLower(m[2]); {
	case u == "" || strings.HasPrefix(u, "ms") || strings.HasPrefix(u, "milli"):
	case u[0] == 's':
		unit = time.Second
	case u[0] == 'm':
		unit = time.Minute
	case u[0] == 'h':
		unit = time.Hour
	case u[0] == 'd':
		unit = 24 * time.Hour
	case u[0] == 'w':
		unit = 7 * 24 * time.Hour
	default:
		unit = 365*24*time.Hour + 6*time.Hour
	}
	return fromFloat(n * float64(unit))
}

func fromFloat(ns float64) (time.Duration, bool) {
	if math.IsNaN(ns) || math.Abs(ns) > float64(maxTime) {
		return 0, false
	}
	return time.Duration(ns), true
}

// seconds converts a value to a duration as artillery does. Whole numbers, also as text, are seconds; other text is
// parsed by ms. A number with a fraction means milliseconds, which artillery rounds up to 1 ms in a think and refuses
// in a phase; fraction reports such a number.
func seconds(v any) (d time.Duration, fraction, ok bool) {
	n, isNumber := toNumber(v)
	if isNumber && n == math.Trunc(n) {
		d, ok = fromFloat(n * float64(time.Second))
		return d, false, ok
	}
	if s, isText := v.(string); isText {
		d, ok = ms(s)
		return d, isNumber, ok
	}
	d, ok = fromFloat(n * float64(time.Millisecond))
	return d, true, ok && isNumber
}
