package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/expedite-go/expedite"
	"github.com/expedite-go/expedite/internal/settings"
)

// fleetVariable holds the configuration of a machine of a fleet. If it is set, this program is that machine.
const fleetVariable = "EXPEDITE_TEST_FLEET"

// keptPrefix is the beginning of the topics that have a history.
const keptPrefix = "kept"

// fleetConfig is the configuration of a machine. It reads the URLs of Redis when it starts, or is reloaded.
type fleetConfig struct {
	Addr, Control, RedisFile string
	Addrs                    []string
}

// runFleetMachine is the main function of a machine. Its clients get "ready", then what is published on their topics, and
// "gap TOPIC N". What they send, "TOPIC TEXT", is published.
func runFleetMachine() int {
	var c fleetConfig
	urls, err := []byte(nil), json.Unmarshal([]byte(os.Getenv(fleetVariable)), &c)
	if err == nil {
		urls, err = os.ReadFile(c.RedisFile)
	}
	redis := settings.SplitURLs(string(urls))
	if err != nil || len(redis) == 0 {
		fmt.Fprintln(os.Stderr, "no Redis:", err)
		return 2
	}
	app := expedite.New(expedite.Config{
		Addr: c.Addr, Addrs: c.Addrs, Control: c.Control, Workers: 1, DrainTimeout: 10 * time.Second,
		Sessions: expedite.Sessions{Redis: redis[0]}, MoreRedis: redis[1:],
		History:  []expedite.HistoryRule{{Topics: keptPrefix + "*", Messages: 100_000, For: 10 * time.Minute}},
		Presence: []expedite.PresenceRule{memberRule()}, PresenceLease: memberLease,
	})
	app.Handle("/"+memberPrefix, memberHandler(app))
	app.Handle("/", expedite.Handler{
		Inline: true, Session: true,
		Open: func(c *expedite.Conn) {
			for _, topic := range strings.Fields(c.Query().Get("topics")) {
				if err := c.Subscribe(topic); err != nil {
					c.Log().Error("not subscribed", "error", err)
				}
			}
			c.Send(expedite.Text("ready"))
		},
		Message: func(c *expedite.Conn, m expedite.Message) {
			topic, _, _ := strings.Cut(m.String(), " ")
			if err := c.Publish(topic, m); err != nil {
				c.Log().Error("not published", "error", err)
			}
		},
		Gap: func(c *expedite.Conn, topic string, missed uint64) {
			c.Send(expedite.Text(fmt.Sprintf("gap %s %d", topic, missed)))
		},
	})
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	if err := app.Run(ctx); err != nil && !errors.Is(err, expedite.ErrTrial) {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

// fault is what goes wrong with the Redis of a fleet.
type fault struct {
	// url returns the URLs of Redis for a machine.
	url func(machine int) string
	// begin and end are the fault, with traffic. A nil end means that it ends by itself.
	begin, end func(f *fleet)
	// check, if not nil, checks more at the end.
	check func(f *fleet)
	// by returns the program that starts a machine, with its arguments. Nil: the test does.
	by func(machine int) []string
}

// fleet are machines with the same Redis. Each has a client that publishes numbered messages on all topics, and one that
// hears those of all machines.
type fleet struct {
	t        *testing.T
	ctx      context.Context
	topics   []string
	machines []*fleetMachine
}

type fleetMachine struct {
	*server
	name, redisFile string
	socket          string // of clients, if the machine is in a network of its own
	in              *hearer
	out             *client

	mu   sync.Mutex
	sent map[string]int // by topic
}

// startFleet starts machines and waits until each hears the others.
func startFleet(t *testing.T, machines int, fault fault) *fleet {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*patience)
	t.Cleanup(cancel)
	f := &fleet{t: t, ctx: ctx}
	for i := range 6 {
		f.topics = append(f.topics, fmt.Sprint("topic", i), fmt.Sprint(keptPrefix, i))
	}
	for i := range machines {
		m := &fleetMachine{
			name: fmt.Sprint("m", i), redisFile: filepath.Join(t.TempDir(), "redis"), sent: make(map[string]int),
			server: &server{
				t: t, control: filepath.Join(t.TempDir(), "control"), output: &syncBuffer{}, ended: make(chan struct{}),
			},
		}
		m.use(fault.url(i))
		var by []string
		c := fleetConfig{
			Addr: fmt.Sprintf("127.80.%d.%d:0", os.Getpid()&0xff, i+1), Control: m.control, RedisFile: m.redisFile,
		}
		if fault.by != nil {
			by, m.socket = fault.by(i), filepath.Join(filepath.Dir(m.redisFile), "clients")
			c.Addrs = []string{"unix:" + m.socket}
		}
		m.launch(by, c)
		m.in = hear(f, m)
		m.out = m.connect(ctx, "/")
		m.out.CloseRead(ctx)
		f.machines = append(f.machines, m)
	}
	eventually(t, "each machine hears the others", func() bool {
		f.publish()
		return f.all(func(h *hearer, from *fleetMachine, topic string) bool { return h.heard(topic, from.name) > 0 })
	})
	return f
}

// launch starts the machine, by another program that executes it, or by itself.
func (m *fleetMachine) launch(by []string, c fleetConfig) {
	m.t.Helper()
	self, err := os.Executable()
	if err != nil {
		m.t.Fatal(err)
	}
	config, err := json.Marshal(c)
	if err != nil {
		m.t.Fatal(err)
	}
	m.start(func(cmd *exec.Cmd) {
		cmd.Path, cmd.Args = self, append(by, self)
		if len(by) > 0 {
			if cmd.Path, err = exec.LookPath(by[0]); err != nil {
				m.t.Fatal(err)
			}
		}
		cmd.Env = append(os.Environ(), fleetVariable+"="+string(config))
	}, nil)
}

// use writes the URLs of Redis for the next start or reload.
func (m *fleetMachine) use(urls string) {
	m.t.Helper()
	if err := os.WriteFile(m.redisFile, []byte(urls), 0o600); err != nil {
		m.t.Fatal(err)
	}
}

// connect connects a client, which has a session.
func (m *fleetMachine) connect(ctx context.Context, path string) *client {
	m.t.Helper()
	options := new(websocket.DialOptions)
	if m.socket != "" {
		options.HTTPClient = &http.Client{Transport: &http.Transport{
			DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
				return new(net.Dialer).DialContext(ctx, "unix", m.socket)
			},
		}}
	}
	conn, _, err := websocket.Dial(ctx, "ws://"+m.addr+path, options)
	if err != nil {
		m.t.Fatal(err)
	}
	m.t.Cleanup(func() { _ = conn.CloseNow() })
	if _, b, err := conn.Read(ctx); err != nil || string(b) != "ready" {
		m.t.Fatalf("%s: got %q, %v, want ready", m.name, b, err)
	}
	return &client{Conn: conn}
}

