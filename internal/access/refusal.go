package access

import (
	"encoding/json"
	"errors"
	"net/http"
	"strconv"

	"github.com/expedite-go/expedite/auth"
	"github.com/expedite-go/expedite/ws"
)

// reasonApplication is the reason of refusals by the application.
const reasonApplication = "application"

// Refusal returns the answer to a client that is not admitted, and the reason by which it is counted.
func Refusal(err error) (answer *ws.HandshakeError, reason string) {
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
