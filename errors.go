package expedite

import (
	"errors"
	"fmt"
	"net/http"

	"github.com/expedite-go/expedite/internal/access"
	"github.com/expedite-go/expedite/ws"
)

// Errors that callers branch on.
var (
	// ErrClosed says that the connection is closed or closing.
	ErrClosed = errors.New("expedite: connection closed")
	// ErrTooManySubscriptions says that the connection holds Config.MaxSubscriptions topics already.
	ErrTooManySubscriptions = errors.New("expedite: too many subscriptions")
	// ErrRan says that Run was called before: of this App, or in this worker process.
	ErrRan = errors.New("expedite: Run was called before")
	// ErrTrial is the result of Run in a process that a reload started only to find out whether the program on disk could
	// replace the one that runs. It could, and has told the server. The process should exit with status 0 and without a
	// message.
	ErrTrial = errors.New("expedite: the trial of a reload has succeeded")
	// ErrNotRunning says that the App is not running: before Run, or after its end.
	ErrNotRunning = errors.New("expedite: the app is not running")
	// ErrOverloaded says that a message was given up because the way to the other workers is full.
	ErrOverloaded = errors.New("expedite: overloaded")
	// ErrMoved says that the connection lives in another worker now: subscribe there, in a callback.
	ErrMoved = errors.New("expedite: connection has moved")
	// ErrTopic says that a topic's name is empty, too long, or begins with a zero byte.
	ErrTopic = errors.New("expedite: bad topic name")
	// ErrText says that a text message is not valid UTF-8, and was not sent.
	ErrText = errors.New("expedite: the text is not valid UTF-8")
)

// CloseError is how a connection ended: the first close frame, whoever sent it.
type CloseError struct {
	// Code is ws.CloseAbnormal (1006) if the connection ended without a close frame, ws.CloseNoStatus (1005) if the
	// frame had no code.
	Code ws.CloseCode
	// Reason is the frame's text. It may come from the peer: it is no safe input.
	Reason string
}

// Error describes the end.
func (e *CloseError) Error() string {
	if e.Reason == "" {
		return fmt.Sprintf("expedite: connection closed with %d", e.Code)
	}
	return fmt.Sprintf("expedite: connection closed with %d: %s", e.Code, e.Reason)
}

// Refuse makes an error for Authorize: the client's handshake is answered with an HTTP status (400 to 599) and reason.
// With 401 goes the challenge that RFC 9110 §11.6.1 wants.
func Refuse(status int, reason string) error {
	if status < http.StatusBadRequest || status > 599 {
		status = http.StatusForbidden
	}
	he := access.Refused(status, "refused", reason)
	if status == http.StatusUnauthorized {
		he.Header = append(he.Header, ws.Field{Name: "WWW-Authenticate", Value: "Bearer"})
	}
	return he
}
