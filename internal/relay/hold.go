package relay

// hold is what this machine has published on a topic since it has not listened to it for a time. It is sent one after
// the other until the topic is listened to, and what others have published was read: a history that is shorter than
// that list would lose it before. Should it not be possible to listen, all of it is sent in this way.
type hold struct {
	on   bool
	list []*own // not sent yet
	sent *own   // the latest of them that was
}

// sendHeld sends what is held, as far as it may be. The hub waits meanwhile, so each call sends only some.
func (r *Relay) sendHeld(topic string, s *series) {
	h := &s.hold
	for sent := 0; len(h.list) > 0 && !r.suspended; {
		if h.on && h.sent != nil && !h.sent.settled() {
			return
		}
		if sent == positionsAtOnce {
			r.due(topic, r.now())
			return
		}
		o := h.list[0]
		if h.list = h.list[1:]; !o.sent && !o.settled() {
			r.sendOwn(topic, o)
			h.sent = o
			sent++
		}
	}
	if len(h.list) == 0 {
		h.list = nil
	}
	if !h.on {
		h.sent = nil
	}
}

// settled reports whether a publication of this machine has a place, gets none, or is not waited for any more.
func (o *own) settled() bool { return o.lost || o.gone || o.at.Epoch != 0 }
