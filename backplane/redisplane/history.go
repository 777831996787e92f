package redisplane

import (
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"time"
	"unsafe"

	"github.com/redis/rueidis"

	"github.com/expedite-go/expedite/backplane"
)

// Append implements backplane.History. It is one command for Redis, like Publish.
func (r *Redis) Append(topic string, one backplane.Append, done func(backplane.Position, error)) error {
	err := r.append(topic, one, done)
	if err != nil {
		r.refused.Add(1)
	}
	return err
}

func (r *Redis) append(topic string, one backplane.Append, done func(backplane.Position, error)) error {
	if err := r.check(topic, len(one.Payload)); err != nil {
		return err
	}
	if one.Key.Number > backplane.MaxNumber {
		return fmt.Errorf("%w: the number %d", backplane.ErrTooLarge, one.Key.Number)
	}
	return r.shard(topic).append(topic, one, done)
}

// Read implements backplane.History.
func (r *Redis) Read(topic string, what backplane.Range, done func(backplane.Page, error)) error {
	after := strconv.FormatUint(min(what.After, backplane.MaxNumber), 10)
	if what.Newest > 0 {
		after = strconv.Itoa(-what.Newest)
	}
	return r.ask(topic, r.scripts.read, done, after, limit(what.Messages), limit(what.Bytes),
		newEpoch(), strconv.Itoa(what.Keep.Messages), milliseconds(what.Keep.For))
}

// Renew implements backplane.History.
func (r *Redis) Renew(topic string, epoch uint64, done func(backplane.Page, error)) error {
	return r.ask(topic, r.scripts.renew, done, strconv.FormatUint(epoch, 10), newEpoch())
}

func (r *Redis) ask(topic string, what *script, done func(backplane.Page, error), args ...string) error {
	if err := r.check(topic, 0); err != nil {
		return err
	}
	s := r.shard(topic)
	return s.out.ask(s.prefix+topic, question{script: what, keys: s.keys(topic), args: args, done: done})
}

// append queues a message that is kept.
func (s *shard) append(topic string, one backplane.Append, done func(backplane.Position, error)) error {
	return s.out.publish(message{
		channel: s.prefix + topic, payload: string(one.Payload),
		call: &appending{key: one.Key, keep: one.Keep, done: done},
	})
}

// keys returns the names of the stream and the hash of a topic.
func (s *shard) keys(topic string) [2]string { return keysOf(s.keyPrefix, s.prefix, topic) }

// appending is what an appended message has that a published one has not.
type appending struct {
	key  backplane.Key
	keep backplane.Retention
	done func(backplane.Position, error)
}

// args returns the arguments of the script for an appended message.
func (m *message) args(before uint64, sharded bool) []string {
	c, command := m.call, "PUBLISH"
	if sharded {
		command = "SPUBLISH"
	}
	return []string{
		publisherName(c.key.Publisher), strconv.FormatUint(c.key.Number, 10), strconv.FormatUint(before, 10), m.payload,
		newEpoch(), strconv.Itoa(c.keep.Messages), milliseconds(c.keep.For), command, m.channel,
	}
}

// publisherName returns the name of a publisher in the hash.
func publisherName(publisher uint64) string { return strconv.FormatUint(publisher, 36) }

func newEpoch() string { return strconv.FormatUint(1+rand.Uint64N(1<<64-1), 10) }

func milliseconds(d time.Duration) string { return strconv.FormatInt(max(d.Milliseconds(), 1), 10) }

// limit returns the argument of a limit, of which 0 is none.
func limit(n int) string {
	if n <= 0 {
		return strconv.Itoa(backplane.MaxNumber)
	}
	return strconv.Itoa(n)
}

// positionOf reads the answer to an appended message.
func positionOf(r rueidis.RedisResult) (at backplane.Position, err error) {
	text, err := r.ToString()
	if err != nil {
		return at, errAnswer
	}
	epoch, offset, _ := strings.Cut(text, " ")
	if at, ok := parsePosition(epoch, offset); ok {
		return at, nil
	}
	return at, errAnswer
}

// parsePosition reads an epoch and an offset.
func parsePosition(epoch, offset string) (at backplane.Position, ok bool) {
	var errs [2]error
	at.Epoch, errs[0] = strconv.ParseUint(epoch, 10, 64)
	at.Offset, errs[1] = strconv.ParseUint(offset, 10, 64)
	return at, errs[0] == nil && errs[1] == nil
}

func epochOf(m rueidis.RedisMessage) (uint64, error) {
	text, err := m.ToString()
	if err != nil {
		return 0, errAnswer
	}
	epoch, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		return 0, errAnswer
	}
	return epoch, nil
}

func offsetOf(m rueidis.RedisMessage) (uint64, error) {
	offset, err := m.AsInt64()
	if err != nil || offset < 0 {
		return 0, errAnswer
	}
	return uint64(offset), nil
}

// pageOf reads the answer to a question.
func pageOf(r rueidis.RedisResult) (p backplane.Page, err error) {
	list, err := r.ToArray()
	if err != nil || len(list) < 3 || len(list)%2 != 1 {
		return p, errAnswer
	}
	if p.Epoch, err = epochOf(list[0]); err != nil {
		return p, err
	}
	if p.Begin, err = offsetOf(list[1]); err != nil {
		return p, err
	}
	if p.Head, err = offsetOf(list[2]); err != nil {
		return p, err
	}
	for list = list[3:]; len(list) > 0; list = list[2:] {
		offset, err := offsetOf(list[0])
		if err != nil {
			return p, err
		}
		payload, err := list[1].ToString()
		if err != nil {
			return p, errAnswer
		}
		bytes := unsafe.Slice(unsafe.StringData(payload), len(payload)) // nothing else refers to it
		p.Entries = append(p.Entries, backplane.Entry{Offset: offset, Payload: bytes})
	}
	if p.Epoch == 0 {
		return p, errNoEpoch
	}
	return p, nil
}

// mark is the first byte of appended messages. A published one that begins with it gets it twice.
const mark = 0

// escape returns what is sent of a published message.
func escape(payload []byte) string {
	if len(payload) > 0 && payload[0] == mark {
		return "\x00" + string(payload)
	}
	return string(payload)
}

// unmark returns the payload of a message that has arrived, and its position.
func unmark(text string) (payload string, at backplane.Position, ok bool) {
	if text == "" || text[0] != mark {
		return text, at, true
	}
	if len(text) > 1 && text[1] == mark {
		return text[1:], at, true
	}
	epoch, rest, _ := strings.Cut(text[1:], " ")
	offset, payload, found := strings.Cut(rest, " ")
	at, ok = parsePosition(epoch, offset)
	return payload, at, found && ok && at.Epoch != 0 && at.Offset != 0
}

var _ backplane.History = (*Redis)(nil)
