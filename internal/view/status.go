package view

import (
	"cmp"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/expedite-go/expedite/internal/control"
	"github.com/expedite-go/expedite/internal/human"
)

// serving returns where clients connect to. Servers of early releases tell addresses only.
func serving(s control.Status) (list []string) {
	if len(s.Listeners) == 0 {
		return s.Addresses
	}
	for _, l := range s.Listeners {
		text := l.Text()
		switch {
		case l.Proxy && l.TLS:
			text += " (PROXY protocol, TLS)"
		case l.Proxy:
			text += " (PROXY protocol)"
		case l.TLS:
			text += " (TLS)"
		}
		list = append(list, text)
	}
	return list
}

// Status writes a status: one row per worker, then the totals. It writes plain text without colors, in one Write.
func Status(w io.Writer, s control.Status) error {
	var b strings.Builder
	fmt.Fprintf(&b, "Expedite %s, pid %d, up %s", s.Version, s.PID, human.Age(s.UptimeSeconds))
	if s.Generation > 1 {
		fmt.Fprintf(&b, ", generation %d", s.Generation)
	}
	b.WriteByte('\n')
	if list := serving(s); len(list) > 0 {
		fmt.Fprintf(&b, "serving on %s", strings.Join(list, ", "))
		if s.Scheduling != "" {
			fmt.Fprintf(&b, ", %s", s.Scheduling)
		}
		b.WriteByte('\n')
	}
	if s.Rolling != nil {
		b.WriteString(operation(*s.Rolling) + "\n")
	}
	if d := s.Draining; d != nil {
		b.WriteString(Drain(*d) + "\n")
	}
	if s.Auth != "" {
		fmt.Fprintf(&b, "tokens %s\n", s.Auth)
	}
	if s.TLS != nil {
		b.WriteString(secured(*s.TLS) + "\n")
		for _, c := range s.TLS.Automatic {
			b.WriteString(automatic(c))
		}
	}
	if s.Sessions != nil {
		b.WriteString(sessions(*s.Sessions) + "\n")
	}
	if r := s.Revocations; r != nil && *r != (control.RevocationStatus{Current: true}) {
		b.WriteString(revocations(*r) + "\n")
	}
	if s.Backplane != nil {
		b.WriteString(backplane(*s.Backplane) + "\n")
	}
	if p := s.Presence; p != nil {
		b.WriteString(presence(*p) + "\n")
	}
	if s.History != nil {
		b.WriteString(history(*s.History) + "\n")
	}
	if s.Totals.HTTPConnections > 0 {
		fmt.Fprintf(&b, "HTTP connections: %d\n", s.Totals.HTTPConnections)
	}
	for _, what := range s.Degraded {
		fmt.Fprintf(&b, "degraded: %s\n", what)
	}
	b.WriteByte('\n')
	table(&b, workers(s), "ll")
	if s.Totals.Restarts > 0 {
		fmt.Fprintf(&b, "\nworkers that ended unexpectedly: %d\n", s.Totals.Restarts)
	}
	if h := s.Handoff; h != (control.Handoff{}) {
		fmt.Fprintf(&b, "\nhandoff: %s moved, %d drained, %d failed, the last took %s\n",
			human.Count(h.Moved, "connection"), h.Drained, h.Failed, human.Seconds(h.LastSeconds))
	}
	if len(s.Totals.Limits) > 0 {
		var hits []string
		for _, name := range slices.Sorted(maps.Keys(s.Totals.Limits)) {
			hits = append(hits, fmt.Sprintf("%s %d", name, s.Totals.Limits[name]))
		}
		fmt.Fprintf(&b, "\nlimits hit: %s\n", strings.Join(hits, ", "))
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// expiresSoon is how many seconds before its end a certificate should have been renewed.
const expiresSoon = 14 * 24 * 3600

// secured returns how clients use TLS as one line: "TLS handshakes: 1.2 3, 1.3 1204; failed 2; certificate until …".
func secured(t control.TLSStatus) string {
	list := func(counts map[string]uint64) string {
		var texts []string
		for _, name := range slices.Sorted(maps.Keys(counts)) {
			texts = append(texts, fmt.Sprintf("%s %d", name, counts[name]))
		}
		return strings.Join(texts, ", ")
	}
	text := "TLS handshakes: " + cmp.Or(list(t.Versions), "none")
	if len(t.Failures) > 0 {
		text += "; " + list(t.Failures)
	}
	switch left := t.CertificateSeconds; {
	case t.CertificateExpires == "":
	case left < 0:
		text += "; the certificate has expired on " + t.CertificateExpires
	default:
		text += "; certificate until " + t.CertificateExpires
		if left > 0 && left < expiresSoon { // 0: a server of an early release
			text += ", which is in " + human.Age(left)
		}
	}
	if t.RereadFailing {
		text += "; files of certificates cannot be used: see the log"
	}
	return text
}

// automatic returns what is wrong with an automatic certificate, as a line; empty: nothing is.
func automatic(c control.CertificateStatus) string {
	if c.Failures == 0 {
		return ""
	}
	has := "there is none"
	if c.Expires != "" {
		has = "the last one is good until " + c.Expires
	}
	// The cause is the text of another server.
	return fmt.Sprintf("certificate of %s not obtained: %s; failures %d, next attempt %s; %q\n",
		c.Domain, has, c.Failures, c.Next, c.Cause)
}

// Drain returns the state of a drain as one line: "draining: closing, 812 connections left, 43s to go".
func Drain(d control.DrainStatus) string {
	text := "draining: " + d.Phase
	if d.Phase != control.DrainDone {
		text += fmt.Sprintf(", %s left, %s to go", human.Count(uint64(d.Connections), "connection"), human.Age(d.LeftSeconds))
	}
	return text
}

// operation returns an operation under way as one line: "reload: slot 2 of 4, moving, 812 moved, 120 left".
func operation(p control.Progress) string {
	kind := p.Kind
	if kind == "" {
		kind = "reload"
	}
	if p.Step == control.StepReplacing {
		return kind + ": replacing the primary"
	}
	where := ""
	if p.Slot > 0 {
		where = fmt.Sprintf("slot %d of %d, ", p.Slot, p.Slots)
	}
	return fmt.Sprintf("%s: %s%s, %d moved, %d left", kind, where, p.Step, p.Moved, p.Left)
}

func sessions(s control.SessionStatus) string {
	text := fmt.Sprintf("sessions in %s: %s, %s connected", s.Store, known(s.Sessions), known(s.Connected))
	if s.Sessions == nil {
		text = fmt.Sprintf("sessions in %s: number unknown, %s connected to this machine", s.Store, known(s.Connected))
	}
	return text + trouble(s.Degraded, s.Store+" is unavailable", s.Since, s.Cause)
}

func revocations(s control.RevocationStatus) string {
	text := fmt.Sprintf("revocations: %d in force", s.Revocations)
	if !s.Current {
		text += ", those of other machines are unknown"
	}
	return text + trouble(s.Degraded, "sharing with other machines does not work", s.Since, s.Cause)
}

func backplane(s control.BackplaneStatus) string {
	text := fmt.Sprintf("other machines, over %s: %s", s.Kind, human.Count(uint64(max(s.Topics, 0)), "topic"))
	if s.Machines > 0 {
		text += fmt.Sprintf(", %s known", human.Count(uint64(s.Machines), "machine"))
	}
	if gaps := s.Events["gaps"]; gaps > 0 {
		text += fmt.Sprintf(", %s, %s known to be missed",
			human.Count(gaps, "gap"), human.Count(s.Events["missed"], "message"))
	}
	if s.Up && s.Degraded {
		return text + "; " + oneLine(s.Cause)
	}
	return text + trouble(!s.Up, "not everything passes", "", s.Cause)
}

func presence(s control.PresenceStatus) string {
	text := fmt.Sprintf("presence: %s in %s", human.Count(uint64(max(s.Members, 0)), "member"),
		human.Count(uint64(max(s.Topics, 0)), "topic"))
	return text + trouble(s.Degraded, "other machines are not told", "", s.Cause)
}

func history(s control.HistoryStatus) string {
	text := fmt.Sprintf("history: %s in %s, %s of %s", human.Count(uint64(max(s.Messages, 0)), "message"),
		human.Count(uint64(max(s.Topics, 0)), "topic"), human.Bytes(s.Bytes), human.Bytes(s.LimitBytes))
	if n := s.Events["evicted"]; n > 0 {
		text += fmt.Sprintf("; %s removed early, the memory is too small", human.Count(n, "message"))
	}
	return text
}

func known(n *int64) string {
	if n == nil {
		return "unknown"
	}
	return strconv.FormatInt(*n, 10)
}

// trouble returns what does not work as the end of a line, or "" if everything works.
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

// workers returns the table of the workers: a header, a row for each, and the totals unless there is one worker.
func workers(s control.Status) [][]string {
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
			strconv.FormatUint(w.MessagesIn, 10), strconv.FormatUint(w.MessagesOut, 10), human.Bytes(w.BytesIn),
			human.Bytes(w.BytesOut), human.Bytes(w.RSSBytes), human.Bytes(w.HeapBytes), human.Seconds(w.LoopLagSeconds),
		})
	}
	if len(s.Workers) == 1 {
		return rows
	}
	t := s.Totals
	return append(rows, []string{
		"total", "", "", "", strconv.FormatInt(t.Connections, 10),
		strconv.FormatUint(t.MessagesIn, 10), strconv.FormatUint(t.MessagesOut, 10),
		human.Bytes(t.BytesIn), human.Bytes(t.BytesOut), human.Bytes(t.RSSBytes), human.Bytes(t.HeapBytes), "",
	})
}
