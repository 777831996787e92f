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

// Level says how much a finding matters.
type Level string

// The levels, the worst last.
const (
	LevelOK    Level = "ok"
	LevelInfo  Level = "info"  // good to know, or not readable
	LevelWarn  Level = "warn"  // will hurt under load, or keeps the machine from holding what its memory allows
	LevelError Level = "error" // what was asked for does not fit
)

// levels are in the order of a report.
var levels = [...]Level{LevelError, LevelWarn, LevelInfo, LevelOK}

// Finding is one fact, what it should be, and what to do about it. Numbers in Value and Want are plain digits.
type Finding struct {
	Name  string `json:"name"` // a stable word, like file-max
	Level Level  `json:"level"`
	Value string `json:"value"` // empty: not readable
	Want  string `json:"want"`  // empty: anything will do
	Why   string `json:"why"`
	Mend  string `json:"mend"` // a command, or what to do; empty: nothing to be done

	settings []setting
}

// Report is what an examination found. Its JSON is a contract with users' scripts: fields are added, never renamed or
// removed.
type Report struct {
	Capacity Capacity  `json:"capacity"`
	Wanted   Wanted    `json:"wanted"`
	Findings []Finding `json:"findings"` // the worst first

	asked bool // by the user, so that a shortage is an error
	fits  bool // what is wanted, by the limits
}

// Wanted is what the findings are about: what was asked for, or what the memory allows.
type Wanted struct {
	Connections int64 `json:"connections"`
	Workers     int   `json:"workers"`
}

// OK says that nothing is wrong: there may be warnings, but no errors.
func (r Report) OK() bool { return r.count(LevelError) == 0 }

func (r Report) count(level Level) (n int) {
	for _, f := range r.Findings {
		if f.Level == level {
			n++
		}
	}
	return n
}

// Summary is for a banner: one to three lines without an end, in lower case.
func (r Report) Summary() []string {
	c := r.Capacity
	if c.BoundBy == "" {
		return []string{"what this machine holds is not known: no limit was readable"}
	}
	line := fmt.Sprintf("this machine holds about %s with %s; %s first", connections(c.Connections),
		human.Count(c.Workers, "worker"), binds(c.Limits[0]))
	if n, ok := c.memory(); ok && c.BoundBy != limitMemory && c.BoundBy != limitCgroup {
		line += "; memory would allow " + about(n)
	}
	lines := []string{line}
	var bad []string
	for _, f := range r.Findings {
		if f.Level == LevelError || f.Level == LevelWarn {
			bad = append(bad, f.Name)
		}
	}
	if len(bad) > 0 {
		lines = append(lines, "expedite doctor has more about "+strings.Join(bad, ", "))
	}
	return lines
}

// WriteText writes the verdict and the findings as people read them, in one Write. Color is for terminals.
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
		if f.Mend != "" { // not wrapped: it is to be copied
			fmt.Fprintf(&b, "%s→ %s\n", indent, f.Mend)
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// lineWidth is where explanations are wrapped, in columns.
const lineWidth = 100

// verdict is what the report begins with.
func (r Report) verdict(b *strings.Builder) {
	c := r.Capacity
	if c.BoundBy == "" {
		b.WriteString("What this machine holds is not known: no limit was readable.\n")
		return
	}
	fmt.Fprintf(b, "This machine holds about %s with %s.\n", connections(c.Connections),
		human.Count(c.Workers, "worker"))
	fmt.Fprintf(b, "Bound by: %s.", c.Limits[0].title())
	if len(c.Limits) > 1 {
		fmt.Fprintf(b, " Next: %s, at %s.", c.Limits[1].title(), about(c.Limits[1].Connections))
	}
	b.WriteByte('\n')
	if n, ok := c.memory(); ok && c.BoundBy != limitMemory && c.BoundBy != limitCgroup {
		fmt.Fprintf(b, "Memory would allow %s.\n", about(n))
	}
	fmt.Fprintf(b, "Each takes %s bytes in a worker and %s in the kernel, which the size of a process does not show.\n",
		human.Number(c.UserBytes), human.Number(c.KernelBytes))
	if !r.asked {
		return
	}
	b.WriteString(human.Count(r.Wanted.Connections, "connection"))
	if c.Workers != r.Wanted.Workers {
		b.WriteString(" with " + human.Count(r.Wanted.Workers, "worker"))
	}
	switch {
	case !r.fits:
		b.WriteString(" are more than that.\n")
	case r.OK():
		b.WriteString(" fit.\n")
	default:
		b.WriteString(" would fit, but something else is wrong.\n")
	}
}

// fact is the value and what it should be, in one line.
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

// MarshalJSON writes empty lists as [], never as null: scripts iterate over them.
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

// sort puts the worst first and keeps the order within a level.
func (r *Report) sort() {
	slices.SortStableFunc(r.Findings, func(a, b Finding) int {
		return slices.Index(levels[:], a.Level) - slices.Index(levels[:], b.Level)
	})
}

// paint colors a word as its level wants it.
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

// words are what stands between spaces and brackets.
var words = regexp.MustCompile(`[^\s(),;]+`)

// readable groups the digits of the numbers in a text. A number that is part of a longer word keeps its digits: a port
// behind its host, a range, an address, a path.
func readable(s string) string {
	return words.ReplaceAllStringFunc(s, func(word string) string {
		n, err := strconv.ParseInt(word, 10, 64)
		if err != nil || n > -10_000 && n < 10_000 {
			return word
		}
		return human.Number(n)
	})
}

// connections is count, about.
func connections(n int64) string {
	return about(n) + " " + human.Noun(n, "connection")
}

// about is a number to three digits, rounded down: 39,800, or 2.1 million.
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

// binds is a limit as the subject of a sentence: "memory binds", "open files per process bind".
func binds(l Limit) string {
	switch l.Name {
	case limitFiles, limitFileMax, limitTCP, limitTasks:
		return l.title() + " bind"
	}
	return l.title() + " binds"
}
