package control

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Reporter receives the progress of an operation. Its methods are safe for concurrent use. After the end of the
// operation they do nothing.
type Reporter interface {
	// Progress reports how far the operation is. It never waits for the client: a slow client misses reports.
	Progress(p Progress)
	// Replacing reports that the primary of this generation is about to replace itself, and the result so far. It
	// returns when the report has been sent, or when the client has not taken it within a second.
	Replacing(generation int, r Result)
}

// Discard is a [Reporter] that discards everything.
type Discard struct{}

// Progress does nothing.
func (Discard) Progress(Progress) {}

// Replacing does nothing.
func (Discard) Replacing(int, Result) {}

var _ Reporter = Discard{}

// ReloadRequest says how to reload. The zero value replaces everything and does not wait for the first new worker to
// prove itself; a request without a body asks for [DefaultCanarySeconds].
type ReloadRequest struct {
	// CanarySeconds is how long the first new worker has to serve before the others are replaced.
	CanarySeconds float64 `json:"canary_seconds"`
	// KeepPrimary leaves the primary as it is.
	KeepPrimary bool `json:"keep_primary,omitempty"`
}

// DefaultCanarySeconds is the canary time of a request that names none.
const DefaultCanarySeconds = 1

// ScaleRequest says how many workers there should be.
type ScaleRequest struct {
	Workers int `json:"workers"` // from 1 to 1000
}

const (
	maxWorkers = 1000 // as in package cluster
	maxCanary  = 3600 // seconds
)

func (r ReloadRequest) check() error {
	if !(r.CanarySeconds >= 0 && r.CanarySeconds <= maxCanary) { // refuses NaN, too
		return badRequest("canary_seconds %g: want 0 to %d", r.CanarySeconds, maxCanary)
	}
	return nil
}

func (r ScaleRequest) check() error {
	if r.Workers < 1 || r.Workers > maxWorkers {
		return badRequest("%d workers: want 1 to %d", r.Workers, maxWorkers)
	}
	return nil
}

// The steps of an operation, in the order in which a slot takes them. The last one is the primary's.
const (
	StepStarting  = "starting"          // the process of the new worker starts
	StepMoving    = "moving"            // connections move
	StepDraining  = "draining"          // connections that cannot move are closed
	StepDone      = "done"              // the slot is finished
	StepReplacing = "replacing-primary" // the primary replaces itself
)

// Progress is how far an operation is. Its JSON is a contract like that of [Status].
type Progress struct {
	// Kind is reload, scale or rebalance. Empty means reload.
	Kind          string  `json:"kind,omitempty"`
	Slot          int     `json:"slot"`       // from 1; 0: none
	Step          string  `json:"step"`       // see StepStarting
	Generation    int     `json:"generation"` // of the new process in the slot
	Moved         uint64  `json:"moved"`      // connections, in this slot
	Left          uint64  `json:"left"`
	Total         uint64  `json:"total"`
	RatePerSecond float64 `json:"rate_per_second"`
	SlotsDone     int     `json:"slots_done"`
	Slots         int     `json:"slots"`
	Message       string  `json:"message,omitempty"` // for people
}

// Result is the outcome of an operation. Its JSON is a contract like that of [Status].
type Result struct {
	Moved   uint64 `json:"moved"`   // connections
	Drained uint64 `json:"drained"` // connections that could not move and were closed with 1012
	// DrainedWhy counts them by reason; see [StayReasons]. Nil: there were none, or the workers gave no reason.
	DrainedWhy map[string]uint64 `json:"drained_why,omitempty"`
	Failed     uint64            `json:"failed"` // connections that were lost or left behind
	Seconds    float64           `json:"seconds"`
	// MoveSeconds is the part of Seconds in which connections moved. FreezeSeconds is the longest time that a
	// connection was frozen.
	MoveSeconds   float64 `json:"move_seconds"`
	FreezeSeconds float64 `json:"freeze_seconds"`
	StateBytes    uint64  `json:"state_bytes"` // of all connections that moved
	Workers       int     `json:"workers"`     // now
	// PrimaryReplaced is set if the primary was replaced, too.
	PrimaryReplaced bool   `json:"primary_replaced"`
	Version         string `json:"version,omitempty"` // of the new primary
	// Program is the file that a reload has started, after symbolic links.
	Program string `json:"program,omitempty"`
	// Changed are the names of the settings that a reload has changed. InPlace reports that no process was replaced for
	// them.
	Changed []string `json:"changed,omitempty"`
	InPlace bool     `json:"in_place,omitempty"`
	// Warnings report that a reload admits clients that were refused before: those without tokens, or pages of other
	// origins.
	Warnings []string `json:"warnings,omitempty"`
}

// StayReasons returns why connections could not move, for people: "3 hold data that no State, Suspend or Resume
// carries". The reasons are those of the metric expedite_handoff_stays_total. An unknown one is shown by its name.
func StayReasons(counts map[string]uint64) string {
	texts := map[string]string{
		"data":            "hold data that no State, Suspend or Resume carries",
		"suspend_failed":  "could not be suspended",
		"callback_runs":   "wait for a callback that does not return",
		"refused":         "have a state that the new worker cannot read",
		"state_too_large": "have a state that is too large",
		"no_descriptor":   "have TLS 1.2, or --tls-engine std (docs/tls.md)",
	}
	var list []string
	for _, name := range slices.Sorted(maps.Keys(counts)) {
		text := texts[name]
		if text == "" {
			text = name
		}
		list = append(list, fmt.Sprintf("%d %s", counts[name], text))
	}
	return strings.Join(list, ", ")
}

// line is one line of the answer to an operation. Exactly one field is set.
type line struct {
	Progress  *Progress  `json:"progress,omitempty"`
	Replacing *replacing `json:"replacing,omitempty"`
	Result    *Result    `json:"result,omitempty"`
	Error     *Error     `json:"error,omitempty"`
}

// replacing announces that the connection is about to end because this generation of the primary does.
type replacing struct {
	Generation int    `json:"generation"`
	Result     Result `json:"result"` // so far
}