// publish publishes the next message of each machine on each topic.
func (f *fleet) publish() {
	for _, m := range f.machines {
		for _, topic := range f.topics {
			m.mu.Lock()
			m.sent[topic]++
			n := m.sent[topic]
			m.mu.Unlock()
			if err := m.out.Write(f.ctx, websocket.MessageText, fmt.Appendf(nil, "%s %s %d", topic, m.name, n)); err != nil {
				f.t.Errorf("%s: %v", m.name, err)
			}
		}
	}
}

// traffic publishes all the time, until the function that it returns is called.
func (f *fleet) traffic() (stop func()) {
	done := make(chan struct{})
	var task sync.WaitGroup
	task.Go(func() { // ends with stop
		tick := time.NewTicker(10 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				f.publish()
			case <-done:
				return
			}
		}
	})
	return func() {
		close(done)
		task.Wait()
	}
}

// all reports whether something is true of each client, and each topic of each machine.
func (f *fleet) all(ok func(h *hearer, from *fleetMachine, topic string) bool) bool {
	for _, m := range f.machines {
		for _, from := range f.machines {
			for _, topic := range f.topics {
				if !ok(m.in, from, topic) {
					return false
				}
			}
		}
	}
	return true
}

// last returns the number of the latest message that was published.
func (m *fleetMachine) last(topic string) int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.sent[topic]
}

