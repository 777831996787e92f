package control

import (
	"fmt"
	"io"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/dustin/go-humanize/english"
)

// WriteText writes the status as people read it: one row per worker, then the sums. It is plain text without colors,
// made in one Write; the error is that of w.
func (s Status) WriteText(w io.Writer) error {
	var b strings.Builder
	fmt.Fprintf(&b, "Expedite %s, pid %d, up %s", s.Version, s.PID, duration(s.UptimeSeconds))
	if s.Generation > 1 {
		fmt.Fprintf(&b, ", generation %d", s.Generation)
	}
	b.WriteByte('\n')
	if len(s.Addresses) > 0 {
		fmt.Fprintf(&b, "serving on %s", strings.Join(s.Addresses, ", "))
		if s.Scheduling != "" {
			fmt.Fprintf(&b, ", %s", s.Scheduling)
		}
		b.WriteByte('\n')
	}
	if s.Rolling != nil {
		fmt.Fprintln(&b, s.Rolling)
	}
	if s.Auth != "" {
		fmt.Fprintf(&b, "tokens %s\n", s.Auth)
	}
	if s.Sessions != nil {
		fmt.Fprintln(&b, s.Sessions)
	}
	if r := s.Revocations; r != nil && *r != (RevocationStatus{Current: true}) {
		fmt.Fprintln(&b, r)
	}
	if s.Totals.HTTPConnections > 0 {
		fmt.Fprintf(&b, "HTTP connections: %d\n", s.Totals.HTTPConnections)
	}
	for _, what := range s.Degraded {
		fmt.Fprintf(&b, "degraded: %s\n", what)
	}
	b.WriteByte('\n')
	table(&b, s.rows())
	if s.Totals.Restarts > 0 {
		fmt.Fprintf(&b, "\nworkers that ended unasked: %d\n", s.Totals.Restarts)
	}
	if s.Handoff != (Handoff{}) {
		fmt.Fprintf(&b, "\nhandoff: %s moved, %d failed, the last took %s\n",
			english.Plural(int(min(s.Handoff.Moved, math.MaxInt)), "connection", ""),
			s.Handoff.Failed, brief(s.Handoff.LastSeconds))
	}
	if len(s.Totals.Limits) > 0 {
		b.WriteString("\nlimits hit:")
		for i, name := range slices.Sorted(maps.Keys(s.Totals.Limits)) {
			if i > 0 {
				b.WriteByte(',')
			}
			fmt.Fprintf(&b, " %s %d", name, s.Totals.Limits[name])
		}
		b.WriteByte('\n')
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// String is one line for people.
func (s *SessionStatus) String() string {
	text := fmt.Sprintf("sessions in %s: %s, %s connected", s.Store, number(s.Sessions), number(s.Connected))
	if s.Sessions == nil {
		text = fmt.Sprintf("sessions in %s: number unknown, %s connected to this machine", s.Store, number(s.Connected))
	}
	return text + trouble(s.Degraded, s.Store+" cannot be used", s.Since, s.Cause)
}

// String is one line for people.
func (s *RevocationStatus) String() string {
	text := fmt.Sprintf("revocations: %d in force", s.Revocations)
	if !s.Current {
		text += ", those of other machines are not known"
	}
	return text + trouble(s.Degraded, "not shared with other machines as they should be", s.Since, s.Cause)
}

// number is a number that may be unknown.
func number(n *int64) string {
	if n == nil {
		return "unknown"
	}
	return strconv.FormatInt(*n, 10)
}

// trouble is what does not work, as the end of a line; empty if all does.
func trouble(degraded bool, what, since, cause string) string {
	if !degraded {
		return ""
	}
	text := "; " + what
	if since != "" {
		text += " since " + since
	}
	if cause != "" {
		text += " (" + strings.Join(strings.Fields(cause), " ") + ")"
	}
	return text
}

// rows is the table of the workers: a head, a row for each, and the sums when there is more than one.
func (s Status) rows() [][]string {
	rows := [][]string{{
		"WORKER", "STATE", "PID", "GENERATION", "CONNECTIONS",
		"MESSAGES IN", "OUT", "BYTES IN", "OUT", "RSS", "HEAP", "LAG",
	}}
	for _, w := range s.Workers {
		pid, state := "-", "-"
		if w.PID != 0 {
			pid = strconv.Itoa(w.PID)
		}
		if w.State != "" {
			state = string(w.State)
		}
		if w.Stale {
			state += " (stale)"
		}
		rows = append(rows, []string{
			strconv.Itoa(w.Slot), state, pid, strconv.Itoa(w.Generation), strconv.FormatInt(w.Connections, 10),
			strconv.FormatUint(w.MessagesIn, 10), strconv.FormatUint(w.MessagesOut, 10),
			size(w.BytesIn), size(w.BytesOut), size(w.RSSBytes), size(w.HeapBytes), brief(w.LoopLagSeconds),
		})
	}
	if len(s.Workers) == 1 {
		return rows
	}
	t := s.Totals
	return append(rows, []string{
		"total", "", "", "", strconv.FormatInt(t.Connections, 10),
		strconv.FormatUint(t.MessagesIn, 10), strconv.FormatUint(t.MessagesOut, 10),
		size(t.BytesIn), size(t.BytesOut), size(t.RSSBytes), size(t.HeapBytes), "",
	})
}

// WriteText writes the sessions as people read them: one row each. It is plain text, made in one Write; the error is
// that of w. Ages are those at the given time.
func (l SessionList) WriteText(w io.Writer, now time.Time) error {
	rows := [][]string{{"USER", "SESSION", "CONNECTION", "NODE", "AGE", "SEEN", "PARAMETERS"}}
	for _, s := range l.Sessions {
		conn := "-"
		if s.Connected {
			conn = s.Conn
		}
		rows = append(rows, []string{
			cell(s.User), cellOf(s.ID, idCell), cell(conn), cell(s.Node),
			age(now, s.Created), age(now, s.Seen), parameters(s.Params),
		})
	}
	var b strings.Builder
	if len(l.Sessions) == 0 {
		b.WriteString("no sessions\n")
	} else {
		columns(&b, rows, "llllrrl")
	}
	if l.More {
		fmt.Fprintf(&b, "\nthese are the first %d: there are more\n", len(l.Sessions))
	}
	if l.Degraded {
		fmt.Fprintf(&b, "\n%s does not answer: these are the sessions that this machine knows\n", l.Store)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// age is how long ago something was.
func age(now, at time.Time) string {
	if at.IsZero() {
		return "-"
	}
	return duration(now.Sub(at).Seconds())
}

// maxCell is how many characters of what a client chose stand in a cell.
const maxCell = 40

// cell is text that a client chose: what could do something to a terminal is shown and not done.
func cell(s string) string { return cellOf(s, maxCell) }

// idCell is how many characters the id of a session has: it is there to be copied.
const idCell = 48

func cellOf(s string, most int) string {
	if s == "" {
		return "-"
	}
	if q := strconv.Quote(s); q != `"`+s+`"` {
		s = q
	}
	if utf8.RuneCountInString(s) > most {
		s = string([]rune(s)[:most-1]) + "…"
	}
	return s
}

// parameters are those of a client: name=value each.
func parameters(params map[string]string) string {
	var list []string
	for _, name := range slices.Sorted(maps.Keys(params)) {
		list = append(list, cell(name)+"="+cell(params[name]))
	}
	return strings.Join(list, " ")
}

// table writes the rows of the workers: the first two columns hold words.
func table(b *strings.Builder, rows [][]string) { columns(b, rows, "ll") }

// columns writes rows in columns, two blanks apart, no blank at a line's end. Where sides has an l, as words want it,
// they stand left, else right, as numbers do.
func columns(b *strings.Builder, rows [][]string, sides string) {
	var widths []int
	for _, row := range rows {
		for i, cell := range row {
			if i == len(widths) {
				widths = append(widths, 0)
			}
			widths[i] = max(widths[i], utf8.RuneCountInString(cell))
		}
	}
	for _, row := range rows {
		var line strings.Builder
		for i, cell := range row {
			if i > 0 {
				line.WriteString("  ")
			}
			pad := strings.Repeat(" ", widths[i]-utf8.RuneCountInString(cell))
			if i < len(sides) && sides[i] == 'l' {
				line.WriteString(cell + pad)
			} else {
				line.WriteString(pad + cell)
			}
		}
		b.WriteString(strings.TrimRight(line.String(), " "))
		b.WriteByte('\n')
	}
}

// size is a number of bytes in three digits or so: 812 B, 4.1 KiB, 37 MiB.
func size(n uint64) string {
	if n < 1024 {
		return strconv.FormatUint(n, 10) + " B"
	}
	v, unit := float64(n)/1024, 0
	// 999.5 and not 1024: no cell shows more than three digits.
	for v >= 999.5 && unit < len("KMGTPE")-1 {
		v, unit = v/1024, unit+1
	}
	digits := 0
	if v < 9.95 {
		digits = 1
	}
	return strconv.FormatFloat(v, 'f', digits, 64) + " " + "KMGTPE"[unit:unit+1] + "iB"
}

// duration is an uptime in its two largest units: 3d 4h, 12m 5s.
func duration(seconds float64) string {
	s := whole(seconds)
	switch {
	case s < 60:
		return fmt.Sprintf("%ds", s)
	case s < 3600:
		return fmt.Sprintf("%dm %ds", s/60, s%60)
	case s < 24*3600:
		return fmt.Sprintf("%dh %dm", s/3600, s/60%60)
	default:
		return fmt.Sprintf("%dd %dh", s/(24*3600), s/3600%24)
	}
}

// whole drops the fraction, and what is no time at all.
func whole(seconds float64) int64 {
	if !(seconds > 0) || seconds > math.MaxInt32*float64(24*3600) {
		return 0
	}
	return int64(seconds)
}

// brief is a short time in a unit that fits: 340µs, 1.2ms, 4.08s.
func brief(seconds float64) string {
	if !(seconds > 0) || seconds > math.MaxInt32 {
		return "0s"
	}
	d := time.Duration(seconds * float64(time.Second))
	switch {
	case d >= time.Second:
		return d.Round(10 * time.Millisecond).String()
	case d >= time.Millisecond:
		return d.Round(100 * time.Microsecond).String()
	default:
		return d.Round(time.Microsecond).String()
	}
}
