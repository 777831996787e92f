package auth

import "strings"

// Action is what a client wants to do with a topic.
type Action uint8

// The actions.
const (
	ActionSubscribe Action = iota // receive publications
	ActionPublish                 // publish
)

// String returns the action as a word.
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

// Permit reports whether a client may perform an action on a topic. A nil Identity is an anonymous client. A Permit
// must be safe for concurrent use and must not block.
type Permit func(id *Identity, a Action, topic string) bool

// ClaimPermit returns a Permit that reads two claims. Each is a topic pattern or a list of them: the name of a topic, a
// prefix followed by *, or * alone. {user} is replaced by the user's name, in which a * is not a pattern.
//
//	{"sub": "alice", "subscribe": ["lobby", "user.{user}.*"], "publish": ["lobby"]}
//
// A missing claim restricts nothing, and neither does an empty claim name. A malformed claim allows nothing, and
// neither does an Identity that is Partial. An anonymous client has no claims and may do everything: where that is not
// wanted, require a token.
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

// isPattern reports whether p is a valid pattern: it has no * except at the end.
func isPattern(p string) bool {
	return p != "" && !strings.Contains(p[:len(p)-1], "*")
}

// userPlaceholder is replaced by the user's name.
const userPlaceholder = "{user}"

// matchTopic reports whether a topic matches a pattern.
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
