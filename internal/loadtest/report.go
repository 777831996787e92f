package loadtest

import (
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// Report holds the results of a run.
type Report struct {
	Target string `json:"target"`
	// Started is when the run began. Version is the version of the program and Machine a description of the machine.
	Started time.Time `json:"started"`
	Version string    `json:"version,omitempty"`
	Machine string    `json:"machine,omitempty"`
	// Parameters are the settings of the run, by the name of their flag, without secrets.
	Parameters  map[string]string `json:"parameters,omitempty"`
	Mode        Mode              `json:"mode,omitempty"`
	Seconds     float64           `json:"seconds"`
	Interrupted bool              `json:"interrupted"` // stopped before its time
	// Corrected reports whether round-trip times begin when a message was due, and not when it was sent. Then they
	// include the time that a message waited because the server or this program stalled (coordinated omission).
	Corrected   bool        `json:"corrected"`
	Connections Connections `json:"connections"`
	Messages    Messages    `json:"messages"`
	// ConnectSeconds is the time from the first SYN to the 101.
	ConnectSeconds Quantiles `json:"connect_seconds"`
	// RTTSeconds is the time from a message to its reply; with ModeBroadcast, to its arrival at each receiver.
	RTTSeconds Quantiles `json:"rtt_seconds"`
	// SentRTTSeconds is RTTSeconds without the correction.
	SentRTTSeconds *Quantiles `json:"uncorrected_rtt_seconds,omitempty"`
	// LateSeconds is how much later than due messages were sent. If it is large, this program is the bottleneck, or the
	// server accepts no more.
	LateSeconds *Quantiles        `json:"late_seconds,omitempty"`
	Errors      map[string]uint64 `json:"errors"`
	Broadcast   *Broadcast        `json:"broadcast,omitempty"`
	Storms      []Storm           `json:"storms,omitempty"`
	Users       *Users            `json:"users,omitempty"`
	Server      *Server           `json:"server"`
	Client      Client            `json:"client"`
	// Failures lists the conditions of a script that do not hold, and the client processes that died.
	Failures []string `json:"failures,omitempty"`
	Timeline []Point  `json:"timeline"`

	histogram *hdrhistogram.Histogram // of round trips; of connects if there were none
}

// Connections counts connections.
type Connections struct {
	Wanted int               `json:"wanted,omitempty"`
	Opened uint64            `json:"opened"`
	Failed uint64            `json:"failed"`
	Peak   int               `json:"peak"`
	Closed map[string]uint64 `json:"closed"` // by the server, by close code; 1006 means no close frame
}

// Messages counts messages. Bytes are those of payloads.
type Messages struct {
	Sent          uint64 `json:"sent"`
	Received      uint64 `json:"received"`
	BytesSent     uint64 `json:"bytes_sent"`
	BytesReceived uint64 `json:"bytes_received"`
	// Unanswered counts messages that had no reply when their connection or the run ended.
	Unanswered uint64 `json:"unanswered"`
	// SentPerSecond and ReceivedPerSecond are averages over the time in which messages were sent.
	SentPerSecond     float64 `json:"sent_per_second"`
	ReceivedPerSecond float64 `json:"received_per_second"`
}

// Quantiles are times in seconds. Nil means not measured.
type Quantiles struct {
	P50  *float64 `json:"p50"`
	P90  *float64 `json:"p90"`
	P95  *float64 `json:"p95"`
	P99  *float64 `json:"p99"`
	P999 *float64 `json:"p999"`
	Max  *float64 `json:"max"`
}

// Broadcast counts publications.
type Broadcast struct {
	Published  uint64 `json:"published"`
	Delivered  uint64 `json:"delivered"` // to each client
	Missing    uint64 `json:"missing"`
	Duplicates uint64 `json:"duplicates"`
}

// maxStorms limits the storms of a run.
const maxStorms = 10_000

// Storm is one simultaneous reconnect of all clients.
type Storm struct {
	T       float64 `json:"t"`       // seconds since the start of the run
	Seconds float64 `json:"seconds"` // until all were connected again or had failed
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

// Server is what the server's processes used during the run.
type Server struct {
	PIDs       []int   `json:"pids"`
	CPUSeconds float64 `json:"cpu_seconds"`
	RSSBytes   int64   `json:"rss_bytes"` // of all processes, at the peak of open connections
	// BytesPerConnection is the growth of RSSBytes up to then, divided by the connections; 0 if there was none. It does
	// not include memory of the kernel.
	BytesPerConnection float64 `json:"bytes_per_connection"`
}

// Client is what the load generator itself used.
type Client struct {
	Processes  int     `json:"processes"`
	CPUSeconds float64 `json:"cpu_seconds"`
	RSSBytes   int64   `json:"rss_bytes"`
}

// Point is a moment of the run. Counters count from the start of the run, RTT50 and RTT99 cover the time since the
// previous point.
type Point struct {
	T        float64  `json:"t"` // seconds since the start of the run
	Open     int      `json:"open"`
	Opened   uint64   `json:"opened"`
	Failed   uint64   `json:"failed"`
	Closed   uint64   `json:"closed"`
	Sent     uint64   `json:"sent"`
	Received uint64   `json:"received"`
	RTT50    *float64 `json:"rtt_p50"`
	RTT99    *float64 `json:"rtt_p99"`
}

// maxPoints limits the length of a timeline. When it is reached, every other point is removed, and from then on every
// other new point is skipped.
const maxPoints = 1200

// timeline collects points.
type timeline struct {
	points []Point
	skip   int // points to skip after each one that is kept
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

// report builds the report of the run.
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

// addPlan adds the results that only a plan has.
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
	from := r.runBegan
	if from.IsZero() {
		from = r.began
	}
	if d := r.drainBegan.Sub(from).Seconds(); d > 0 {
		m.SentPerSecond, m.ReceivedPerSecond = float64(t.Sent)/d, float64(t.Received)/d
	}
	return m
}

func (r *run) client() Client {
	c := Client{Processes: r.group.size}
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
