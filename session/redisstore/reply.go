package redisstore

import (
	"errors"
	"strconv"
	"time"

	"github.com/redis/rueidis"

	"github.com/expedite-go/expedite/internal/sessionwire"
	"github.com/expedite-go/expedite/session"
)

// errReply says that Redis answers something that no script of ours does.
var errReply = errors.New("session: Redis: reply not understood")

// isSet reads a flag of a script.
func isSet(m rueidis.RedisMessage) bool {
	text, _ := m.ToString() // a script writes it
	return text == "1"
}

func flag(b bool) string {
	if b {
		return "1"
	}
	return "0"
}

func microsText(t time.Time) string { return strconv.FormatInt(sessionwire.Micros(t), 10) }

func millisText(d time.Duration) string { return strconv.FormatInt(d.Milliseconds(), 10) }

// parsePair reads an id and its session.
func parsePair(m rueidis.RedisMessage) (session.Session, error) {
	pair, err := m.ToArray()
	if err != nil || len(pair) != 2 {
		return session.Session{}, errReply
	}
	return parseEntry(pair[0], pair[1])
}

func parseEntry(name, fields rueidis.RedisMessage) (session.Session, error) {
	text, err := name.ToString()
	if err != nil {
		return session.Session{}, errReply
	}
	id, err := session.ParseID(text)
	if err != nil {
		return session.Session{}, errReply
	}
	list, err := fields.ToArray()
	if err != nil {
		return session.Session{}, errReply
	}
	return parseFields(id, list)
}

// parseFields reads the fields of a session in the order of the scripts.
func parseFields(id session.ID, f []rueidis.RedisMessage) (session.Session, error) {
	if len(f) != 7 {
		return session.Session{}, errReply
	}
	var text [7]string
	for i := range f {
		text[i], _ = f[i].ToString() // what is missing is empty
	}
	number := func(s string) int64 {
		n, _ := strconv.ParseInt(s, 10, 64) // scripts write numbers
		return n
	}
	s := session.Session{
		ID: id, User: text[0],
		Created: sessionwire.FromMicros(number(text[2])), Seen: sessionwire.FromMicros(number(text[3])),
		TTL: time.Duration(number(text[4])) * time.Millisecond, Place: parsePlace(f[5], f[6]),
	}
	if text[1] != "" {
		s.Params = sessionwire.NewDecoder([]byte(text[1])).Params()
	}
	return s, nil
}

func parsePlace(node, conn rueidis.RedisMessage) session.Place {
	text, _ := conn.ToString() // a script writes it
	n, _ := strconv.ParseUint(text, 10, 64)
	if n == 0 {
		return session.Place{}
	}
	name, _ := node.ToString()
	return session.Place{Node: name, Conn: n}
}
