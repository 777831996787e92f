package redisconn

import (
	"context"
	"crypto/sha1"
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"

	"github.com/redis/rueidis"
)

// Script is a Lua program that runs in Redis.
type Script struct{ text, hash string }

// NewScript returns a Script with a text.
func NewScript(text string) Script {
	sum := sha1.Sum([]byte(text)) // Redis identifies scripts by it
	return Script{text, hex.EncodeToString(sum[:])}
}

// Call is a Script with its keys and arguments.
type Call struct {
	script     Script
	keys, args []string
}

// Call returns a Call of the script. In a cluster, all keys must be in the same slot.
func (s Script) Call(keys []string, args ...string) Call { return Call{s, keys, args} }

// Run runs a script in one round trip. The first time on a server, it takes two.
func (c *Conn) Run(ctx context.Context, one Call) (rueidis.RedisResult, error) {
	results, err := c.RunAll(ctx, []Call{one})
	if err != nil {
		return rueidis.RedisResult{}, err
	}
	return results[0], one.script.explain(Error(results[0].Error()))
}

// RunAll runs several scripts in one round trip, not as a transaction. Each has its own result, which may be an error.
// RunAll itself fails if Redis could not be asked.
func (c *Conn) RunAll(ctx context.Context, calls []Call) ([]rueidis.RedisResult, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, c.timeout, errSlow)
	defer cancel()
	results, err := c.send(ctx, false, func(b rueidis.Builder) rueidis.Commands {
		commands := make(rueidis.Commands, len(calls))
		for i, one := range calls {
			n := int64(len(one.keys))
			commands[i] = b.Evalsha().Sha1(one.script.hash).Numkeys(n).Key(one.keys...).Arg(one.args...).Build()
		}
		return commands
	})
	if err != nil {
		return nil, err
	}
	var unknown []int // to this server
	for i, res := range results {
		if reply, ok := rueidis.IsRedisErr(res.Error()); ok && reply.IsNoScript() {
			unknown = append(unknown, i)
		}
	}
	if len(unknown) == 0 {
		return results, nil
	}
	again, err := c.send(ctx, false, func(b rueidis.Builder) rueidis.Commands {
		commands := make(rueidis.Commands, len(unknown))
		for k, i := range unknown {
			one := calls[i]
			n := int64(len(one.keys))
			commands[k] = b.Eval().Script(one.script.text).Numkeys(n).Key(one.keys...).Arg(one.args...).Build()
		}
		return commands
	})
	if err != nil {
		return nil, err
	}
	for k, res := range again {
		results[unknown[k]] = res
	}
	return results, nil
}

// Do sends one command, which must have a key.
func (c *Conn) Do(ctx context.Context, build func(b rueidis.Builder) rueidis.Completed) rueidis.RedisResult {
	results, err := c.DoMulti(ctx, func(b rueidis.Builder) rueidis.Commands { return rueidis.Commands{build(b)} })
	return first(results, err)
}

// DoMulti sends several commands in one round trip, not as a transaction. Each must have a key, and has its own result.
func (c *Conn) DoMulti(
	ctx context.Context, build func(b rueidis.Builder) rueidis.Commands,
) ([]rueidis.RedisResult, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, c.timeout, errSlow)
	defer cancel()
	return c.send(ctx, false, build)
}

// Publish sends a message on a channel.
func (c *Conn) Publish(ctx context.Context, channel, message string) error {
	ctx, cancel := context.WithTimeoutCause(ctx, c.timeout, errSlow)
	defer cancel()
	// In a cluster, the library refuses to send a command without a key together with others.
	results, err := c.send(ctx, true, func(b rueidis.Builder) rueidis.Commands {
		return rueidis.Commands{b.Publish().Channel(channel).Message(message).Build()}
	})
	return Error(first(results, err).Error())
}

func first(results []rueidis.RedisResult, err error) rueidis.RedisResult {
	if err != nil {
		return rueidis.NewErrorResult(err)
	}
	return results[0]
}

// explain adds to an error of the script which of its commands has failed, if the error contains the line.
func (s Script) explain(err error) error {
	if err == nil {
		return nil
	}
	_, rest, _ := strings.Cut(err.Error(), "@user_script:")
	digits := strings.IndexFunc(rest, func(r rune) bool { return r < '0' || r > '9' })
	if digits < 1 {
		return err
	}
	number, _ := strconv.Atoi(rest[:digits]) // 0 if it is too large
	lines := strings.Split(s.text, "\n")
	if number < 1 || number > len(lines) {
		return err
	}
	_, call, found := strings.Cut(lines[number-1], "redis.call('")
	if command, _, _ := strings.Cut(call, "'"); found {
		return fmt.Errorf("%w (the permission for %s may be missing)", err, command)
	}
	return err
}
