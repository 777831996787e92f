package main

import (
	"fmt"
	"strings"
)

// excuses maps the key of a mutant that may survive to the reason.
type excuses map[string]string

// parseExcuses reads a file of excuses: the key of a mutant in one line, and the reason in the lines after it, which
// begin with a tab. Empty lines, and lines that begin with #, say nothing.
func parseExcuses(name, text string) (excuses, error) {
	e := excuses{}
	last, at := "", 0
	for i, line := range strings.Split(text, "\n") {
		switch {
		case strings.TrimSpace(line) == "" || strings.HasPrefix(line, "#"):
		case strings.HasPrefix(line, "\t"):
			if last == "" {
				return nil, fmt.Errorf("%s:%d: a reason without a mutant", name, i+1)
			}
			e[last] = strings.TrimSpace(e[last] + " " + strings.TrimSpace(line))
		default:
			if last != "" && e[last] == "" {
				return nil, fmt.Errorf("%s:%d: no reason for this mutant", name, at)
			}
			last, at = line, i+1
			if _, ok := e[last]; ok {
				return nil, fmt.Errorf("%s:%d: this mutant is listed twice", name, at)
			}
			e[last] = ""
		}
	}
	if last != "" && e[last] == "" {
		return nil, fmt.Errorf("%s:%d: no reason for this mutant", name, at)
	}
	return e, nil
}

// stale returns the excuses for files that were tested whose mutant does not exist any more.
func (e excuses) stale(tested []mutant) []string {
	files, keys := map[string]bool{}, map[string]bool{}
	for _, m := range tested {
		files[m.file], keys[m.key] = true, true
	}
	var list []string
	for key := range e {
		file, _, _ := strings.Cut(key, " ")
		if files[file] && !keys[key] {
			list = append(list, key)
		}
	}
	return list
}
