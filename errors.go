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
	// ErrClosed reports that the connection is closed or closing.
	ErrClosed = errors.New("expedite: connection closed")
	// ErrTooManySubscriptions reports that the connection is subscribed to Config.MaxSubscriptions topics.
	ErrTooManySubscriptions = errors.New("expedite: too many subscriptions")
	// ErrRan reports that Run was called before, of this App or in this worker process.
	ErrRan = errors.New("expedite: Run was called before")
	// ErrTrial reports that this process was started only to find out whether its program could replace the running one,
	// and that it could. The process should exit with status 0 and without a message.
	ErrTrial = errors.New("expedite: the trial of a reload has succeeded")
	// ErrNotRunning reports that the App is not running: Run was not called, or has returned.
	ErrNotRunning = errors.New("expedite: the app is not running")
	// ErrOverloaded reports that a message was dropped because the queue to the other workers is full.
	ErrOverloaded = errors.New("expedite: overloaded")
	// ErrRate reports that the connection publishes more than its handler allows: see Handler.PublishRate.
	ErrRate = errors.New("expedite: too many publications")
	// ErrMoved reports that the connection is in another worker now: subscribe there, in a callback.
	ErrMoved = errors.New("expedite: connection has moved")
	// ErrTopic reports that a topic's name is empty, too long, or begins with a zero byte.
	ErrTopic = errors.New("expedite: bad topic name")
	// ErrNoHistory reports that a topic keeps no messages: no HistoryRule matches it.
	ErrNoHistory = errors.New("expedite: the topic has no history")
	// ErrText reports that a text message was not sent because it is not valid UTF-8.
	ErrText = errors.New("expedite: the text is not valid UTF-8")
)

// CloseError tells how a connection ended: it holds the first close frame of either side.
type CloseError struct {
	// Code is the code of the frame; ws.CloseAbnormal (1006) if there was no frame, and ws.CloseNoStatus (1005) if it had
	// no code.
	Code ws.CloseCode
	// Reason is the text of the frame. It may come from the client: do not trust it.
	Reason string
}

// Error returns the code and the reason as text.
func (e *CloseError) Error() string {
	if e.Reason == "" {
		return fmt.Sprintf("expedite: connection closed with %d", e.Code)
	}
	return fmt.Sprintf("expedite: connection closed with %d: %s", e.Code, e.Reason)
}

// Refuse returns an error for Authorize that answers the client's handshake with an HTTP status (400 to 599) and a
// reason. A 401 has the challenge that RFC 9110 §11.6.1 requires. Any other status becomes 403.
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
