package settings

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/expedite-go/expedite"
)

// histories is a list of rules for what topics keep.
func histories(to *[]expedite.HistoryRule) value {
	return value{
		kind: "list of histories", example: "PATTERN=N/DURATION", target: to, list: true,
		set: func(texts []string) error {
			var all []expedite.HistoryRule
			var faults []error
			for _, t := range texts {
				r, err := parseHistory(t)
				if err != nil {
					faults = append(faults, fmt.Errorf("%q: %w", t, err))
				}
				all = append(all, r)
			}
			if len(faults) == 0 {
				*to = all
			}
			return errors.Join(faults...)
		},
	}
}

// parseHistory parses a rule. The pattern is all before the last equals sign.
func parseHistory(s string) (expedite.HistoryRule, error) {
	at := strings.LastIndexByte(s, '=')
	if at < 0 {
		at = 0
	}
	count, age, _ := strings.Cut(strings.TrimPrefix(s[at:], "="), "/")
	n, errCount := strconv.Atoi(count)
	d, errAge := time.ParseDuration(age)
	r := expedite.HistoryRule{Topics: s[:at], Messages: n, For: d}
	check := expedite.New(expedite.Config{History: []expedite.HistoryRule{r}}).Check
	if errCount != nil || errAge != nil || check() != nil {
		return r, errors.New("want a pattern of topics, 1 to 1000000 messages and a second or more, like room.*=100/1h")
	}
	if first, _, more := strings.Cut(s, " "); more {
		if _, err := parseHistory(first); err == nil {
			return r, errors.New("separate histories by commas, not by spaces")
		}
	}
	return r, nil
}
