package lobby

import "github.com/expedite-go/expedite"

// Event is the message that tells clients who has come to the lobby, or has gone.
type Event struct {
	Type   string          `json:"type"` // join, leave, crowded or listed
	Topic  string          `json:"topic"`
	Member expedite.Member `json:"member"`
	Count  int             `json:"count"`
}

// tell makes the rules tell clients of events.
func tell(rules []expedite.PresenceRule) {
	for i := range rules {
		rules[i].Event = func(e expedite.PresenceEvent) expedite.Message {
			m, _ := expedite.JSON(Event{Type: e.Kind.String(), Topic: e.Topic, Member: e.Member, Count: e.Count}) // never fails
			return m
		}
	}
}
