package presence

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/expedite-go/expedite/backplane"
	"github.com/expedite-go/expedite/internal/record"
	"github.com/expedite-go/expedite/internal/topic"
)

// ErrState is returned if bytes are not a valid state of a Server.
var ErrState = errors.New("presence: bad state")

// inherited is the port of members that the program before knew, until the workers have told everything. The hub begins
// with 1.
const inherited = 0

// before is what a Server has from the program before.
type before struct {
	rules topic.Rules[struct{}] // its rules
	until time.Duration         // when to stop waiting for the workers; 0 is not before Settle
}

// covers reports whether the program before did not know who is in a topic: those who are there now were there before,
// and nobody is told of them.
func (b *before) covers(name string) bool {
	if b == nil {
		return false
	}
	_, covered := b.rules.Find(name)
	return !covered
}

// The tags of a state. A tag never changes its meaning.
const (
	tagRule   = 1 // text of a pattern
	tagTopic  = 2 // name
	tagMember = 3 // of the topic before it
	tagNew    = 4 // a member that others were not told of
	// tagShare has what is known of the topic before it: epoch and number of announcements, those of the latest that was
	// heard. tagFormer has an attendance that the next program ends.
	tagShare  = 5
	tagFormer = 6
)

// AppendState appends the state of the Server to dst and returns the result. A primary that replaces its program passes
// it to LoadState.
func (s *Server) AppendState(dst []byte) []byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	for pattern := range s.cfg.Rules.All() {
		dst = record.Append(dst, tagRule, pattern.String())
	}
	var b []byte
	for name, at := range s.roster.rooms {
		dst = record.Append(dst, tagTopic, name)
		told, heard := at.share.standing, at.share.heard
		b = b[:0]
		for _, n := range []uint64{told.Epoch, told.Announced, heard.Epoch, heard.Announced} {
			b = binary.AppendUvarint(b, n)
		}
		dst = record.Append(dst, tagShare, b)
		for _, m := range at.members {
			tag := byte(tagMember)
			if s.cfg.Plane != nil && !m.shared.known {
				tag = tagNew
			}
			if m.present {
				b = m.append(b[:0])
				dst = record.Append(dst, tag, b)
			}
		}
	}
	former := make(map[uint64]bool)
	for _, p := range s.parts {
		for _, id := range append(slices.Clone(p.former), p.id) {
			if id != 0 && !former[id] {
				former[id] = true
				dst = record.AppendUint64(dst, tagFormer, id)
			}
		}
	}
	return dst
}

// LoadState makes this Server continue with the state of another one, before Start. Settle tells when all workers are
// known. On an error, which is ErrState, nothing has changed that matters.
func (s *Server) LoadState(state []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.before = new(before)
	name := ""
	var told, heard backplane.Standing
	d := record.NewDecoder(state)
	for d.More() {
		switch tag, value := d.Next(); tag {
		case tagRule:
			p, err := topic.ParsePattern(string(value))
			if err != nil {
				return fmt.Errorf("%w: %w", ErrState, err)
			}
			s.before.rules.Add(p, struct{}{})
		case tagTopic:
			name = string(value)
		case tagMember, tagNew:
			m, err := parseMember(value)
			if err != nil {
				return fmt.Errorf("%w: %w", ErrState, err)
			}
			s.roster.Enter(inherited, name, m, tag == tagMember || s.cfg.Plane == nil)
			if at := s.roster.rooms[name]; at != nil {
				at.share.standing, at.share.heard = told, heard
			}
		case tagShare:
			v := record.NewDecoder(value)
			told = backplane.Standing{Epoch: v.Uvarint(), Announced: v.Uvarint()}
			heard = backplane.Standing{Epoch: v.Uvarint(), Announced: v.Uvarint()}
			if err := v.End(); err != nil {
				return fmt.Errorf("%w: %w", ErrState, err)
			}
		case tagFormer:
			v := record.NewDecoder(value)
			id := v.Uint64()
			if err := v.End(); err != nil {
				return fmt.Errorf("%w: %w", ErrState, err)
			}
			for _, p := range s.parts { // the program before may have had others
				p.former = append(p.former, id)
			}
		}
	}
	if err := d.End(); err != nil {
		return fmt.Errorf("%w: %w", ErrState, err)
	}
	s.stats.Joins = 0
	return nil
}

// Settle removes the members that no worker has reported. Call it when all workers have reported theirs.
func (s *Server) Settle() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.before != nil {
		s.before.until = s.now() + settleLimit
	}
	s.signal()
}

// settle reports, once, that all workers have told everything, or that it was waited for long enough.
func (s *Server) settle() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.before == nil || s.before.until == 0 {
		return false
	}
	for _, complete := range s.ports {
		if !complete && s.now() < s.before.until {
			return false
		}
	}
	s.before = nil
	return true
}
