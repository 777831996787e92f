package primary

import (
	"fmt"
	"io"
	"os"

	"github.com/expedite-go/expedite/backplane"
	"github.com/expedite-go/expedite/internal/control"
	"github.com/expedite-go/expedite/internal/presence"
	"github.com/expedite-go/expedite/internal/relay"
	"github.com/expedite-go/expedite/internal/telemetry"
)

// trackPresence finds out who is in topics, if there are rules for any. A program that has replaced another one goes on
// with what that knew.
func (p *Primary) trackPresence() error {
	left := p.before.file(filePresence)
	if left != nil {
		defer left.Close()
	}
	if p.cfg.Presence.Rules.Len() == 0 {
		return nil
	}
	c := p.cfg.Presence
	c.Hub, c.Prefix = p.workers.hub, relay.AnnouncementPrefix()
	c.Plane, _ = p.cfg.Plane.(backplane.Presence)
	c.Log = p.cfg.logger()
	p.presence = presence.NewServer(c)
	if p.before != nil {
		if err := loadPresence(p.presence, left); err != nil {
			return fmt.Errorf("expedite: %w", err)
		}
	}
	p.cfg.Members = p.presence
	p.workers.hub.Track(p.presence)
	p.registry.OnPresence(p.presence.Serve)
	return nil
}

// loadPresence loads what the program before has left; nil is nothing.
func loadPresence(s *presence.Server, left *os.File) error {
	var state []byte
	if left != nil {
		if _, err := left.Seek(0, io.SeekStart); err != nil {
			return err
		}
		var err error
		if state, err = io.ReadAll(left); err != nil {
			return err
		}
	}
	return s.LoadState(state)
}

// savePresence writes what the next program has to know into a file, from its beginning.
func (w *inheritanceWriter) savePresence(f *os.File) error {
	if err := f.Truncate(0); err != nil {
		return fmt.Errorf("expedite: %w", err)
	}
	if w.presence == nil {
		return nil
	}
	if _, err := f.WriteAt(w.presence.AppendState(nil), 0); err != nil {
		return fmt.Errorf("expedite: %w", err)
	}
	return nil
}

// suspendPresence prepares the replacement of this program. undo is for a program that was not replaced.
func (w *inheritanceWriter) suspendPresence() (undo func()) {
	if w.presence == nil {
		return func() {}
	}
	w.presence.Suspend()
	return w.presence.Resume
}

func presenceStatus(s *presence.Server) *control.PresenceStatus {
	if s == nil {
		return nil
	}
	now := s.Stats()
	st := &control.PresenceStatus{Topics: int64(now.Topics), Members: int64(now.Members), Events: now.Counters()}
	if now.Err != nil {
		st.Degraded, st.Cause = true, now.Err.Error()
	}
	return st
}

func presenceReport(s *presence.Server) *telemetry.PresenceReport {
	if s == nil {
		return nil
	}
	now := s.Stats()
	return &telemetry.PresenceReport{Topics: now.Topics, Members: now.Members, Up: now.Err == nil, Events: now.Counters()}
}
