package systemd

import (
	"fmt"
	"log/slog"
	"math"
	"net"
	"strings"
	"sync"
	"time"
)

// Config configures a Notifier.
type Config struct {
	Environment
	Log *slog.Logger
	// Check blocks for ever if a part hangs without which the process is as good as dead.
	Check func()
	// Status returns what the process does, in one line for people, and the number of connections. A stop makes progress
	// as long as that number falls.
	Status func() (text string, connections int64)
}

// phase is what the service manager has been told last.
type phase int

const (
	starting phase = iota
	serving
	reloading
	stopping
)

const (
	// sendTimeout bounds a notification, which waits while the queue of the service manager is full.
	sendTimeout = time.Second
	// statusEvery is the time between two looks at the status, and at progress.
	statusEvery = 5 * time.Second
	// patience is how long the service manager shall wait for the next sign of progress.
	patience = 30 * time.Second
)

// Notifier tells the service manager what this process does. It never fails: the first notification that cannot be
// sent is logged. It is safe for concurrent use.
type Notifier struct {
	Config

	mu        sync.Mutex // held while a notification is sent, so that they stay in order
	phase     phase
	status    string // the latest, without the note
	note      string // about the last reload
	progress  bool   // since the latest look
	least     int64  // connections at the latest look of a stop
	complaint sync.Once
}

// New returns a Notifier that has told nothing.
func New(c Config) *Notifier { return &Notifier{Config: c} }

// Ready tells that the process serves.
func (n *Notifier) Ready() { n.Reloaded(nil) }

// Reloaded tells that the process serves again after a reload. The service manager does not know failed reloads: for
// it, every reload succeeds. An error stays in the status until the next one.
func (n *Notifier) Reloaded(err error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.phase == stopping {
		return
	}
	n.phase, n.note, n.status = serving, "", "Serving"
	if err != nil {
		n.note = ". The last reload failed: " + err.Error()
	}
	n.send("READY=1", status(n.status+n.note))
}

// Reloading tells that a reload has begun, and that its first sign of progress may take longer by wait. Ready ends it.
func (n *Notifier) Reloading(wait time.Duration) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.phase == stopping {
		return
	}
	n.phase, n.note, n.status = reloading, "", "Reloading"
	n.send("RELOADING=1", fmt.Sprintf("MONOTONIC_USEC=%d", monotonic().Microseconds()), extend(wait), status(n.status))
}

// Refused answers a reload that this process does not know how to do.
func (n *Notifier) Refused(err error) {
	n.Reloading(0)
	n.Reloaded(err)
}

// Progress tells that a reload goes on.
func (n *Notifier) Progress() {
	n.mu.Lock()
	n.progress = true
	n.mu.Unlock()
}

// Stopping tells that the process drains its connections and ends.
func (n *Notifier) Stopping() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.phase, n.note, n.status, n.least = stopping, "", "Stopping", math.MaxInt64
	n.send("STOPPING=1", extend(0), status(n.status))
}

// Run sends the signs of life, the status and the progress until done is closed.
func (n *Notifier) Run(done <-chan struct{}) {
	if n.Socket == "" {
		return
	}
	if n.Watchdog > 0 {
		go n.watch(done) // ends with done, unless Check hangs
	}
	tick := time.NewTicker(statusEvery)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			n.look()
		case <-done:
			return
		}
	}
}

// watch sends a sign of life twice within the time of the watchdog, each after Check has returned.
func (n *Notifier) watch(done <-chan struct{}) {
	tick := time.NewTicker(n.Watchdog / 2)
	defer tick.Stop()
	for {
		n.Check()
		n.mu.Lock()
		n.send("WATCHDOG=1")
		n.mu.Unlock()
		select {
		case <-tick.C:
		case <-done:
			return
		}
	}
}

// look tells what has changed since the look before.
func (n *Notifier) look() {
	text, connections := n.Status()
	n.mu.Lock()
	defer n.mu.Unlock()
	var lines []string
	switch n.phase {
	case stopping:
		text = "Stopping: " + text
		n.progress = connections < n.least
		n.least = min(n.least, connections)
	case reloading:
		text = "Reloading: " + text
	}
	if n.progress && n.phase != serving {
		lines = append(lines, extend(0))
	}
	n.progress = false
	if text != n.status {
		n.status = text
		lines = append(lines, status(text+n.note))
	}
	if len(lines) > 0 {
		n.send(lines...)
	}
}

// send sends one notification.
func (n *Notifier) send(lines ...string) {
	if n.Socket == "" {
		return
	}
	if err := n.write(strings.Join(lines, "\n")); err != nil {
		n.complaint.Do(func() {
			n.Log.Warn("the service manager is not notified", "socket", n.Socket, "error", err)
		})
	}
}

func (n *Notifier) write(message string) error {
	conn, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: n.Socket, Net: "unixgram"})
	if err != nil {
		return err
	}
	defer conn.Close()
	if err := conn.SetWriteDeadline(time.Now().Add(sendTimeout)); err != nil {
		return err
	}
	_, err = conn.Write([]byte(message))
	return err
}

// status returns the line for a status.
func status(text string) string { return "STATUS=" + strings.ReplaceAll(text, "\n", " ") }

// extend asks for more time.
func extend(wait time.Duration) string {
	return fmt.Sprintf("EXTEND_TIMEOUT_USEC=%d", (patience + wait).Microseconds())
}