// marks returns the numbers of the latest messages.
func (f *fleet) marks() map[channel]int {
	marks := make(map[channel]int)
	for _, m := range f.machines {
		for _, topic := range f.topics {
			marks[channel{topic, m.name}] = m.last(topic)
		}
	}
	return marks
}

// channel is what one machine publishes on one topic.
type channel struct{ topic, from string }

// hearer is a client that checks what it hears: numbers grow; those of its own machine have no holes, and others only
// where a gap was told.
type hearer struct {
	*client
	own string

	mu     sync.Mutex
	last   map[channel]int
	told   map[channel]bool // a gap was told since
	holes  map[string]int   // messages that are missing, by topic
	gaps   map[string]int   // those that were told
	vague  map[string]bool  // gaps of an unknown size were told
	faults []string
}

func hear(f *fleet, m *fleetMachine) *hearer {
	h := &hearer{
		own: m.name, last: make(map[channel]int), told: make(map[channel]bool), holes: make(map[string]int),
		gaps: make(map[string]int), vague: make(map[string]bool),
	}
	h.client = m.connect(f.ctx, "/?topics="+strings.Join(f.topics, "+"))
	go func() { // ends with the connection
		for {
			_, b, err := h.Read(f.ctx)
			if err != nil {
				if f.ctx.Err() == nil && f.t.Context().Err() == nil {
					h.fault("the connection has ended: %v", err)
				}
				return
			}
			h.take(strings.Fields(string(b)))
		}
	}()
	return h
}

func (h *hearer) fault(format string, args ...any) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.faults) < 20 {
		h.faults = append(h.faults, fmt.Sprintf(format, args...))
	}
}

// take takes a message.
func (h *hearer) take(words []string) {
	if len(words) != 3 {
		h.fault("got %q", words)
		return
	}
	n, err := strconv.Atoi(words[2])
	if err != nil {
		h.fault("got %q", words)
		return
	}
	if words[0] == "gap" {
		h.gap(words[1], n)
		return
	}
	ch := channel{words[0], words[1]}
	h.mu.Lock()
	last, known, told := h.last[ch], h.last[ch] > 0, h.told[ch]
	h.last[ch] = n
	h.told[ch] = false
	missing := n - last - 1
	if known && missing > 0 {
		h.holes[ch.topic] += missing
	}
	h.mu.Unlock()
	switch {
	case !known || missing == 0:
	case missing < 0:
		h.fault("%v: %d after %d", ch, n, last)
	case ch.from == h.own:
		h.fault("%v: %d after %d, of the own machine", ch, n, last)
	case !told:
		h.fault("%v: %d after %d, and no gap was told", ch, n, last)
	}
}

// gap takes what Handler.Gap has told.
func (h *hearer) gap(topic string, missed int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for ch := range h.last {
		if ch.topic == topic {
			h.told[ch] = true
		}
	}
	h.gaps[topic] += missed
	h.vague[topic] = h.vague[topic] || missed == 0
}

// heard returns the number of the latest message.
func (h *hearer) heard(topic, from string) int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.last[channel{topic, from}]
}

// check reports what was wrong, and how many messages are missing, without and with a history.
func (h *hearer) check(t *testing.T) (missing, missingKept int) {
	t.Helper()
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, one := range h.faults {
		t.Errorf("client of %s: %s", h.own, one)
	}
	for topic, n := range h.holes {
		if missing += n; strings.HasPrefix(topic, keptPrefix) {
			missing, missingKept = missing-n, missingKept+n
		}
		if told := h.gaps[topic]; told < n && !h.vague[topic] {
			t.Errorf("client of %s: %d messages on %s are missing, %d were told", h.own, n, topic, told)
		}
	}
	for topic, told := range h.gaps {
		if told > h.holes[topic] {
			t.Errorf("client of %s: %d messages on %s are missing, %d were told", h.own, h.holes[topic], topic, told)
		}
	}
	return missing, missingKept
}
