package artillery

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/expedite-go/expedite/internal/loadtest"
)

// maxTrace limits the length of a trace in lines.
const maxTrace = 5000

// trace executes a plan for one user of one scenario against an imaginary server that echoes, and writes down each
// step.
type trace struct {
	t     testing.TB
	vars  loadtest.Vars
	lines []string
	err   error
}

// traceOf returns the trace of a user.
func traceOf(t testing.TB, p *loadtest.Plan, scenario, user int) *trace {
	t.Helper()
	tr := &trace{t: t}
	if p.Init != nil {
		if err := p.Init(user, &tr.vars); err != nil {
			t.Fatal(err)
		}
	}
	tr.run(p.Scenarios[scenario].Steps)
	return tr
}

func (tr *trace) String() string {
	s := strings.Join(tr.lines, "\n") + "\n"
	if tr.err != nil {
		s += "failed: " + tr.err.Error() + "\n"
	}
	return s
}

func (tr *trace) line(format string, args ...any) {
	tr.lines = append(tr.lines, fmt.Sprintf(format, args...))
}

// text renders a template. A failure ends the user.
func (tr *trace) text(t loadtest.Template) string {
	b, err := t.Append(nil, &tr.vars)
	if err != nil && tr.err == nil {
		tr.err = err
	}
	return string(b)
}

func (tr *trace) run(steps []loadtest.Step) {
	for _, s := range steps {
		if tr.err != nil || len(tr.lines) > maxTrace {
			return
		}
		switch s := s.(type) {
		case loadtest.Connect:
			tr.connect(s)
		case loadtest.Send:
			tr.send(s)
		case loadtest.Think:
			d := s.For
			if s.Func != nil {
				d, tr.err = s.Func(&tr.vars)
			}
			tr.line("think %s", d)
		case loadtest.Loop:
			tr.loop(s)
		case loadtest.Call:
			s.Func(&tr.vars)
		default:
			tr.t.Fatalf("got a %T", s)
		}
	}
}

func (tr *trace) connect(s loadtest.Connect) {
	tr.line("connect %s", tr.text(s.URL))
	for _, h := range s.Header {
		tr.line("  %s: %s", h.Name, tr.text(h.Value))
	}
	if len(s.Subprotocols) > 0 {
		tr.line("  subprotocols %s", strings.Join(s.Subprotocols, ", "))
	}
}

func (tr *trace) send(s loadtest.Send) {
	message := tr.text(s.Payload)
	if tr.err != nil {
		return
	}
	tr.line("send %s", message)
	if s.Reply == nil {
		return
	}
	tr.line("  reply within %s", s.Reply.Timeout)
	for _, m := range s.Reply.Match {
		want := tr.text(m.Value)
		if got, ok := m.Part.Extract([]byte(message)); !ok || fmt.Sprint(got) != want {
			tr.err = fmt.Errorf("match %s: got %v, want %s", m.Name, got, want)
			return
		}
		tr.line("  match %s = %s", m.Name, want)
	}
	for _, c := range s.Reply.Capture {
		got, ok := c.Part.Extract([]byte(message))
		switch {
		case ok:
			tr.vars.Set(c.As, got)
			tr.line("  capture %s = %v as %s", c.Name, got, c.As)
		case !c.Optional:
			tr.err = fmt.Errorf("capture %s: nothing", c.Name)
			return
		}
	}
}

// loop iterates as loadtest.Loop documents.
func (tr *trace) loop(s loadtest.Loop) {
	turns := make([]any, min(s.Count, maxTrace))
	if s.Over != nil {
		if turns, tr.err = s.Over(&tr.vars); tr.err != nil {
			return
		}
	}
	for i, element := range turns {
		if i > maxTrace {
			return
		}
		if s.Over != nil {
			tr.vars.Set("$loopElement", element)
		}
		tr.run(s.Steps)
		if tr.err != nil || len(tr.lines) > maxTrace {
			return
		}
	}
}

// describe returns a description of a plan with a trace of each scenario.
func describe(t testing.TB, p *loadtest.Plan) string {
	var b strings.Builder
	fmt.Fprintf(&b, "target %s\n", p.Target)
	if p.Insecure {
		b.WriteString("insecure\n")
	}
	if p.Timeout != 0 {
		fmt.Fprintf(&b, "timeout %s\n", p.Timeout)
	}
	for _, f := range p.Phases {
		b.WriteString("phase" + phaseWords(f) + "\n")
	}
	for i, s := range p.Scenarios {
		fmt.Fprintf(&b, "scenario %s, weight %v\n", s.Name, s.Weight)
		tr := traceOf(t, p, i, 0)
		for l := range strings.Lines(tr.String()) {
			b.WriteString("  " + l)
		}
	}
	return b.String()
}

func phaseWords(f loadtest.Phase) string {
	words := []string{""}
	add := func(ok bool, format string, args ...any) {
		if ok {
			words = append(words, fmt.Sprintf(format, args...))
		}
	}
	add(f.Name != "", "%q", f.Name)
	add(f.Duration != 0 || f.Count == 0, "%s", f.Duration.Round(time.Microsecond))
	add(f.Count != 0, "%d users", f.Count)
	add(f.Count == 0 && f.Rate == 0 && f.EndRate == 0, "pause")
	add(f.Rate != 0 || f.EndRate != 0, "%v/s", f.Rate)
	add(f.Rate != f.EndRate, "to %v/s", f.EndRate)
	add(f.MaxUsers != 0, "at most %d", f.MaxUsers)
	return strings.Join(slices.Clip(words), " ")
}
