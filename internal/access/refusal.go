package access

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"strconv"

	"github.com/expedite-go/expedite/auth"
	"github.com/expedite-go/expedite/ws"
)

// The reasons of refusals that are not for a token.
const (
	reasonApplication = "application"
	reasonPerUser     = "per_user" // as the limit
	reasonSessions    = "too_many_sessions"
	reasonNoTokens    = "no_tokens"
	reasonTickets     = "tickets"
)

// limited is a refusal by the server itself, with its reason.
type limited struct {
	*ws.HandshakeError
	reason string
}

// Unwrap returns the answer.
func (l *limited) Unwrap() error { return l.HandshakeError }

// ofUser is a refusal of a user who is known.
type ofUser struct {
	error
	user string
}

// Unwrap returns the refusal.
func (o *ofUser) Unwrap() error { return o.error }

// Refuse counts and logs that a client is not admitted because of err, and returns the answer to it.
func (a *Admission) Refuse(err error, remote, path string) *ws.HandshakeError {
	answer, reason := refusal(err)
	a.count(reason)
	t := a.Tracker
	if !t.Journal.Clients.Allow() {
		return answer
	}
	attrs := []slog.Attr{slog.String("reason", reason), slog.Int("status", answer.Status)}
	if o, ok := errors.AsType[*ofUser](err); ok {
		err = o.error
		if o.user != "" {
			attrs = append(attrs, slog.String("user", o.user))
		}
	}
	attrs = append(attrs, slog.String("remote", remote), slog.String("path", path))
	switch e := err.(type) { // not what it wraps: that would leave out the application's words
	case *limited:
		attrs = append(attrs, slog.String("error", e.Reason))
	case *ws.HandshakeError:
		attrs = append(attrs, slog.String("error", e.Reason))
	default:
		attrs = append(attrs, slog.Any("error", err))
	}
	t.log.LogAttrs(context.Background(), slog.LevelInfo, "client refused", attrs...)
	return answer
}

// refusal returns the answer to a client that is not admitted, and the reason by which it is counted.
func refusal(err error) (answer *ws.HandshakeError, reason string) {
	if l, ok := errors.AsType[*limited](err); ok {
		return l.HandshakeError, l.reason
	}
	if he, ok := errors.AsType[*ws.HandshakeError](err); ok {
		return he, reasonApplication
	}
	ae, ok := errors.AsType[*auth.Error](err)
	if !ok {
		return Refused(http.StatusForbidden, "forbidden", "forbidden"), reasonApplication
	}
	he := &ws.HandshakeError{
		Status: ae.Status(), Reason: ae.Message, Body: ae.Body(), ContentType: "application/json",
	}
	if c := ae.Challenge(); c != "" {
		he.Header = append(he.Header, ws.Field{Name: "WWW-Authenticate", Value: c})
	}
	if d := ae.RetryAfter(); d > 0 {
		he.Header = append(he.Header, ws.Field{Name: "Retry-After", Value: strconv.Itoa(int(d.Seconds()))})
	}
	return he, string(ae.Reason)
}

// Refused returns an answer with a JSON body like that of auth.Error.
func Refused(status int, code, message string) *ws.HandshakeError {
	var body struct {
		Error struct {
			Type    string `json:"type"`
			Code    string `json:"code"`
			Message string `json:"message"`
		} `json:"error"`
	}
	body.Error.Type, body.Error.Code, body.Error.Message = "refused", code, message
	b, err := json.Marshal(body)
	if err != nil { // it holds strings only
		b = []byte("{}")
	}
	return &ws.HandshakeError{Status: status, Reason: message, Body: append(b, '\n'), ContentType: "application/json"}
}

// writeRefusal answers through net/http as the engine does in a handshake.
func writeRefusal(w http.ResponseWriter, he *ws.HandshakeError) {
	for _, f := range he.Header {
		w.Header().Add(f.Name, f.Value)
	}
	w.Header().Set("Content-Type", he.ContentType)
	w.WriteHeader(he.Status)
	_, _ = w.Write(he.Body) // the client may have left
}
