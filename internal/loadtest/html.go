package loadtest

import (
	_ "embed"
	"fmt"
	"html/template"
	"io"
	"maps"
	"math"
	"slices"

	"github.com/expedite-go/expedite/internal/human"
)

//go:embed report.html
var reportPage string

// page is the data of the template.
type page struct {
	Title, Subtitle string
	Failures        []string
	Tiles           []tile
	Charts          []chart
	Tables          []grid
}

type tile struct {
	Name, Value string
	Bad         bool
}

type grid struct {
	Title string
	Head  []string
	Rows  [][]string
	Note  string
}

// WriteHTML writes the report as a single page without external resources.
func (r *Report) WriteHTML(w io.Writer) error {
	t, err := template.New("report").Parse(reportPage)
	if err != nil {
		return fmt.Errorf("loadtest: %w", err)
	}
	p := page{Title: r.Target, Subtitle: r.subtitle(), Failures: r.Failures, Tiles: r.tiles(), Charts: r.charts()}
	p.Tables = r.tables()
	if err := t.Execute(w, p); err != nil {
		return fmt.Errorf("loadtest: %w", err)
	}
	return nil
}

func (r *Report) subtitle() string {
	s := "expedite bench, " + human.Seconds(r.Seconds) + ", " + human.Count(r.Client.Processes, "client process")
	if r.Mode != "" {
		s = string(r.Mode) + ", " + s
	}
	if r.Interrupted {
		s += ", stopped before its time"
	}
	return s
}

func (r *Report) tiles() []tile {
	c, m := &r.Connections, &r.Messages
	list := []tile{
		{"opened", human.Number(c.Opened), c.Opened == 0},
		{"failed", human.Number(c.Failed), c.Failed > 0},
		{"open at the peak", human.Number(uint64(c.Peak)), false},
		{"closed by the server", human.Number(sum(c.Closed)), sum(c.Closed) > 0},
	}
	time := func(name string, v *float64) {
		if v != nil {
			list = append(list, tile{name, human.Seconds(*v), false})
		}
	}
	time("connect p99", r.ConnectSeconds.P99)
	if m.Sent > 0 {
		list = append(list, tile{"messages sent per second", human.Number(uint64(m.SentPerSecond + 0.5)), false},
			tile{"messages received per second", human.Number(uint64(m.ReceivedPerSecond + 0.5)), false},
			tile{"unanswered", human.Number(m.Unanswered), m.Unanswered > 0})
	}
	time("round trip p50", r.RTTSeconds.P50)
	time("round trip p99", r.RTTSeconds.P99)
	if b := r.Broadcast; b != nil {
		list = append(list, tile{"missing", human.Number(b.Missing), b.Missing > 0})
	}
	if u := r.Users; u != nil {
		list = append(list, tile{"users completed", human.Number(u.Completed), false},
			tile{"users failed", human.Number(u.Failed), u.Failed > 0})
	}
	if s := r.Server; s != nil {
		list = append(list, tile{"CPU of the server", human.Seconds(s.CPUSeconds), false},
			tile{"memory of the server", human.Bytes(float64(s.RSSBytes)), false})
		if s.BytesPerConnection >= 1 {
			list = append(list, tile{"per connection", human.Bytes(s.BytesPerConnection), false})
		}
	}
	return list
}

