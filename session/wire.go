package session

import (
	"bytes"
	"errors"
	"fmt"
	"time"
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
	codeNotFound: ErrNotFound, codeTooMany: ErrTooManySessions, codeTooLarge: ErrTooLarge, codeFull: ErrFull,
	codeUnavailable: ErrUnavailable, codeDeferred: ErrDeferred,
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
		return unavailable(errCut)
	case answer[0] == codeOK:
		return nil
	}
	if err, ok := codes[answer[0]]; ok {
		return &remoteError{err, string(answer[1:])}
	}
	if bytes.HasPrefix(answer[1:], []byte(errRequest.Error())) { // the other side is of an earlier release
		return unavailable(&remoteError{errRequest, string(answer[1:])})
	}
	return unavailable(fmt.Errorf("%s", answer[1:]))
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

func appendAttach(dst []byte, a Attach) []byte {
	dst = append(dst, a.ID[:]...)
	dst = appendText(dst, a.User)
	// Nil leaves the parameters of a resumed session, empty ones do not.
	if a.Params == nil {
		dst = append(dst, 0)
	} else {
		dst = appendParams(append(dst, 1), a.Params)
	}
	dst = appendPlace(dst, a.Place)
	dst = appendInt(appendInt(dst, int64(a.Policy.TTL)), int64(a.Policy.MaxPerUser))
	return appendInt(append(dst, bit(a.Policy.Refuse)), int64(a.Policy.Stale))
}

func (r *reader) attach() (a Attach) {
	a.ID, a.User = r.id(), r.text()
	if r.byte() == 1 {
		if a.Params = r.params(); a.Params == nil {
			a.Params = map[string]string{}
		}
	}
	a.Place = r.place()
	a.Policy.TTL, a.Policy.MaxPerUser = time.Duration(r.int()), int(r.int())
	a.Policy.Refuse, a.Policy.Stale = r.byte() == 1, time.Duration(r.int())
	return a
}

func appendAttached(dst []byte, a Attached) []byte {
	dst = append(appendSession(dst, a.Session), bit(a.Resumed))
	return appendSessions(appendPlace(dst, a.Replaced), a.Evicted)
}

func (r *reader) attached() Attached {
	return Attached{Session: r.session(), Resumed: r.byte() == 1, Replaced: r.place(), Evicted: r.sessions(maxAnswer)}
}

// appendReserved is the answer to an Attach: it has taken nothing from anyone.
func appendReserved(dst []byte, a Attached) []byte {
	return append(appendSession(dst, a.Session), bit(a.Resumed), bit(a.Pending))
}

func (r *reader) reserved() Attached {
	return Attached{Session: r.session(), Resumed: r.byte() == 1, Pending: r.byte() == 1}
}

// appendClaimed is the answer to a Claim.
func appendClaimed(dst []byte, a Attached) []byte {
	return append(appendAttached(dst, a), bit(a.Pending))
}

func (r *reader) claimed() Attached {
	a := r.attached()
	a.Pending = r.byte() == 1
	return a
}

func bit(is bool) byte {
	if is {
		return 1
	}
	return 0
}

func appendPage(dst []byte, p Page) []byte {
	return appendInt(appendTime(append(dst, p.ID[:]...), p.Created), int64(p.Max))
}

func (r *reader) page() Page {
	return Page{ID: r.id(), Created: fromMicros(r.int()), Max: int(r.int())}
}

// maxAnswer bounds the sessions in an answer.
const maxAnswer = 1 << 20

func appendSaved(dst []byte, s Saved) []byte {
	return appendValues(appendSession(dst, s.Session), s.Values)
}

func (r *reader) saved() Saved { return Saved{Session: r.session(), Values: r.values()} }
