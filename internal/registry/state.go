package registry

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/expedite-go/expedite/internal/denylist"
)

// State is what a Server leaves to that of the program which replaces this one, beside the sessions and the denials,
// which are in files: they may be many. It is written as JSON; fields may be added.
type State struct {
	Node    string           `json:"node,omitempty"`
	Denials []denylist.Entry `json:"denials,omitempty"` // for programs that know no file of them; empty if there are many
	// Current reports that the revocations of other machines are known.
	Current bool `json:"current,omitempty"`
	// Keys is an auth.Snapshot, and Tickets a ratchet.Ratchet.
	Keys    []byte `json:"keys,omitempty"`
	Tickets []byte `json:"tickets,omitempty"`
	// Certificates are what Config.Certificates has returned.
	Certificates []byte `json:"certificates,omitempty"`
}

const (
	// maxStateDenials bounds the values of State.Denials in bytes: early releases find them there only.
	maxStateDenials = 8 << 20
	stateBuffer     = 1 << 20
)

// Save writes the sessions and the denials into files, from their beginning, and returns the rest.
func (s *Server) Save(sessions, denials *os.File) (State, error) {
	list := s.deny.All(time.Now())
	if err := errors.Join(s.saveSessions(sessions), saveDenials(denials, list)); err != nil {
		return State{}, err
	}
	size := 0
	for _, d := range list {
		size += len(d.Value)
	}
	if size > maxStateDenials {
		list = nil
	}
	return State{
		Node: s.node, Denials: list, Current: s.ownHealth().Current, Keys: s.exchangeKeys(nil), Tickets: s.tickets.bytes(),
		Certificates: s.keptCertificates(),
	}, nil
}

func (s *Server) saveSessions(f *os.File) error {
	w, err := overwrite(f)
	if err != nil {
		return err
	}
	if err := s.memory.WriteState(w); err != nil {
		return fmt.Errorf("expedite: %w", err)
	}
	return w.Flush()
}

func saveDenials(f *os.File, list []denylist.Entry) error {
	w, err := overwrite(f)
	if err != nil {
		return err
	}
	var b []byte
	for _, d := range list {
		b = denylist.Append(b[:0], d)
		if _, err := w.Write(b); err != nil {
			return fmt.Errorf("expedite: %w", err)
		}
	}
	return w.Flush()
}

// overwrite returns a writer that begins at the beginning of an emptied file.
func overwrite(f *os.File) (*bufio.Writer, error) {
	if err := f.Truncate(0); err != nil {
		return nil, fmt.Errorf("expedite: %w", err)
	}
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return nil, fmt.Errorf("expedite: %w", err)
	}
	return bufio.NewWriterSize(f, stateBuffer), nil
}

// Load takes over what the program before this one saved, and closes the files. Programs that knew nothing of sessions
// or denials left no file: nil. It must be called before Start.
func (s *Server) Load(state State, sessions, denials *os.File) error {
	if state.Node != "" {
		s.node = state.Node
	}
	_ = s.exchangeKeys(state.Keys)
	s.tickets.restore(state.Tickets)
	if state.Current { // else workers would admit nobody until the feed has been read again
		s.health.Current = true
	}
	list := state.Denials
	if denials != nil {
		defer denials.Close()
		more, err := loadDenials(denials)
		if err != nil {
			return err
		}
		list = append(list, more...)
	}
	if s.deny.Max > 0 || len(list) > denylist.DefaultMax {
		s.deny.Max = max(s.deny.Max, len(list)) // they stay in force, whatever the limit of this program
	}
	for _, d := range list {
		if err := s.deny.Add(d, time.Now()); err != nil {
			return fmt.Errorf("expedite: %w", err)
		}
	}
	if sessions == nil {
		return nil
	}
	defer sessions.Close()
	if _, err := sessions.Seek(0, io.SeekStart); err != nil {
		return fmt.Errorf("expedite: %w", err)
	}
	if err := s.memory.ReadState(bufio.NewReaderSize(sessions, stateBuffer)); err != nil {
		return fmt.Errorf("expedite: sessions of the program before: %w", err)
	}
	return nil
}

func loadDenials(f *os.File) ([]denylist.Entry, error) {
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return nil, fmt.Errorf("expedite: %w", err)
	}
	b, err := io.ReadAll(f)
	if err != nil {
		return nil, fmt.Errorf("expedite: %w", err)
	}
	list, err := parseDenials(b)
	if err != nil {
		return nil, fmt.Errorf("expedite: revocations of the program before: %w", err)
	}
	return list, nil
}
