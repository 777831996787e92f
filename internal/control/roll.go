package control

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
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

// ReloadRequest says how to reload. The zero value replaces everything and leaves the first new worker no time for
// proof; a request without a body asks for [DefaultCanarySeconds].
type ReloadRequest struct {
	// CanarySeconds is how long the first new worker must serve before the rest follows.
	CanarySeconds float64 `json:"canary_seconds"`
	// KeepPrimary lets the primary be.
	KeepPrimary bool `json:"keep_primary,omitempty"`
}

// DefaultCanarySeconds is the canary time of a request that names none.
const DefaultCanarySeconds = 1

// ScaleRequest says how many workers there shall be.
type ScaleRequest struct {
	Workers int `json:"workers"` // from 1 to 1000
}

const (
	maxWorkers = 1000 // as in package cluster
	maxCanary  = 3600 // seconds
)

// The steps of an operation, in the order of one slot; the last is the primary's.
const (
	StepStarting  = "starting"          // the new worker's process starts
	StepMoving    = "moving"            // connections go over
	StepDraining  = "draining"          // those that cannot move are closed
	StepDone      = "done"              // the slot is finished
	StepReplacing = "replacing-primary" // the primary replaces itself
)

// Progress is where an operation is. Its JSON is a contract like that of [Status].
type Progress struct {
	// Kind is reload, scale or rebalance. Empty: a reload.
	Kind          string  `json:"kind,omitempty"`
	Slot          int     `json:"slot"`       // from 1; 0: no slot
	Step          string  `json:"step"`       // see StepStarting
	Generation    int     `json:"generation"` // of the slot's new process
	Moved         uint64  `json:"moved"`      // connections, in this slot
	Left          uint64  `json:"left"`
	Total         uint64  `json:"total"`
	RatePerSecond float64 `json:"rate_per_second"`
	SlotsDone     int     `json:"slots_done"`
	Slots         int     `json:"slots"`
	Message       string  `json:"message,omitempty"` // for people
}

// Result is what an operation did. Its JSON is a contract like that of [Status].
type Result struct {
	Moved   uint64 `json:"moved"`   // connections that went over
	Drained uint64 `json:"drained"` // connections that cannot move, closed with 1012
	// DrainedWhy counts them by reason: see StayReasons. Nil: there were none, or the workers did not tell.
	DrainedWhy map[string]uint64 `json:"drained_why,omitempty"`
	Failed     uint64            `json:"failed"` // connections that were lost or left behind
	Seconds    float64           `json:"seconds"`
	// MoveSeconds is the part of Seconds in which connections moved, FreezeSeconds the longest time that one stood still.
	MoveSeconds   float64 `json:"move_seconds"`
	FreezeSeconds float64 `json:"freeze_seconds"`
	StateBytes    uint64  `json:"state_bytes"` // what the connections had with them, beside their sockets
	Workers       int     `json:"workers"`     // now
	// PrimaryReplaced says that the primary, too, is a new one.
	PrimaryReplaced bool   `json:"primary_replaced"`
	Version         string `json:"version,omitempty"` // of the new one
	// Program is the file that a reload has started, as the server's name leads to it now.
	Program string `json:"program,omitempty"`
	// Warnings tell what a reload has opened: to clients without tokens, or to pages of other origins.
	Warnings []string `json:"warnings,omitempty"`
}

// StayReasons tells people why connections could not move: "3 hold data that Handler.State does not carry". The reasons
// are those of the metric expedite_handoff_stays_total; one that this build does not know is shown by its name.
func StayReasons(counts map[string]uint64) string {
	texts := map[string]string{
		"data":            "hold data that no State, Suspend or Resume carries",
		"suspend_failed":  "could not be suspended",
		"callback_runs":   "wait for a callback that does not return",
		"state_too_large": "have too large a state",
		"no_descriptor":   "have no socket of their own",
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

// Codes of a [Error]. There may be more.
const (
	CodeBusy        = "busy"        // another operation is under way
	CodeBadRequest  = "bad_request" // the request makes no sense
	CodeNotFound    = "not_found"   // there is no such thing
	CodeUnavailable = "unavailable" // not now, for instance because the server stops
	CodeUnsupported = "unsupported" // never, as this server runs
	CodeStart       = "start"       // a new worker does not start
	CodeExec        = "exec"        // the primary could not replace itself
	CodeFailed      = "failed"      // something else
	CodeInterrupted = "interrupted" // nobody waited for the end, and it goes on
)

// Error is why an operation did not succeed. Its JSON also has the type, a class of codes: invalid_request,
// not_found, conflict, unavailable, unsupported, interrupted or server_error.
type Error struct {
	Code    string `json:"code"`
	Message string `json:"message"`          // for people, one line
	Slot    int    `json:"slot,omitempty"`   // 0: it is about no slot
	Output  string `json:"output,omitempty"` // last log lines of a worker that did not start
}

// Error is the message.
func (e *Error) Error() string { return e.Message }

// MarshalJSON adds the type.
func (e *Error) MarshalJSON() ([]byte, error) {
	type plain Error // without this method
	_, class := e.class()
	return json.Marshal(struct {
		Type string `json:"type"`
		*plain
	}{class, (*plain)(e)})
}

// class is the error's HTTP status and type.
func (e *Error) class() (status int, class string) {
	switch e.Code {
	case CodeBadRequest:
		return http.StatusBadRequest, "invalid_request"
	case CodeNotFound:
		return http.StatusNotFound, "not_found"
	case CodeBusy:
		return http.StatusConflict, "conflict"
	case CodeUnsupported:
		return http.StatusNotImplemented, "unsupported"
	case CodeUnavailable:
		return http.StatusServiceUnavailable, "unavailable"
	case CodeInterrupted:
		return http.StatusGatewayTimeout, "interrupted"
	default:
		return http.StatusInternalServerError, "server_error"
	}
}

// ErrUnsupported says that this server has no workers that could be replaced or moved.
var ErrUnsupported = errors.New("control: this server cannot reload, scale or rebalance")

// toError makes any error one that travels, with the given code if it brings none.
func toError(err error, code string) *Error {
	if e, ok := errors.AsType[*Error](err); ok {
		return e
	}
	if errors.Is(err, ErrUnsupported) {
		code = CodeUnsupported
	}
	return &Error{Code: code, Message: strings.TrimPrefix(err.Error(), "control: ")}
}

// badRequest is the error for a request that makes no sense.
func badRequest(format string, args ...any) *Error {
	return &Error{Code: CodeBadRequest, Message: fmt.Sprintf(format, args...)}
}

func (r ReloadRequest) check() error {
	// Written so that NaN, which compares false, is refused.
	if !(r.CanarySeconds >= 0 && r.CanarySeconds <= maxCanary) {
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

// line is one line of an operation's answer: exactly one field is set.
type line struct {
	Progress  *Progress  `json:"progress,omitempty"`
	Replacing *replacing `json:"replacing,omitempty"`
	Result    *Result    `json:"result,omitempty"`
	Error     *Error     `json:"error,omitempty"`
}

// replacing announces that the connection's end will be that of the primary's generation.
type replacing struct {
	Generation int    `json:"generation"` // that ends
	Result     Result `json:"result"`     // so far
}

var (
	_ Reporter       = Discard{}
	_ error          = (*Error)(nil)
	_ json.Marshaler = (*Error)(nil)
)
