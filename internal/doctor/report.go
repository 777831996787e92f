package doctor

import (
	"encoding/json"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/expedite-go/expedite/internal/human"
)

// Level is the severity of a finding.
type Level string

// The levels, from the least to the most severe.
const (
	LevelOK    Level = "ok"
	LevelInfo  Level = "info"  // good to know, or not readable
	LevelWarn  Level = "warn"  // a problem under load, or a limit below what the memory permits
	LevelError Level = "error" // the requested number of connections does not fit
)

// levels is in the order of a report.
var levels = [...]Level{LevelError, LevelWarn, LevelInfo, LevelOK}

// Finding is one fact, its wanted value, and a remedy. Numbers in Value and Want are plain digits.
type Finding struct {
	Name  string `json:"name"` // a stable word, like file-max
	Level Level  `json:"level"`
	Value string `json:"value"` // empty: not readable
	Want  string `json:"want"`  // empty: any value is fine
	Why   string `json:"why"`
	Mend  string `json:"mend"` // a command, or another remedy; empty: there is none

	settings []setting
}

// Report is the result of an examination. Its JSON is a contract with users' scripts: fields are added, never renamed
// or removed.
type Report struct {
	Capacity Capacity  `json:"capacity"`
	Wanted   Wanted    `json:"wanted"`
	Findings []Finding `json:"findings"` // the most severe first

	asked bool // a number of connections was requested, so that a shortage is an error
	fits  bool // the limits permit the wanted connections
}

// Wanted is what the findings refer to: the requested connections, or those that fit into the memory.
type Wanted struct {
	Connections int64 `json:"connections"`
	Workers     int   `json:"workers"`
}

// OK reports whether there are no errors. There may be warnings.
func (r Report) OK() bool { return r.count(LevelError) == 0 }

func (r Report) count(level Level) (n int) {
	for _, f := range r.Findings {
		if f.Level == level {
			n++
		}
	}
	return n
}

// Summary returns one to three lines for a banner, without newlines and in lower case.
func (r Report) Summary() []string {
	c := r.Capacity
	if c.BoundBy == "" {
		return []string{"the capacity of this machine is unknown: no limit was readable"}
	}
	line := fmt.Sprintf("this machine holds about %s with %s; the first limit is %s", c.text(),
		human.Count(c.Workers, "worker"), c.Limits[0].title())
	if n, ok := c.memory(); ok && c.BoundBy != limitMemory && c.BoundBy != limitCgroup {
		line += "; the memory suffices for " + about(n)
	}
	lines := []string{line}
	var bad []string
	for _, f := range r.Findings {
		if f.Level == LevelError || f.Level == LevelWarn {
			bad = append(bad, f.Name)
		}
	}
	if len(bad) > 0 {
		lines = append(lines, "run expedite doctor for details on "+strings.Join(bad, ", "))
	}
	return lines
}

