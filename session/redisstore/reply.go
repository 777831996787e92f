package redisstore

import (
	"errors"
	"strconv"
	"time"

	"github.com/redis/rueidis"

	"github.com/expedite-go/expedite/internal/sessionwire"
	"github.com/expedite-go/expedite/session"
)

// errReply means that a reply is not one of our scripts'.
var errReply = errors.New("session: Redis: unexpected reply")

// parsePairs parses a list of ids and their sessions.
func parsePairs(reply rueidis.RedisMessage) ([]session.Session, error) {
	pairs, err := reply.ToArray()
	if err != nil {
		return nil, errReply
	}
	list := make([]session.Session, 0, len(pairs))
	for _, one := range pairs {
		pair, err := one.ToArray()
		if err != nil || len(pair) != 2 {
			return nil, errReply
		}
		s, err := parseEntry(pair[0], pair[1])
		if err != nil {
			return nil, err
		}
		list = append(list, s)
	}
	return list, nil
}

// parseEntry parses an id and its session.
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

// parseFields parses the fields of a session: user, parameters, created, seen, TTL, node, connection.
func parseFields(id session.ID, fields []rueidis.RedisMessage) (session.Session, error) {
	if len(fields) != 7 {
		return session.Session{}, errReply
	}
	var text [7]string
	for i := range fields {
		text[i], _ = fields[i].ToString() // a missing field is empty
	}
	number := func(s string) int64 {
		n, _ := strconv.ParseInt(s, 10, 64) // only our scripts write it
		return n
	}
	s := session.Session{
		ID: id, User: text[0],
		Created: sessionwire.FromMicros(number(text[2])), Seen: sessionwire.FromMicros(number(text[3])),
		TTL: time.Duration(number(text[4])) * time.Millisecond, Place: parsePlace(fields[5], fields[6]),
	}
	if text[1] != "" {
		s.Params = sessionwire.NewDecoder([]byte(text[1])).Params()
	}
	return s, nil
}

func parsePlace(node, conn rueidis.RedisMessage) session.Place {
	text, _ := conn.ToString()
	n, _ := strconv.ParseUint(text, 10, 64) // only our scripts write it
	if n == 0 {
		return session.Place{}
	}
	name, _ := node.ToString()
	return session.Place{Node: name, Conn: n}
}

// isSet parses a flag.
func isSet(m rueidis.RedisMessage) bool {
	text, _ := m.ToString()
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
