package loadtest

import (
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// Report is what a run has measured.
type Report struct {
	Target string `json:"target"`
	// Started is when the run began, Version the program that ran it, and Machine what it ran on, for people.
	Started time.Time `json:"started"`
	Version string    `json:"version,omitempty"`
	Machine string    `json:"machine,omitempty"`
	// Parameters are the settings of the run, by the name of their flag. No secret is among them.
	Parameters  map[string]string `json:"parameters,omitempty"`
	Mode        Mode              `json:"mode,omitempty"`
	Seconds     float64           `json:"seconds"`
	Interrupted bool              `json:"interrupted"` // it was stopped before its time
	// Corrected says that the times of round trips begin when a message was due, and not when it was sent: what waits
	// because the server or this program stood still is not left out (coordinated omission).
	Corrected   bool        `json:"corrected"`
	Connections Connections `json:"connections"`
	Messages    Messages    `json:"messages"`
	// ConnectSeconds is from the first SYN to the 101.
	ConnectSeconds Quantiles `json:"connect_seconds"`
	// RTTSeconds is from a message to its reply; of a broadcast, to its arrival at each receiver.
	RTTSeconds Quantiles `json:"rtt_seconds"`
	// SentRTTSeconds is the same, not corrected.
	SentRTTSeconds *Quantiles `json:"uncorrected_rtt_seconds,omitempty"`
	// LateSeconds is how much later than due messages were sent: if it is not small, this program is the bottleneck, or
	// the server takes no more.
	LateSeconds *Quantiles        `json:"late_seconds,omitempty"`
	Errors      map[string]uint64 `json:"errors"`
	Broadcast   *Broadcast        `json:"broadcast,omitempty"`
	Storms      []Storm           `json:"storms,omitempty"`
	Users       *Users            `json:"users,omitempty"`
	Server      *Server           `json:"server"`
	Client      Client            `json:"client"`
	// Failures are conditions of a script that do not hold, and client processes that died.
	Failures []string `json:"failures,omitempty"`
	Timeline []Point  `json:"timeline"`

	histogram *hdrhistogram.Histogram // of round trips, or else of connects
}

// Connections counts them.
type Connections struct {
	Wanted int               `json:"wanted,omitempty"`
	Opened uint64            `json:"opened"`
	Failed uint64            `json:"failed"`
	Peak   int               `json:"peak"`
	Closed map[string]uint64 `json:"closed"` // by the server, by close code; 1006 is without one
}

// Messages counts them. Bytes are those of payloads.
type Messages struct {
	Sent          uint64 `json:"sent"`
	Received      uint64 `json:"received"`
	BytesSent     uint64 `json:"bytes_sent"`
	BytesReceived uint64 `json:"bytes_received"`
	// Unanswered is the number of those that had no reply until the end of their connection, or of the run.
	Unanswered uint64 `json:"unanswered"`
	// SentPerSecond and ReceivedPerSecond are over the time in which messages were sent.
	SentPerSecond     float64 `json:"sent_per_second"`
	ReceivedPerSecond float64 `json:"received_per_second"`
}

// Quantiles are of times in seconds. Nil is not measured.
type Quantiles struct {
	P50  *float64 `json:"p50"`
	P90  *float64 `json:"p90"`
	P95  *float64 `json:"p95"`
	P99  *float64 `json:"p99"`
	P999 *float64 `json:"p999"`
	Max  *float64 `json:"max"`
}

// Broadcast counts messages for everyone.
type Broadcast struct {
	Published  uint64 `json:"published"`
	Delivered  uint64 `json:"delivered"` // to each client
	Missing    uint64 `json:"missing"`
	Duplicates uint64 `json:"duplicates"`
}

// maxStorms bounds the number of storms of a run.
const maxStorms = 10_000

// Storm is one time that everybody left and came back.
type Storm struct {
	T       float64 `json:"t"`       // seconds since the beginning
	Seconds float64 `json:"seconds"` // until all were back, or had failed
	Open    int     `json:"open"`
	Failed  uint64  `json:"failed"`
}

// Users counts virtual users.
type Users struct {
	Arrived        uint64    `json:"arrived"`
	Completed      uint64    `json:"completed"`
	Failed         uint64    `json:"failed"`
	Skipped        uint64    `json:"skipped"`
	SessionSeconds Quantiles `json:"session_seconds"`
}

// Server is what the server's processes have used during the run.
type Server struct {
	PIDs       []int   `json:"pids"`
	CPUSeconds float64 `json:"cpu_seconds"`
	RSSBytes   int64   `json:"rss_bytes"` // of all, when most connections were open
	// BytesPerConnection is by how much RSSBytes had grown until then, per connection; 0 if it had not grown. Memory of
	// the kernel is not in it.
	BytesPerConnection float64 `json:"bytes_per_connection"`
}

// Client is what the run itself has used.
type Client struct {
	Processes  int     `json:"processes"`
	CPUSeconds float64 `json:"cpu_seconds"`
	RSSBytes   int64   `json:"rss_bytes"`
}

// Point is a moment of the run. Counters are since the beginning, RTT50 and RTT99 since the point before.
type Point struct {
	T        float64  `json:"t"` // seconds since the beginning
	Open     int      `json:"open"`
	Opened   uint64   `json:"opened"`
	Failed   uint64   `json:"failed"`
	Closed   uint64   `json:"closed"`
	Sent     uint64   `json:"sent"`
	Received uint64   `json:"received"`
	RTT50    *float64 `json:"rtt_p50"`
	RTT99    *float64 `json:"rtt_p99"`
}

// maxPoints bounds a timeline: beyond it, every second point is left out, and so on.
const maxPoints = 1200

// timeline collects points.
type timeline struct {
	points []Point
	skip   int // points that are left out between two
	left   int
}

func (t *timeline) add(p Point) {
	if t.left > 0 && t.skip > 0 {
		t.left--
		return
	}
	t.left = t.skip
	t.points = append(t.points, p)
	if len(t.points) < maxPoints {
		return
	}
	kept := t.points[:0]
	for i := 0; i < len(t.points); i += 2 {
		kept = append(kept, t.points[i])
	}
	t.points = kept
	t.skip = 2*t.skip + 1
}

func quantile(h *hdrhistogram.Histogram, q float64) float64 {
	return float64(h.ValueAtPercentile(q)) / float64(time.Second)
}

func quantiles(h *hdrhistogram.Histogram) (q Quantiles) {
	if h.TotalCount() == 0 {
		return q
	}
	for _, x := range []struct {
		to *(*float64)
		at float64
	}{{&q.P50, 50}, {&q.P90, 90}, {&q.P95, 95}, {&q.P99, 99}, {&q.P999, 99.9}} {
		v := quantile(h, x.at)
		*x.to = &v
	}
	top := float64(h.Max()) / float64(time.Second)
	q.Max = &top
	return q
}

// report sums the run up.
func (r *run) report() *Report {
	t, m := r.totals(), r.whole
	p := &Report{
		Started: r.began, Version: r.cfg.Version, Machine: r.cfg.Machine, Parameters: r.cfg.parameters(),
		Mode: r.cfg.Mode, Seconds: time.Since(r.began).Seconds(), Interrupted: r.stopped,
		Connections:    Connections{Opened: t.Opened, Failed: t.Failed, Peak: r.peak, Closed: orEmpty(t.Closed)},
		Messages:       r.messages(&t),
		ConnectSeconds: quantiles(m.connect), RTTSeconds: quantiles(m.rtt),
		Errors: orEmpty(t.Errors), Server: r.server.report(), Client: r.client(),
		Storms: r.storms, Timeline: r.timeline.points, Failures: r.failures(), histogram: m.rtt,
	}
	if m.rtt.TotalCount() == 0 {
		p.histogram = m.connect
	}
	if m.late.TotalCount() > 0 {
		late := quantiles(m.late)
		p.LateSeconds, p.Corrected = &late, true
	}
	if m.sent.TotalCount() > 0 {
		sent := quantiles(m.sent)
		p.SentRTTSeconds = &sent
	}
	if r.cfg.Plan != nil {
		r.addPlan(p, &t)
		return p
	}
	p.Target, p.Connections.Wanted = redacted(r.target.url), r.cfg.Connections
	if r.cfg.Mode == ModeBroadcast {
		p.Broadcast = &Broadcast{
			Published: t.Published, Delivered: t.Delivered, Missing: t.Missing, Duplicates: t.Duplicates,
		}
	}
	return p
}

// addPlan adds what only a script has.
func (r *run) addPlan(p *Report, t *totals) {
	p.Mode, p.Target = "", redacted(r.cfg.Plan.Target)
	p.Users = &Users{
		Arrived: t.Arrived, Completed: t.Completed, Failed: t.UsersFailed, Skipped: t.Skipped,
		SessionSeconds: quantiles(r.whole.session),
	}
	if r.cfg.Plan.Judge != nil {
		p.Failures = append(p.Failures, r.cfg.Plan.Judge(p)...)
	}
}

func (r *run) messages(t *totals) Messages {
	m := Messages{
		Sent: t.Sent, Received: t.Received, BytesSent: t.BytesSent, BytesReceived: t.BytesIn, Unanswered: t.Unanswered,
	}
	from := r.talked
	if from.IsZero() {
		from = r.began
	}
	if d := r.hushed.Sub(from).Seconds(); d > 0 {
		m.SentPerSecond, m.ReceivedPerSecond = float64(t.Sent)/d, float64(t.Received)/d
	}
	return m
}

func (r *run) client() Client {
	c := Client{Processes: r.crew.size}
	for i := range r.members {
		c.CPUSeconds += r.members[i].last.CPU.Seconds()
		c.RSSBytes += r.members[i].last.RSS
	}
	return c
}

func orEmpty(m map[string]uint64) map[string]uint64 {
	if m == nil {
		return map[string]uint64{}
	}
	return m
}