// WriteText writes the verdict and the findings for people, in one Write. Set color if w is a terminal.
func (r Report) WriteText(w io.Writer, color bool) error {
	var b strings.Builder
	r.verdict(&b)
	nameWidth, levelWidth := 0, 0
	for _, f := range r.Findings {
		nameWidth, levelWidth = max(nameWidth, len(f.Name)), max(levelWidth, len(f.Level))
	}
	indent := strings.Repeat(" ", levelWidth+nameWidth+6)
	for i, f := range r.Findings {
		if i == 0 || f.Level != r.Findings[i-1].Level {
			b.WriteByte('\n')
		}
		level := fmt.Sprintf("%-*s", levelWidth, f.Level)
		fmt.Fprintf(&b, "  %s  %-*s  %s\n", paint(level, f.Level, color), nameWidth, f.Name, f.fact())
		if f.Level == LevelOK {
			continue
		}
		for _, line := range wrap(f.Why, lineWidth-len(indent)) {
			fmt.Fprintf(&b, "%s%s\n", indent, line)
		}
		if f.Mend != "" { // not wrapped, so that it can be copied
			fmt.Fprintf(&b, "%s→ %s\n", indent, f.Mend)
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// lineWidth is the column at which explanations are wrapped.
const lineWidth = 100

// verdict writes the beginning of the report.
func (r Report) verdict(b *strings.Builder) {
	c := r.Capacity
	if c.BoundBy == "" {
		b.WriteString("The capacity of this machine is unknown: no limit was readable.\n")
		return
	}
	fmt.Fprintf(b, "This machine holds about %s with %s.\n", c.text(), human.Count(c.Workers, "worker"))
	fmt.Fprintf(b, "Limited by: %s.", c.Limits[0].title())
	if len(c.Limits) > 1 {
		fmt.Fprintf(b, " Next limit: %s, at %s.", c.Limits[1].title(), about(c.Limits[1].Connections))
	}
	b.WriteByte('\n')
	if n, ok := c.memory(); ok && c.BoundBy != limitMemory && c.BoundBy != limitCgroup {
		fmt.Fprintf(b, "The memory suffices for %s.\n", about(n))
	}
	secure := ""
	if c.SecureBytes > 0 {
		secure = fmt.Sprintf(" (%s for TLS)", human.Number(c.SecureBytes))
	}
	fmt.Fprintf(b,
		"Each takes %s bytes in a worker%s and %s in the kernel, which the size of a process does not include.\n",
		human.Number(c.UserBytes), secure, human.Number(c.KernelBytes))
	if !r.asked {
		return
	}
	b.WriteString(human.Count(r.Wanted.Connections, "connection"))
	if c.Workers != r.Wanted.Workers {
		b.WriteString(" with " + human.Count(r.Wanted.Workers, "worker"))
	}
	switch {
	case !r.fits:
		b.WriteString(" do not fit.\n")
	case r.OK():
		b.WriteString(" fit.\n")
	default:
		b.WriteString(" fit, but there are other errors.\n")
	}
}

// text returns the number of connections in words.
func (c Capacity) text() string {
	if c.SecureBytes > 0 {
		return connections(c.Connections) + " over TLS"
	}
	return connections(c.Connections)
}

// fact returns the value and the wanted value in one line.
func (f Finding) fact() string {
	s := readable(f.Value)
	if s == "" {
		s = "not readable"
	}
	if f.Want != "" && f.Level != LevelOK {
		s += ", want " + readable(f.Want)
	}
	return s
}

// MarshalJSON encodes empty lists as [], never as null: scripts iterate over them.
func (r Report) MarshalJSON() ([]byte, error) {
	type plain Report // without this method
	if r.Findings == nil {
		r.Findings = []Finding{}
	}
	if r.Capacity.Limits == nil {
		r.Capacity.Limits = []Limit{}
	}
	return json.Marshal(plain(r))
}

var _ json.Marshaler = Report{}

// sort puts the most severe findings first, and keeps the order within a level.
func (r *Report) sort() {
	slices.SortStableFunc(r.Findings, func(a, b Finding) int {
		return slices.Index(levels[:], a.Level) - slices.Index(levels[:], b.Level)
	})
}

// paint colors a word according to a level.
func paint(s string, level Level, color bool) string {
	code := map[Level]string{LevelError: "1;31", LevelWarn: "33", LevelInfo: "36", LevelOK: "32"}[level]
	if !color {
		return s
	}
	return "\x1b[" + code + "m" + s + "\x1b[0m"
}

// wrap breaks a text between words.
func wrap(text string, width int) (lines []string) {
	line := ""
	for _, word := range strings.Fields(text) {
		if line != "" && len(line)+1+len(word) > width {
			lines, line = append(lines, line), ""
		}
		if line != "" {
			line += " "
		}
		line += word
	}
	if line != "" {
		lines = append(lines, line)
	}
	return lines
}

// words matches text between spaces and brackets.
var words = regexp.MustCompile(`[^\s(),;]+`)

// readable groups the digits of the numbers in a text. A number that is part of a longer word keeps its digits: a port
// after its host, a range, an address, a path.
func readable(s string) string {
	return words.ReplaceAllStringFunc(s, func(word string) string {
		n, err := strconv.ParseInt(word, 10, 64)
		if err != nil || n > -10_000 && n < 10_000 {
			return word
		}
		return human.Number(n)
	})
}

// connections returns a number of connections, rounded by about.
func connections(n int64) string {
	return about(n) + " " + human.Noun(n, "connection")
}

// about returns a number rounded down to three digits: 39,800, or 2.1 million.
func about(n int64) string {
	if n >= 1e12 {
		return "over a trillion"
	}
	unit := int64(1)
	for n/unit >= 1000 {
		unit *= 10
	}
	n -= n % unit
	switch {
	case n >= 1e9:
		return strconv.FormatFloat(float64(n)/1e9, 'g', 3, 64) + " billion"
	case n >= 1e6:
		return strconv.FormatFloat(float64(n)/1e6, 'g', 3, 64) + " million"
	}
	return human.Number(n)
}
