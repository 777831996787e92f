package certstore

import (
	"encoding/json"
	"errors"
	"io/fs"
	"time"
)

const failureSuffix = "+failed"

// Failure is what an authority has refused, for the process after this one: a server that is started again and again
// must not ask again and again.
type Failure struct {
	Refusals int       `json:"refusals"` // in a row
	At       time.Time `json:"at"`       // of the last one
	// Cause is what the authority has said then, or the beginning of it. Empty: unknown.
	Cause string `json:"cause,omitempty"`
}

// maxCause bounds a stored Cause in bytes: it is the text of another server.
const maxCause = 4 << 10

// Failure returns what WriteFailure has stored for a domain, or the zero Failure.
func (f Folder) Failure(domain string) (Failure, error) {
	var state Failure
	if err := CheckDomain(domain); err != nil {
		return state, err
	}
	b, err := f.read(domain + failureSuffix)
	if errors.Is(err, fs.ErrNotExist) {
		return state, nil
	}
	if err == nil {
		err = json.Unmarshal(b, &state)
	}
	if err != nil || state.Refusals < 0 {
		return Failure{}, err
	}
	return state, nil
}

// WriteFailure stores a Failure of a domain. The zero Failure removes it.
func (f Folder) WriteFailure(domain string, state Failure) error {
	if err := CheckDomain(domain); err != nil {
		return err
	}
	if state == (Failure{}) {
		return f.remove(domain + failureSuffix)
	}
	state.Cause = state.Cause[:min(len(state.Cause), maxCause)]
	b, err := json.Marshal(state)
	if err != nil {
		return err
	}
	return f.write(domain+failureSuffix, b)
}
