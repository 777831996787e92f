package loadtest

import (
	"bufio"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/expedite-go/expedite/internal/human"
)

// WriteText writes the report as text for people.
func (r *Report) WriteText(w io.Writer) error {
	b := bufio.NewWriter(w)
	title := r.Target
	if r.Mode != "" {
		title += ": " + string(r.Mode)
	}
	fmt.Fprintf(b, "\n%s, %s", title, human.Seconds(r.Seconds))
	if r.Interrupted {
		fmt.Fprint(b, ", stopped before its time")
	}
	fmt.Fprint(b, "\n\n")
	t := tabwriter.NewWriter(b, 0, 0, 2, ' ', 0)
	row := func(name string, cells ...string) {
		fmt.Fprintf(t, "%s\t%s\n", name, strings.Join(cells, "\t"))
	}
	r.writeCounts(row)
	_ = t.Flush()
	r.writeTimes(b)
	r.writeErrors(b)
	for _, f := range r.Failures {
		fmt.Fprintf(b, "\nFAILED  %s", f)
	}
	if len(r.Failures) > 0 {
		fmt.Fprintln(b)
	}
	return b.Flush()
}

func (r *Report) writeCounts(row func(name string, cells ...string)) {
	c, m := &r.Connections, &r.Messages
	row("connections", human.Number(c.Opened)+" opened", human.Number(c.Failed)+" failed",
		human.Number(uint64(c.Peak))+" at the peak",
		r.closed())
	if m.Sent+m.Received > 0 {
		row("messages", human.Number(m.Sent)+" sent", human.Number(m.Received)+" received",
			human.Number(m.Unanswered)+" unanswered")
		row("", human.Number(uint64(m.SentPerSecond+0.5))+"/s", human.Number(uint64(m.ReceivedPerSecond+0.5))+"/s")
		row("", human.Bytes(float64(m.BytesSent)), human.Bytes(float64(m.BytesReceived)))
	}
	if b := r.Broadcast; b != nil {
		row("broadcast", human.Number(b.Published)+" published", human.Number(b.Delivered)+" delivered",
			human.Number(b.Missing)+" missing",
			human.Number(b.Duplicates)+" twice")
	}
	if u := r.Users; u != nil {
		row("users", human.Number(u.Arrived)+" arrived", human.Number(u.Completed)+" completed",
			human.Number(u.Failed)+" failed",
			human.Number(u.Skipped)+" skipped")
	}
	for i, s := range r.Storms {
		if i == 10 {
			row("", fmt.Sprintf("and %d more", len(r.Storms)-i))
			break
		}
		row(fmt.Sprintf("storm %d", i+1), human.Number(uint64(s.Open))+" back", human.Number(s.Failed)+" failed",
			"in "+human.Seconds(s.Seconds))
	}
	if s := r.Server; s != nil {
		each := ""
		if s.BytesPerConnection >= 1 {
			each = human.Bytes(s.BytesPerConnection) + " per connection"
		}
		row("server", human.Seconds(s.CPUSeconds)+" CPU", human.Bytes(float64(s.RSSBytes))+" memory", each,
			human.Count(len(s.PIDs), "process"))
	} else {
		row("server", "not found on this machine")
	}
	row("clients", human.Seconds(r.Client.CPUSeconds)+" CPU", human.Bytes(float64(r.Client.RSSBytes))+" memory", "",
		human.Count(r.Client.Processes, "process"))
}

// closed lists the connections that the server has closed, by code.
func (r *Report) closed() string {
	var parts []string
	for _, code := range slices.Sorted(maps.Keys(r.Connections.Closed)) {
		parts = append(parts, fmt.Sprintf("%s: %s", code, human.Number(r.Connections.Closed[code])))
	}
	text := human.Number(sum(r.Connections.Closed)) + " closed by the server"
	if len(parts) > 0 {
		text += " (" + strings.Join(parts, ", ") + ")"
	}
	return text
}

func (r *Report) writeTimes(w io.Writer) {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	begun := false
	row := func(name string, q *Quantiles, note string) {
		if q == nil || q.P50 == nil {
			return
		}
		if !begun {
			begun = true
			fmt.Fprint(t, "\n\tp50\tp90\tp95\tp99\tp99.9\tmax\t\n")
		}
		fmt.Fprint(t, name)
		for _, v := range []*float64{q.P50, q.P90, q.P95, q.P99, q.P999, q.Max} {
			fmt.Fprintf(t, "\t%s", human.Seconds(*v))
		}
		fmt.Fprintf(t, "\t%s\n", note)
	}
	row("connect", &r.ConnectSeconds, "")
	name, note := "rtt", "  from the time of sending: not corrected"
	if r.Broadcast != nil {
		name = "delivery"
	}
	if r.Corrected {
		note = "  from when it was due: corrected for coordinated omission"
	}
	row(name, &r.RTTSeconds, note)
	row("uncorrected", r.SentRTTSeconds, "")
	row("sent late", r.LateSeconds, "")
	if r.Users != nil {
		row("session", &r.Users.SessionSeconds, "")
	}
	_ = t.Flush()
}

func (r *Report) writeErrors(w io.Writer) {
	if len(r.Errors) == 0 {
		return
	}
	fmt.Fprint(w, "\nerrors\n")
	causes := slices.SortedFunc(maps.Keys(r.Errors), func(a, b string) int {
		if d := int64(r.Errors[b]) - int64(r.Errors[a]); d != 0 {
			return int(min(max(d, -1), 1))
		}
		return strings.Compare(a, b)
	})
	for _, c := range causes {
		fmt.Fprintf(w, "  %s  %s\n", human.Number(r.Errors[c]), c)
		if hint := hints[c]; hint != "" {
			fmt.Fprintf(w, "    %s\n", hint)
		}
	}
}

// hints suggests remedies for some causes.
var hints = map[string]string{
	"EADDRNOTAVAIL": "no free ports: connect from more addresses, --local-addrs 127.0.0.0/24",
	"EMFILE":        "too many open files: raise ulimit -n, or use more --processes",
	"ENFILE":        "too many open files on the machine: raise fs.file-max",
	"ECONNREFUSED":  "no process listens there, or its accept queue is full",
	"http 401":      "the server requires a token: --token, --token-file or --token-key",
	"http 404":      "the server has no such path",
	"tls: unknown authority": "this machine does not trust the certificate: --ca FILE names its authority; " +
		"--insecure accepts any, on loopback addresses",
	"tls: the server does not speak TLS": "try ws:// instead of wss://",
	causeTLS:                             "try wss:// instead of ws://",
}
