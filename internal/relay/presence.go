package relay

// Presence takes what the backplane announces of the members of topics. Its methods must not block.
type Presence interface {
	// Announced takes an announcement, without its prefix.
	Announced(topic string, announcement []byte)
	// Interrupted tells that announcements of topics may be missed, and that the backplane may have lost what it knew.
	Interrupted(topics []string)
}

// AnnouncementPrefix returns what announcements begin with: see backplane.Change.Prefix.
func AnnouncementPrefix() []byte { return []byte{byte(news)} }

// isAnnouncement reports whether a payload is one.
func isAnnouncement(payload []byte) bool { return len(payload) > 0 && payload[0] == byte(news) }

// tellNews passes on an announcement.
func (r *Relay) tellNews(topic string, payload []byte) {
	if r.Presence == nil {
		return // this program has no rules for it
	}
	r.Presence.Announced(topic, payload[1:])
}
