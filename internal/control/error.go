package control

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
)

// Codes of an [Error]. Further codes may be added.
const (
	CodeBusy        = "busy"        // another operation is under way
	CodeBadRequest  = "bad_request" // the request is invalid
	CodeNotFound    = "not_found"   // what the request names does not exist
	CodeUnavailable = "unavailable" // not now, for instance because the server is stopping
	CodeUnsupported = "unsupported" // never, in the way that this server runs
	CodeStart       = "start"       // a new worker does not start
	CodeExec        = "exec"        // the primary could not replace itself
	CodeFailed      = "failed"      // anything else
	CodeInterrupted = "interrupted" // the client stopped waiting; the operation continues
)

// Error is the reason that a request failed. Its JSON also has a type, which is a class of codes: invalid_request,
// not_found, conflict, unavailable, unsupported, interrupted or server_error.
type Error struct {
	Code    string `json:"code"`
	Message string `json:"message"`          // for people, one line
	Slot    int    `json:"slot,omitempty"`   // that it concerns; 0: none
	Output  string `json:"output,omitempty"` // last log lines of a worker that did not start
}

// ErrUnsupported is returned by a server that has no workers to replace or move.
var ErrUnsupported = errors.New("control: this server cannot reload, scale or rebalance")

// Error returns the message.
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

// class returns the HTTP status and the type of the error.
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

// toError returns the Error that err is or wraps, or else one with the given code and the message of err.
func toError(err error, code string) *Error {
	if e, ok := errors.AsType[*Error](err); ok {
		return e
	}
	if errors.Is(err, ErrUnsupported) {
		code = CodeUnsupported
	}
	return &Error{Code: code, Message: strings.TrimPrefix(err.Error(), "control: ")}
}

func badRequest(format string, args ...any) *Error {
	return &Error{Code: CodeBadRequest, Message: fmt.Sprintf(format, args...)}
}

var (
	_ error          = (*Error)(nil)
	_ json.Marshaler = (*Error)(nil)
)
