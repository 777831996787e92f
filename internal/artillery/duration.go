package artillery

import (
	"math"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// maxTime bounds every duration of a script.
const maxTime = 366 * 24 * time.Hour

// msForm is what npm's package ms understands, which artillery reads times with.
var msForm = regexp.MustCompile(`(?i)^(-?(?:\d+)?\.?\d+) *(milliseconds?|msecs?|ms|seconds?|secs?|s|minutes?|mins?|m|` +
	`hours?|hrs?|h|days?|d|weeks?|w|years?|yrs?|y)?$`)

// ms reads a time like "200 ms" or "1.5s". A bare number is one of milliseconds.
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

// seconds reads a time as artillery does: whole numbers, also as text, are seconds, and other text is for ms. A number
// with a fraction is one of milliseconds, which artillery then rounds up to 1 ms for a think, and refuses for a phase;
// fraction reports it.
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
