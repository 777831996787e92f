package view

import (
	"fmt"
	"io"
	"strings"

	"github.com/expedite-go/expedite/internal/control"
	"github.com/expedite-go/expedite/internal/human"
)

// maxOutput is how many lines of a worker's output are shown.
const maxOutput = 20

// Result writes the result of an operation in one line, which begins with done: "reloaded", say. Warnings follow on
// lines of their own.
func Result(w io.Writer, done string, r control.Result) error {
	var b strings.Builder
	if r.InPlace {
		fmt.Fprintf(&b, "applied to %s without a new process", human.Count(max(r.Workers, 0), "worker"))
		return finish(w, &b, r)
	}
	fmt.Fprintf(&b, "%s %s: %s moved in %s, %s drained, %s failed", done, human.Count(max(r.Workers, 0), "worker"),
		human.Count(r.Moved, "connection"), human.Seconds(r.Seconds), human.Number(r.Drained), human.Number(r.Failed))
	if r.PrimaryReplaced {
		b.WriteString("; primary replaced")
	}
	if r.Version != "" {
		b.WriteString("; version " + r.Version)
	}
	if r.Program != "" {
		b.WriteString("; program " + r.Program)
	}
	return finish(w, &b, r)
}

// finish writes b, the changed settings and the warnings.
func finish(w io.Writer, b *strings.Builder, r control.Result) error {
	if len(r.Changed) > 0 {
		b.WriteString("; changed: " + strings.Join(r.Changed, ", "))
	}
	for _, w := range r.Warnings {
		b.WriteString("\nwarning: " + w)
	}
	_, err := fmt.Fprintln(w, b.String())
	return err
}

// Failed returns the error for an operation that did not move all connections, or nil if it did.
func Failed(r control.Result) error {
	if r.Drained == 0 && r.Failed == 0 {
		return nil
	}
	why := ""
	if len(r.DrainedWhy) > 0 {
		why = ": " + control.StayReasons(r.DrainedWhy)
	}
	return fmt.Errorf("not all connections moved: %s drained (closed with 1012%s), %s failed",
		human.Number(r.Drained), why, human.Number(r.Failed))
}

// Output writes the last lines of output, which a worker printed before it failed, without the last one if the error
// ends with it.
func Output(w io.Writer, output, told string) {
	if strings.TrimSpace(output) == "" {
		return
	}
	lines := strings.Split(strings.TrimRight(output, "\r\n\t "), "\n")
	if last := len(lines) - 1; strings.HasSuffix(told, strings.TrimRight(lines[last], "\r")) {
		lines = lines[:last]
	}
	for _, l := range lines[max(0, len(lines)-maxOutput):] {
		fmt.Fprintf(w, "  %s\n", strings.TrimRight(l, "\r"))
	}
}
