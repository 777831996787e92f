package remotestore

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"github.com/expedite-go/expedite/internal/sessionwire"
	"github.com/expedite-go/expedite/session"
)

// A request is the version (1), an operation (1) and its arguments as codec.go writes them; an answer is a code (1) and
// the result, or the error's text. Numbers are for ever: both sides may be of different releases.
const wireVersion = 1

const (
	opAttach byte = iota + 1
	opDetach
	opTouch
	opRestore
	opLoad
	opSave
	opFind
	opList
	opDrop
	opPutTicket
	opTakeTicket
	opReserve // Attach; opAttach, of releases before it, is Attach and Claim at once
	opClaim
	opDiscard
	opListPage
)

// The codes of answers.
const (
	codeOK byte = iota
	codeFailed
	codeNotFound
	codeTooMany
	codeTooLarge
	codeFull
	codeUnavailable
	codeDeferred
)

// codes are those of the errors that callers branch on.
var codes = map[byte]error{
	codeNotFound: session.ErrNotFound, codeTooMany: session.ErrTooManySessions, codeTooLarge: session.ErrTooLarge,
	codeFull: session.ErrFull, codeUnavailable: session.ErrUnavailable, codeDeferred: session.ErrDeferred,
}

// errRequest says that a request makes no sense here.
var errRequest = errors.New("session: bad request")

// appendError is the answer that says err.
func appendError(dst []byte, err error) []byte {
	code := codeFailed
	for c, one := range codes {
		if errors.Is(err, one) {
			code = c
		}
	}
	return append(append(dst, code), err.Error()...)
}

// parseError is the error of an answer; nil if it has none.
func parseError(answer []byte) error {
	switch {
	case len(answer) == 0:
		return session.Unavailable(sessionwire.ErrCut)
	case answer[0] == codeOK:
		return nil
	}
	if err, ok := codes[answer[0]]; ok {
		return &remoteError{err, string(answer[1:])}
	}
	if bytes.HasPrefix(answer[1:], []byte(errRequest.Error())) { // the other side is of an earlier release
		return session.Unavailable(&remoteError{errRequest, string(answer[1:])})
	}
	return session.Unavailable(fmt.Errorf("%s", answer[1:]))
}

// remoteError is an error of the other side: what callers branch on, with the text that it had there.
type remoteError struct {
	is   error
	text string
}

// Error is the text.
func (e *remoteError) Error() string { return e.text }

// Unwrap is what callers branch on.
func (e *remoteError) Unwrap() error { return e.is }

// reader reads requests and answers.
type reader struct{ *sessionwire.Reader }

func newReader(b []byte) *reader { return &reader{sessionwire.NewReader(b)} }

func appendAttach(dst []byte, a session.Attach) []byte {
	dst = append(dst, a.ID[:]...)
	dst = sessionwire.AppendText(dst, a.User)
	// Nil leaves the parameters of a resumed session, empty ones do not.
	if a.Params == nil {
		dst = append(dst, 0)
	} else {
		dst = sessionwire.AppendParams(append(dst, 1), a.Params)
	}
	dst = sessionwire.AppendPlace(dst, a.Place)
	dst = binary.AppendVarint(binary.AppendVarint(dst, int64(a.Policy.TTL)), int64(a.Policy.MaxPerUser))
	return binary.AppendVarint(append(dst, bit(a.Policy.Refuse)), int64(a.Policy.Stale))
}

func (r *reader) attach() (a session.Attach) {
	a.ID, a.User = r.ID(), r.Text()
	if r.Byte() == 1 {
		if a.Params = r.Params(); a.Params == nil {
			a.Params = map[string]string{}
		}
	}
	a.Place = r.Place()
	a.Policy.TTL, a.Policy.MaxPerUser = time.Duration(r.Int()), int(r.Int())
	a.Policy.Refuse, a.Policy.Stale = r.Byte() == 1, time.Duration(r.Int())
	return a
}

func appendAttached(dst []byte, a session.Attached) []byte {
	dst = append(sessionwire.AppendSession(dst, a.Session), bit(a.Resumed))
	return sessionwire.AppendSessions(sessionwire.AppendPlace(dst, a.Replaced), a.Evicted)
}

func (r *reader) attached() session.Attached {
	return session.Attached{
		Session: r.Session(), Resumed: r.Byte() == 1, Replaced: r.Place(), Evicted: r.Sessions(maxAnswer),
	}
}

// appendReserved is the answer to an Attach: it has taken nothing from anyone.
func appendReserved(dst []byte, a session.Attached) []byte {
	return append(sessionwire.AppendSession(dst, a.Session), bit(a.Resumed), bit(a.Pending))
}

func (r *reader) reserved() session.Attached {
	return session.Attached{Session: r.Session(), Resumed: r.Byte() == 1, Pending: r.Byte() == 1}
}

// appendClaimed is the answer to a Claim.
func appendClaimed(dst []byte, a session.Attached) []byte {
	return append(appendAttached(dst, a), bit(a.Pending))
}

func (r *reader) claimed() session.Attached {
	a := r.attached()
	a.Pending = r.Byte() == 1
	return a
}

func bit(is bool) byte {
	if is {
		return 1
	}
	return 0
}

func appendPage(dst []byte, p session.Page) []byte {
	return binary.AppendVarint(sessionwire.AppendTime(append(dst, p.ID[:]...), p.Created), int64(p.Max))
}

func (r *reader) page() session.Page {
	return session.Page{ID: r.ID(), Created: sessionwire.FromMicros(r.Int()), Max: int(r.Int())}
}

// maxAnswer bounds the sessions in an answer.
const maxAnswer = 1 << 20
