package presence

import "github.com/expedite-go/expedite/backplane"

// Announced takes an announcement of the store, without its prefix. It does not block.
func (s *Server) Announced(topic string, payload []byte) { s.put(announcement(topic, payload)) }

// Interrupted tells that the connection to the store of topics was lost: what it knows is uncertain. It does not block.
func (s *Server) Interrupted(topics []string) {
	told := make(map[*part]bool, len(s.parts))
	for _, topic := range topics {
		if len(told) == len(s.parts) {
			return
		}
		if p := s.parts[s.partOf(topic)]; !told[p] {
			told[p] = true
			p.interrupt()
		}
	}
}

// hear tells the subscribers of an announcement, unless it came again. s.mu must be held.
func (s *Server) hear(topic string, payload []byte) {
	at := s.roster.rooms[topic]
	a, err := backplane.ParseAnnouncement(payload)
	if at == nil || err != nil {
		return
	}
	heard := &at.share.heard
	if heard.Epoch == a.Epoch {
		if a.Announced <= heard.Announced {
			return
		}
		if n := a.Announced - heard.Announced - 1; n > 0 {
			s.miss(at, n)
		}
	}
	at.share.setHeard(a.Standing)
	if a.Joined {
		at.share.loss.net++
	} else {
		at.share.loss.net--
	}
	if e, told := EventOf(a.Joined, a.Count, at.rule.MaxListed, Member(a.Member)); told && !at.rule.Silent {
		s.stats.Heard++
		s.add(topic, e)
	}
}

// expect finds out whether the latest announcement was heard that the store has told of. s.mu must be held.
func (s *Server) expect(at *room) {
	heard, told := &at.share.heard, at.share.standing
	if heard.Epoch == told.Epoch && heard.Announced >= told.Announced {
		return
	}
	if heard.Epoch == told.Epoch {
		s.miss(at, told.Announced-heard.Announced)
	}
	at.share.setHeard(told)
}

// setHeard notes the latest announcement.
func (h *share) setHeard(now backplane.Standing) {
	if h.heard.Epoch != now.Epoch {
		h.loss.net = 0
	}
	h.heard = now
}

// miss notes that announcements were missed. s.mu must be held.
func (s *Server) miss(at *room, n uint64) {
	s.stats.Missed += n
	if !at.rule.Silent {
		s.events = append(s.events, told{topic: at.topic, missed: n})
	}
	s.signal()
}