func (r *Report) charts() (list []chart) {
	n := len(r.Timeline)
	times := make([]float64, n)
	column := func(f func(i int) float64) []float64 {
		v := make([]float64, n)
		for i := range v {
			v[i] = f(i)
		}
		return v
	}
	for i := range times {
		times[i] = r.Timeline[i].T
	}
	at := r.Timeline
	list = append(list, lineChart("Connections", times, amount,
		series{"open", "a", column(func(i int) float64 { return float64(at[i].Open) })},
		series{"failed", "c", column(func(i int) float64 { return float64(at[i].Failed) })},
		series{"closed by the server", "e", column(func(i int) float64 { return float64(at[i].Closed) })}))
	if r.Messages.Sent+r.Messages.Received > 0 {
		rate := func(f func(p *Point) uint64) []float64 {
			return column(func(i int) float64 {
				if i == 0 || at[i].T-at[i-1].T < sampleTime.Seconds()/2 {
					return math.NaN() // the interval is too short for a rate
				}
				return float64(f(&at[i])-f(&at[i-1])) / (at[i].T - at[i-1].T)
			})
		}
		list = append(list, lineChart("Messages per second", times, amount,
			series{"received", "b", rate(func(p *Point) uint64 { return p.Received })},
			series{"sent", "a", rate(func(p *Point) uint64 { return p.Sent })}))
	}
	if r.RTTSeconds.P50 != nil {
		value := func(f func(p *Point) *float64) []float64 {
			return column(func(i int) float64 {
				if v := f(&at[i]); v != nil {
					return *v
				}
				return math.NaN()
			})
		}
		list = append(list, lineChart("Round trip over time", times, human.Seconds,
			series{"p99", "d", value(func(p *Point) *float64 { return p.RTT99 })},
			series{"p50", "a", value(func(p *Point) *float64 { return p.RTT50 })}))
	}
	if h := r.histogram; h != nil && h.TotalCount() > 0 {
		title := "Round trips by their time"
		if r.RTTSeconds.P50 == nil {
			title = "Connects by their time"
		}
		list = append(list, histogramChart(title, h))
	}
	return list
}

// origin returns when, where and with which settings the figures were measured.
func (r *Report) origin() grid {
	g := grid{Title: "This run"}
	for _, row := range [][]string{
		{"started", r.Started.Format("2006-01-02 15:04:05 MST")}, {"version", r.Version}, {"machine", r.Machine},
	} {
		if row[1] != "" {
			g.Rows = append(g.Rows, row)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(r.Parameters)) {
		g.Rows = append(g.Rows, []string{name, r.Parameters[name]})
	}
	return g
}

func (r *Report) tables() (list []grid) {
	times := grid{Title: "Times", Head: []string{"", "p50", "p90", "p95", "p99", "p99.9", "max"}}
	row := func(name string, q *Quantiles) {
		if q == nil || q.P50 == nil {
			return
		}
		cells := []string{name}
		for _, v := range []*float64{q.P50, q.P90, q.P95, q.P99, q.P999, q.Max} {
			cells = append(cells, human.Seconds(*v))
		}
		times.Rows = append(times.Rows, cells)
	}
	row("connect", &r.ConnectSeconds)
	row("round trip", &r.RTTSeconds)
	row("uncorrected", r.SentRTTSeconds)
	row("sent late", r.LateSeconds)
	if r.Users != nil {
		row("session", &r.Users.SessionSeconds)
	}
	switch {
	case r.Corrected:
		times.Note = "Round trips are timed from when a message was due: corrected for coordinated omission."
	case r.RTTSeconds.P50 != nil:
		times.Note = "Round trips are timed from when a message was sent: not corrected for coordinated omission."
	}
	if len(times.Rows) > 0 {
		list = append(list, times)
	}
	list = append(list, r.origin())
	counts := func(title, head string, m map[string]uint64) {
		g := grid{Title: title, Head: []string{head, "number"}}
		for _, name := range slices.Sorted(maps.Keys(m)) {
			g.Rows = append(g.Rows, []string{name, human.Number(m[name])})
		}
		if len(g.Rows) > 0 {
			list = append(list, g)
		}
	}
	counts("Errors", "cause", r.Errors)
	counts("Closed by the server", "code", r.Connections.Closed)
	if len(r.Storms) > 0 {
		g := grid{Title: "Storms", Head: []string{"at", "all back in", "open", "failed"}}
		for _, s := range r.Storms[:min(len(r.Storms), 100)] {
			g.Rows = append(g.Rows, []string{
				human.Seconds(s.T), human.Seconds(s.Seconds),
				human.Number(uint64(s.Open)), human.Number(s.Failed),
			})
		}
		list = append(list, g)
	}
	return list
}
