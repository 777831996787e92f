package remotestore

import (
	"bytes"
	"encoding/binary"
	"errors"

	"github.com/expedite-go/expedite/internal/record"
	"github.com/expedite-go/expedite/internal/sessionwire"
	"github.com/expedite-go/expedite/session"
)

const wireVersion = 1

// Operations.
const (
	opAttach byte = iota + 1 // Attach and Claim in one step, as earlier releases do it
	opDetach
	opTouch
	opRestore
	opLoad // of all values
	opSave
	opFind // of one session
	opList // of the first page
	opDrop
	opPutTicket
	opTakeTicket
	opReserve // Attach
	opClaim
	opDiscard
	opListPage
	opFindMany
	opLoadKeys
)

// Codes of answers.
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

// codes are the codes of the errors that callers distinguish.
var codes = map[byte]error{
	codeNotFound: session.ErrNotFound, codeTooMany: session.ErrTooManySessions, codeTooLarge: session.ErrTooLarge,
	codeFull: session.ErrFull, codeUnavailable: session.ErrUnavailable, codeDeferred: session.ErrDeferred,
}

// errRequest means that the other end does not understand a request. Its text is part of the format.
var errRequest = errors.New("session: bad request")

// request returns the beginning of a request.
func request(op byte) []byte { return []byte{wireVersion, op} }

// appendError appends the answer for an error.
func appendError(dst []byte, err error) []byte {
	code := codeFailed
	for c, one := range codes {
		if errors.Is(err, one) {
			code = c
		}
	}
	return append(append(dst, code), err.Error()...)
}

// parseError returns the error of an answer, or nil if it has a result.
func parseError(answer []byte) error {
	switch {
	case len(answer) == 0:
		return session.Unavailable(record.ErrCutOff)
	case answer[0] == codeOK:
		return nil
	}
	code, text := answer[0], answer[1:]
	if err, ok := codes[code]; ok {
		return &remoteError{err, string(text)}
	}
	if bytes.HasPrefix(text, []byte(errRequest.Error())) {
		return session.Unavailable(&remoteError{errRequest, string(text)})
	}
	return session.Unavailable(errors.New(string(text)))
}

// remoteError is an error of the other end: one that callers distinguish, with the text that it had there.
type remoteError struct {
	is   error
	text string
}

// Error returns the text.
func (e *remoteError) Error() string { return e.text }

// Unwrap returns the error that callers distinguish.
func (e *remoteError) Unwrap() error { return e.is }

// decoder reads requests and answers.
type decoder struct{ *sessionwire.Decoder }

func newDecoder(b []byte) *decoder { return &decoder{sessionwire.NewDecoder(b)} }

// batch reads a list of at most session.MaxBatch sessions.
func (d *decoder) batch() []session.Session { return d.Sessions(session.MaxBatch) }

func appendAttach(dst []byte, a session.Attach) []byte {
	dst = append(dst, a.ID[:]...)
	dst = record.AppendText(dst, a.User)
	if a.Params == nil { // nil leaves the parameters of a resumed session alone, an empty map removes them
		dst = append(dst, 0)
	} else {
		dst = sessionwire.AppendParams(append(dst, 1), a.Params)
	}
	dst = sessionwire.AppendPlace(dst, a.Place)
	dst = binary.AppendVarint(dst, int64(a.Policy.TTL))
	dst = binary.AppendVarint(dst, int64(a.Policy.MaxPerUser))
	dst = append(dst, flag(a.Policy.Refuse))
	return binary.AppendVarint(dst, int64(a.Policy.Stale))
}

func (d *decoder) attach() (a session.Attach) {
	a.ID, a.User = d.ID(), d.String()
	if d.Bool() {
		if a.Params = d.Params(); a.Params == nil {
			a.Params = map[string]string{}
		}
	}
	a.Place = d.Place()
	a.Policy.TTL, a.Policy.MaxPerUser = d.Duration(), int(d.Varint())
	a.Policy.Refuse, a.Policy.Stale = d.Bool(), d.Duration()
	return a
}

// appendAttached appends the result of opAttach.
func appendAttached(dst []byte, a session.Attached) []byte {
	dst = append(sessionwire.AppendSession(dst, a.Session), flag(a.Resumed))
	return sessionwire.AppendSessions(sessionwire.AppendPlace(dst, a.Replaced), a.Evicted)
}

func (d *decoder) attached() session.Attached {
	return session.Attached{Session: d.Session(), Resumed: d.Bool(), Replaced: d.Place(), Evicted: d.Sessions(maxEvicted)}
}

// appendReserved appends the result of opReserve, which takes nothing from other connections.
func appendReserved(dst []byte, a session.Attached) []byte {
	return append(sessionwire.AppendSession(dst, a.Session), flag(a.Resumed), flag(a.Pending))
}

func (d *decoder) reserved() session.Attached {
	return session.Attached{Session: d.Session(), Resumed: d.Bool(), Pending: d.Bool()}
}

// appendClaimed appends the result of opClaim.
func appendClaimed(dst []byte, a session.Attached) []byte {
	return append(appendAttached(dst, a), flag(a.Pending))
}

func (d *decoder) claimed() session.Attached {
	a := d.attached()
	a.Pending = d.Bool()
	return a
}

func flag(is bool) byte {
	if is {
		return 1
	}
	return 0
}

func appendPage(dst []byte, p session.Page) []byte {
	return binary.AppendVarint(sessionwire.AppendTime(append(dst, p.ID[:]...), p.Created), int64(p.Max))
}

func (d *decoder) page() session.Page {
	return session.Page{ID: d.ID(), Created: d.Time(), Max: int(d.Varint())}
}

// maxEvicted limits the evicted sessions in an answer. opAttach evicts any number at once.
const maxEvicted = 1 << 20
