package redisplane

import (
	"strconv"
	"strings"
)

// keysOf returns the names of the stream and the hash of a topic. In a cluster, they are in the slot of its channel,
// whose braces decide on that.
func keysOf(prefix, channelPrefix, topic string) [2]string {
	name := slotName(prefix, "history:", channelPrefix+topic)
	return [2]string{name + ":s", name + ":m"}
}

// slotName returns a name that begins with prefix and kind, and is in the slot of a channel whatever follows.
func slotName(prefix, kind, channel string) string {
	name := prefix + kind
	switch {
	case tagged(channel):
		name += channel[len(prefix):] // which has the same braces
	case !strings.Contains(channel, "}"):
		name += "{" + channel + "}"
	default:
		name += "{" + tagOf(slot(channel)) + "}" + channel
	}
	return name
}

// tagged reports whether a part of a name in braces tells its slot.
func tagged(name string) bool {
	_, rest, found := strings.Cut(name, "{")
	return found && strings.IndexByte(rest, '}') > 0
}

// tagOf returns a short text in a slot. Finding it takes about a millisecond.
func tagOf(want uint16) string {
	for i := 0; ; i++ {
		if text := strconv.Itoa(i); slot(text) == want {
			return text
		}
	}
}
