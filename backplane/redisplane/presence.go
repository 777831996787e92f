package redisplane

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"time"

	"github.com/redis/rueidis"

	"github.com/expedite-go/expedite/backplane"
	"github.com/expedite-go/expedite/internal/redisconn"
)

const (
	// clearStep is the number of members that are removed at once from an attendance that ends, and topicStep of topics.
	clearStep, topicStep = 128, 64
	// maxIndexed is the number of topics that are known to be in the set of topics of an attendance.
	maxIndexed = 100_000
)

// Attend implements backplane.Presence.
func (r *Redis) Attend(ctx context.Context, part int, lease time.Duration) (uint64, error) {
	s, err := r.at(part)
	if err != nil {
		return 0, err
	}
	id := 1 + rand.Uint64N(1<<64-1)
	if err := s.lease(ctx, id, lease, false); err != nil {
		return 0, err
	}
	return id, nil
}

// Extend implements backplane.Presence.
func (r *Redis) Extend(ctx context.Context, part int, id uint64, lease time.Duration) error {
	s, err := r.at(part)
	if err != nil {
		return err
	}
	return s.lease(ctx, id, lease, true)
}

// at returns a part.
func (r *Redis) at(part int) (*shard, error) {
	switch {
	case r.state.Load() != stateStarted:
		return nil, backplane.ErrClosed
	case part < 0 || part >= len(r.shards):
		return nil, fmt.Errorf("%w: there is no part %d", backplane.ErrRefused, part)
	}
	return r.shards[part], nil
}

// Change implements backplane.Presence.
func (r *Redis) Change(
	ctx context.Context, id uint64, topic string, c backplane.Change,
) (standing backplane.Standing, err error) {
	if err := r.check(topic, len(c.Prefix)); err != nil {
		return standing, err
	}
	n := len(c.Add) + len(c.Restore) + len(c.Keep)
	if n+len(c.Remove) > backplane.MaxChange {
		return standing, fmt.Errorf("%w: %d members at once", backplane.ErrTooLarge, n+len(c.Remove))
	}
	args := []string{
		newEpoch(), strconv.FormatUint(c.Knows.Epoch, 10), strconv.FormatUint(c.Knows.Announced, 10),
		strconv.Itoa(c.Max), string(c.Prefix), strconv.Itoa(n),
	}
	for kind, list := range map[string][]backplane.Member{"a": c.Add, "r": c.Restore, "k": c.Keep} {
		for _, m := range list {
			if m.ID == "" || len(m.ID) > backplane.MaxMember || len(m.Info) > backplane.MaxInfo {
				return standing, fmt.Errorf("%w: a member of %d and %d bytes", backplane.ErrTooLarge, len(m.ID), len(m.Info))
			}
			args = append(args, kind, m.ID, m.Info)
		}
	}
	return r.shard(topic).change(ctx, attendance(id), topic, append(args, c.Remove...), n > 0)
}

// Members implements backplane.Presence.
func (r *Redis) Members(ctx context.Context, topic string, most int) (m backplane.Members, err error) {
	if err := r.check(topic, 0); err != nil {
		return m, err
	}
	s := r.shard(topic)
	keys := s.memberKeys(topic, "")
	answer, err := s.call(ctx, s.members.members, keys[:1], strconv.Itoa(most))
	if err != nil {
		return m, err
	}
	list, err := answer.ToArray()
	if err != nil || len(list)%2 != 1 {
		return m, as(backplane.ErrUnavailable, errAnswer)
	}
	n, err := list[0].AsInt64()
	if err != nil {
		return m, as(backplane.ErrUnavailable, errAnswer)
	}
	m.Count = int(n)
	for list = list[1:]; len(list) > 0; list = list[2:] {
		id, errID := list[0].ToString()
		value, errValue := list[1].ToString()
		_, info, found := strings.Cut(value, " ")
		if errors.Join(errID, errValue) != nil || !found {
			return backplane.Members{}, as(backplane.ErrUnavailable, errAnswer)
		}
		m.List = append(m.List, backplane.Member{ID: id, Info: info})
	}
	return m, nil
}

// Retire implements backplane.Presence.
func (r *Redis) Retire(ctx context.Context, part int, id uint64) error {
	s, err := r.at(part)
	if err != nil {
		return err
	}
	return s.retire(ctx, attendance(id))
}

// Reap implements backplane.Presence.
func (r *Redis) Reap(ctx context.Context, part int) (retired int, err error) {
	s, err := r.at(part)
	if err != nil {
		return 0, err
	}
	answer, err := s.call(ctx, s.members.lapsed, []string{s.leases()})
	if err != nil {
		return 0, err
	}
	list, err := answer.AsStrSlice()
	if err != nil {
		return 0, as(backplane.ErrUnavailable, errAnswer)
	}
	for _, who := range list {
		if err := s.retire(ctx, who); err != nil {
			return retired, err
		}
		retired++
	}
	return retired, nil
}

// attendance returns the text of the id of an attendance.
func attendance(id uint64) string { return strconv.FormatUint(id, 36) }

// leases returns the key of the leases, and topicsOf that of the topics of an attendance.
func (s *shard) leases() string { return s.keyPrefix + "presence:leases" }

func (s *shard) topicsOf(who string) string { return s.keyPrefix + "presence:topics:" + who }

