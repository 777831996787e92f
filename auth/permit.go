package auth

import "strings"

// Action is what a client wants to do with a topic.
type Action uint8

// The actions.
const (
	ActionSubscribe Action = iota // to hear what is published
	ActionPublish                 // to publish
)

// String is the action in one word.
func (a Action) String() string {
	switch a {
	case ActionSubscribe:
		return "subscribe"
	case ActionPublish:
		return "publish"
	default:
		return "unknown"
	}
}

// Permit says whether a client may do something with a topic. A nil Identity is an anonymous client. Any goroutine may
// call it; it does not block.
type Permit func(id *Identity, a Action, topic string) bool

// ClaimPermit makes a Permit of two claims, each a topic pattern or a list of them: a topic's name, one that ends with
// * for all topics that begin so, or * alone. {user} in it stands for the user's own name, in which a * is no pattern.
//
//	{"sub": "alice", "subscribe": ["lobby", "user.{user}.*"], "publish": ["lobby"]}
//
// A claim that is absent restricts nothing, and neither does one whose name is empty; one that makes no sense allows
// nothing, nor does an Identity that is Partial. An anonymous client has no claims, and may do everything: require a
// token where it may not.
func ClaimPermit(subscribeClaim, publishClaim string) Permit {
	return func(id *Identity, a Action, topic string) bool {
		var name string
		switch a {
		case ActionSubscribe:
			name = subscribeClaim
		case ActionPublish:
			name = publishClaim
		default:
			return false
		}
		if id == nil || name == "" {
			return true
		}
		claim, there := id.Claims[name]
		if !there {
			return !id.Partial
		}
		patterns, ok := texts(claim)
		if !ok {
			return false
		}
		allowed := false
		for _, p := range patterns {
			if !isPattern(p) {
				return false
			}
			allowed = allowed || matchTopic(p, id.User, topic)
		}
		return allowed
	}
}

// isPattern says whether p may stand in a claim: * is nowhere but at the end.
func isPattern(p string) bool {
	return p != "" && !strings.Contains(p[:len(p)-1], "*")
}

// userPlaceholder stands for the user's name.
const userPlaceholder = "{user}"

// matchTopic compares a topic with a pattern, piece by piece.
func matchTopic(pattern, user, topic string) bool {
	pattern, open := strings.CutSuffix(pattern, "*")
	for {
		text, rest, found := strings.Cut(pattern, userPlaceholder)
		var ok bool
		if topic, ok = strings.CutPrefix(topic, text); !ok {
			return false
		}
		if !found {
			return open || topic == ""
		}
		if topic, ok = strings.CutPrefix(topic, user); !ok || user == "" {
			return false
		}
		pattern = rest
	}
}
