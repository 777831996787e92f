package redisplane

import (
	"cmp"
	"fmt"
	"strings"

	"github.com/redis/rueidis"

	"github.com/expedite-go/expedite/backplane"
	"github.com/expedite-go/expedite/internal/redisconn"
)

// outcome is what has become of a batch.
type outcome struct {
	again []message
	// parked is what the server does not take for a reason that concerns histories only: it is full, or a slot moves.
	parked   []message
	dropped  int
	dropErr  error
	err      error  // why messages have to be sent again, unless they may be at once
	parkErr  error  // why messages are parked
	moved    string // where the server of one of them is
	lost     bool   // the connection is of no use any more
	noScript bool   // the server does not know the script
	told     []told
}

// told is a call of done that is due.
type told struct {
	done    func(backplane.Position, error)
	channel string
	key     backplane.Key
	at      backplane.Position
	err     error
}

// refuse drops a message.
func (o *outcome) refuse(m *message, err error) {
	o.dropped++
	o.dropErr = err
	if m.call != nil {
		o.told = append(o.told, told{done: m.call.done, err: fmt.Errorf("%w: %w", backplane.ErrRefused, err)})
	}
}

// fate is what becomes of the messages that follow one that has failed, on the same channel.
type fate uint8

const (
	sentAgain fate = iota + 1
	parked
)

// judge tells from the answers what has become of a batch. What follows a message that failed, on the same channel, is
// sent again as well, to keep their order. The script takes care of that for appended messages. The first failure on a
// channel decides whether all of them are parked: otherwise they would overtake each other.
func judge(batch []message, results []rueidis.RedisResult) (o outcome) {
	var failed map[string]fate
	for i, r := range results {
		m, err := batch[i], r.Error()
		then := failed[m.channel]
		switch {
		case err == nil && m.call != nil:
			at, err := positionOf(r)
			if err != nil {
				o.refuse(&m, err)
				continue
			}
			o.told = append(o.told, told{done: m.call.done, channel: m.channel, key: m.call.key, at: at})
			continue
		case err == nil && then == 0:
			continue
		case err == nil:
			m.tried = true
		case m.call != nil && strings.HasPrefix(reply(err), notInOrder), isNoScript(err):
			o.noScript = o.noScript || isNoScript(err)
			then = cmp.Or(then, sentAgain)
		case hopeless(err):
			o.refuse(&m, explain(err))
			continue
		case m.call != nil && parks(err):
			if then = cmp.Or(then, parked); then == parked {
				o.parkErr = explain(err)
			}
		default:
			o.err = explain(err)
			if addr := movedTo(err); addr != "" {
				o.moved = addr
			}
			if reply(err) == "" {
				o.lost, m.tried = true, true
			}
			then = cmp.Or(then, sentAgain)
		}
		if failed == nil {
			failed = make(map[string]fate)
		}
		failed[m.channel] = then
		if then == parked {
			o.parked = append(o.parked, m)
		} else {
			o.again = append(o.again, m)
		}
	}
	return o
}

// parks reports whether an answer means that a server that works does not take messages of histories for now: it is
// full, for example, or a permission is missing, or keys of the topic are at the server to which its slot is moving.
// ASK is not followed: until the slot has moved, its subscribers are here.
func parks(err error) bool {
	text := reply(err)
	if text == "" || !redisconn.Passing(err) {
		return false
	}
	for _, start := range []string{"MOVED ", "CLUSTERDOWN", "LOADING ", "MASTERDOWN ", "BUSY "} {
		if strings.HasPrefix(text, start) {
			return false
		}
	}
	return true
}

func isNoScript(err error) bool {
	e, ok := rueidis.IsRedisErr(err)
	return ok && e.IsNoScript()
}