// memberKeys returns the keys of the members of a topic, of those of an attendance, and of the rest.
func (s *shard) memberKeys(topic, who string) []string {
	name := slotName(s.keyPrefix, "presence:", s.prefix+topic)
	return []string{name + ":m", name + ":o:" + who, name + ":i"}
}

// lease makes an attendance live, or live on.
func (s *shard) lease(ctx context.Context, id uint64, lease time.Duration, lives bool) error {
	must := "0"
	if lives {
		must = "1"
	}
	answer, err := s.call(ctx, s.members.lease, []string{s.leases()}, attendance(id), milliseconds(lease), must)
	if err != nil {
		return err
	}
	if n, err := answer.AsInt64(); err != nil || n != 1 {
		return backplane.ErrLapsed
	}
	return nil
}

// change runs the script that changes the members of a topic. The topic is in the set of those of the attendance before
// it has members, and as long as it has.
func (s *shard) change(
	ctx context.Context, who, topic string, args []string, adds bool,
) (standing backplane.Standing, err error) {
	if adds && !s.indexed(who, topic) {
		if _, err := s.do(ctx, "SADD", s.topicsOf(who), topic); err != nil {
			return standing, err
		}
		s.setIndexed(who, topic, true)
	}
	standing, left, err := s.runMembers(ctx, s.members.change, who, topic, args)
	if err != nil || left > 0 {
		return standing, err
	}
	s.setIndexed(who, topic, false)
	_, err = s.do(ctx, "SREM", s.topicsOf(who), topic)
	return standing, err
}

// runMembers runs a script that changes members. It returns the number of members that the attendance has left.
func (s *shard) runMembers(
	ctx context.Context, what redisconn.Script, who, topic string, args []string,
) (standing backplane.Standing, left int64, err error) {
	keys := s.memberKeys(topic, who)
	publish := "PUBLISH"
	if s.isSharded() {
		publish = "SPUBLISH"
	}
	answer, err := s.call(ctx, what, keys, append(args, publish, s.prefix+topic)...)
	if err != nil {
		return standing, 0, err
	}
	list, err := answer.ToArray()
	if err != nil || len(list) != 4 {
		return standing, 0, as(backplane.ErrUnavailable, errAnswer)
	}
	var errs [4]error
	standing.Epoch, errs[0] = epochOf(list[0])
	standing.Announced, errs[1] = epochOf(list[1])
	count, err := list[2].AsInt64()
	left, errs[2] = list[3].AsInt64()
	errs[3] = err
	standing.Count = int(count)
	if errors.Join(errs[:]...) != nil {
		return standing, 0, as(backplane.ErrUnavailable, errAnswer)
	}
	return standing, left, nil
}

// retire removes all members of an attendance, and then the attendance.
func (s *shard) retire(ctx context.Context, who string) error {
	for {
		answer, err := s.do(ctx, "SRANDMEMBER", s.topicsOf(who), strconv.Itoa(topicStep))
		if err != nil {
			return err
		}
		topics, err := answer.AsStrSlice()
		if err != nil {
			return as(backplane.ErrUnavailable, errAnswer)
		}
		if len(topics) == 0 {
			break
		}
		for _, topic := range topics {
			for left := int64(1); left > 0; {
				if _, left, err = s.runMembers(ctx, s.members.clear, who, topic, []string{strconv.Itoa(clearStep)}); err != nil {
					return err
				}
			}
		}
		if _, err := s.do(ctx, "SREM", s.topicsOf(who), topics...); err != nil {
			return err
		}
	}
	_, err := s.call(ctx, s.members.end, []string{s.leases()}, who)
	return err
}

// indexed reports whether a topic is known to be in the set of those of an attendance.
func (s *shard) indexed(who, topic string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.index.who == who && s.index.topics[topic]
}

func (s *shard) setIndexed(who, topic string, is bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.index.who != who || len(s.index.topics) >= maxIndexed {
		s.index.who, s.index.topics = who, make(map[string]bool)
	}
	if is {
		s.index.topics[topic] = true
	} else {
		delete(s.index.topics, topic)
	}
}

// index has the topics of the latest attendance that are known to be in its set.
type index struct {
	who    string
	topics map[string]bool
}

// isSharded reports whether the servers have sharded channels.
func (s *shard) isSharded() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.nodes) > 0 && s.nodes[0].sharded
}

// do runs a command with a key.
func (s *shard) do(ctx context.Context, command, key string, args ...string) (rueidis.RedisResult, error) {
	c, err := s.dir.connect(ctx)
	if err != nil {
		return rueidis.RedisResult{}, err
	}
	r := c.Do(ctx, func(b rueidis.Builder) rueidis.Completed {
		return b.Arbitrary(command).Keys(key).Args(args...).Build()
	})
	return r, failure(r.Error())
}

// call runs a script.
func (s *shard) call(
	ctx context.Context, what redisconn.Script, keys []string, args ...string,
) (r rueidis.RedisResult, err error) {
	c, err := s.dir.connect(ctx)
	if err != nil {
		return r, err
	}
	if r, err = c.Run(ctx, what.Call(keys, args...)); err == nil {
		err = r.Error()
	}
	return r, failure(err)
}

// failure returns an error of the client library as one of package backplane.
func failure(err error) error {
	switch {
	case err == nil:
		return nil
	case hopeless(err):
		return as(backplane.ErrRefused, err)
	default:
		return as(backplane.ErrUnavailable, err)
	}
}

var _ backplane.Presence = (*Redis)(nil)
