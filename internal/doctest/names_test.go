package doctest

import (
	"fmt"
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

var (
	flagName     = regexp.MustCompile(`^--[a-z][a-z-]*`)
	variableName = regexp.MustCompile(`\bEXPEDITE_[A-Z][A-Z_]*[A-Z]\b`)
	metricName   = regexp.MustCompile(`\bexpedite_[a-z_]+…?`)
	closeCode    = regexp.MustCompile(`(?:^|[^\d.,:-])(10(?:0\d|1[0-5])|44\d\d)(?:$|[^\d,:])`)
	qualified    = regexp.MustCompile(`^(\w+)\.([A-Z]\w*)`)
	testRef      = regexp.MustCompile(`^(?:Test|Fuzz|Benchmark)[A-Z]\w*$`)
	ownPath      = regexp.MustCompile(`^(?:cmd|deploy|docs|examples|internal|scripts|benchmarks|ws|session|backplane)/[\w./-]*$`)
	httpPath     = regexp.MustCompile(`^/[a-z][a-z.]*(?:/[a-z]+)*/?$`)
	ofSystem     = regexp.MustCompile(`^/(?:dev|etc|proc|run|sys|tmp|usr|var)\b`)
)

// ofOthers has flags of other programs that pages name by themselves.
var ofOthers = map[string]bool{"--stop-timeout": true} // docker run

// spanFaults returns what code in a line names and the repository does not have.
func (s *source) spanFaults(text string) (faults []string) {
	missing := func(what, name string) { faults = append(faults, "there is no "+what+" "+name) }
	if name := flagName.FindString(text); name != "" && !ofOthers[name] && !regexp.MustCompile(name+`\b[^-]`).MatchString(s.help) {
		missing("flag", name)
	}
	if m := qualified.FindStringSubmatch(text); m != nil && s.knows(m[1]) && !s.names[m[1]+"."+m[2]] {
		missing("exported name", m[1]+"."+m[2])
	}
	if testRef.MatchString(text) && !s.tests[text] {
		missing("test", text)
	}
	if ownPath.MatchString(text) {
		if _, err := os.Stat(root + "/" + text); err != nil {
			missing("file", text)
		}
	}
	if httpPath.MatchString(text) && !ofSystem.MatchString(text) && !strings.Contains(s.text, text) {
		missing("path", text)
	}
	return faults
}

// knows reports whether name is that of a public package or of one of their types.
func (s *source) knows(name string) bool {
	switch name {
	case "expedite", "auth", "backplane", "client", "cluster", "command", "expeditetest", "session", "ws":
		return true
	}
	return s.names[name]
}

// lineFaults returns what a line, of code or prose, names and the repository does not have.
func (s *source) lineFaults(line string) (faults []string) {
	for _, name := range variableName.FindAllString(line, -1) {
		if !regexp.MustCompile(`\b`+name+`\b`).MatchString(s.help) && !strings.Contains(s.text, name) {
			faults = append(faults, "there is no variable "+name)
		}
	}
	for _, name := range metricName.FindAllString(line, -1) {
		if prefix, open := strings.CutSuffix(name, "…"); !s.metrics[name] && (!open || !s.hasMetric(prefix)) {
			faults = append(faults, "there is no metric "+name)
		}
	}
	for _, m := range closeCode.FindAllStringSubmatch(line, -1) {
		if code, err := strconv.Atoi(m[1]); err == nil && !s.codes[code] {
			faults = append(faults, "there is no close code "+m[1])
		}
	}
	return faults
}

func (s *source) hasMetric(prefix string) bool {
	for name := range s.metrics {
		if strings.HasPrefix(name, prefix) {
			return true
		}
	}
	return false
}

// TestNames checks that flags, variables, metrics, close codes, exported names, tests and paths in pages exist.
func TestNames(t *testing.T) {
	s := readSource(t)
	for _, p := range pages(t) {
		for _, span := range p.spans() {
			for _, fault := range s.spanFaults(span.text) {
				t.Errorf("%s:%d: %s", p.path, span.line, fault)
			}
		}
		for i, line := range p.lines {
			for _, fault := range s.lineFaults(line) {
				t.Errorf("%s:%d: %s", p.path, i+1, fault)
			}
		}
	}
	if len(s.metrics) < 50 || len(s.codes) < 15 || len(s.tests) < 500 || len(s.names) < 500 {
		t.Errorf("found %d metrics, %d close codes, %d tests, %d names", len(s.metrics), len(s.codes), len(s.tests), len(s.names))
	}
}

// TestEveryCloseCodeIsDocumented checks that a page explains each close code that the server sends, in a table.
func TestEveryCloseCodeIsDocumented(t *testing.T) {
	s := readSource(t)
	var tables string
	for _, p := range pages(t) {
		for _, line := range p.prose() {
			if strings.HasPrefix(line, "|") {
				tables += line[:min(len(line), 30)] + "\n" // the first column
			}
		}
	}
	for code, path := range s.sent {
		if !regexp.MustCompile(`(?m)^\| [^|]*\b` + strconv.Itoa(code) + `\b[^|]*\|`).MatchString(tables) {
			t.Errorf("%s sends close code %d, and no table of docs explains it", path, code)
		}
	}
	if s.sent[4401] == "" || s.sent[1012] == "" || s.sent[1002] == "" {
		t.Errorf("not all codes were found: %v", s.sent)
	}
}

// TestNameRules checks that names are found, and those that do not exist.
func TestNameRules(t *testing.T) {
	s := readSource(t)
	for text, want := range map[string]string{
		"--workers 4":                "[]",
		"--wrokers":                  "[there is no flag --wrokers]",
		"--max-sess":                 "[there is no flag --max-sess]",
		"Config.Addr":                "[]",
		"Config.Adr":                 "[there is no exported name Config.Adr]",
		"expedite.Carry[T]()":        "[]",
		"expedite.Curry":             "[there is no exported name expedite.Curry]",
		"session.ErrDeferred":        "[]",
		"Node.Thing":                 "[]",
		"TestOutsideRule":            "[there is no test TestOutsideRule]", // of this package, which no page should name
		"TestSlowloris":              "[]",
		"docs/limits.md":             "[]",
		"docs/limit.md":              "[there is no file docs/limit.md]",
		"/readyz":                    "[]",
		"/ready-or-not":              "[]", // no path that this server could have
		"/readiness":                 "[there is no path /readiness]",
		"/var/lib/nothing":           "[]",
		"new WebSocket(url)":         "[]",
		"internal/doctest/a b":       "[]",
		"Handler.Message, then Send": "[]",
	} {
		if got := fmt.Sprint(s.spanFaults(text)); got != want {
			t.Errorf("%s: got %s, want %s", text, got, want)
		}
	}
	for line, want := range map[string]string{
		"EXPEDITE_ADDR=:80, and EXPEDITE_*": "[]",
		"EXPEDITE_ADR=:80":                  "[there is no variable EXPEDITE_ADR]",
		"expedite_connections{worker=1}":    "[]",
		"expedite_connection":               "[there is no metric expedite_connection]",
		"expedite_backplane_…":              "[]",
		"expedite_backplain_…":              "[there is no metric expedite_backplain_…]",
		"closed with 1012, or 4401.":        "[]",
		"closed with 4499":                  "[there is no close code 4499]",
		"1,004 bytes, and 10040, and 1.004": "[]",
	} {
		if got := fmt.Sprint(s.lineFaults(line)); got != want {
			t.Errorf("%s: got %s, want %s", line, got, want)
		}
	}
}
